//! Old and new versions read each other: records with more and with fewer fields, alone and in lists.

use std::fmt::Debug;

use bincode::{Decode, Encode};
use taskd_wire::client::{Request, RunInfo, RunOutput, TaskDetail, TaskSummary};
use taskd_wire::codec::{CodecError, Rec, Tail, decode, encode};
use taskd_wire::definition::TaskSpec;
use taskd_wire::runner::{Ended, Live, Origin};

use crate::samples;

#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
struct Old {
    id: u64,
    name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
struct New {
    id: u64,
    name: String,
    weight: Tail<i8>,
    zone: Tail<Option<String>>,
}

/// A list with something after it, which a record of the wrong length would spoil.
type Page<T> = (Vec<Rec<T>>, bool);

fn page<T>(records: Vec<T>) -> Page<T> {
    (records.into_iter().map(Rec).collect(), true)
}

fn old(id: u64) -> Old {
    Old {
        id,
        name: format!("task-{id}"),
    }
}

fn new(id: u64, weight: i8, zone: Option<&str>) -> New {
    New {
        id,
        name: format!("task-{id}"),
        weight: Tail(weight),
        zone: Tail(zone.map(str::to_owned)),
    }
}

#[test]
fn fields_an_old_sender_does_not_know_take_their_defaults() {
    let bytes = encode(&page(vec![old(1), old(2), old(1000)])).unwrap();
    let want = page(vec![new(1, 0, None), new(2, 0, None), new(1000, 0, None)]);
    assert_eq!(decode::<Page<New>>(&bytes), Ok(want));
}

#[test]
fn fields_an_old_receiver_does_not_know_are_skipped() {
    let bytes = encode(&page(vec![
        new(1, 5, Some("UTC")),
        new(2, -5, None),
        new(1000, 0, Some("")),
    ]))
    .unwrap();
    assert_eq!(decode::<Page<Old>>(&bytes), Ok(page(vec![old(1), old(2), old(1000)])));
}

#[test]
fn a_record_of_a_version_in_between_keeps_what_it_has() {
    #[derive(Encode)]
    struct Between {
        id: u64,
        name: String,
        weight: i8,
    }
    let bytes = encode(&Rec(Between {
        id: 7,
        name: "task-7".to_owned(),
        weight: 9,
    }))
    .unwrap();
    assert_eq!(decode::<Rec<New>>(&bytes), Ok(Rec(new(7, 9, None))));
}

#[test]
fn an_added_field_that_breaks_off_is_an_error_and_not_a_default() {
    let whole = encode(&new(1, 5, Some("Europe/Berlin"))).unwrap();
    let known = encode(&old(1)).unwrap().len();
    for len in 0..whole.len() {
        let mut bytes = vec![u8::try_from(len).unwrap()];
        bytes.extend_from_slice(&whole[..len]);
        let got = decode::<Rec<New>>(&bytes);
        // The record may end where a field ends, and nowhere else.
        if len == known {
            assert_eq!(got, Ok(Rec(new(1, 0, None))));
        } else if len == known + 1 {
            assert_eq!(got, Ok(Rec(new(1, 5, None))));
        } else {
            assert_eq!(got, Err(CodecError::Truncated), "{len} bytes");
        }
    }
}

#[test]
fn a_record_costs_one_byte() {
    assert_eq!(encode(&Rec(old(1))).unwrap().len(), encode(&old(1)).unwrap().len() + 1);
}

/// Asserts that this version reads a list of records to which a later version has added fields.
fn assert_grows<T: Encode + Decode<()> + Clone + Debug + PartialEq>(record: T) {
    #[derive(Encode)]
    struct Later<T> {
        now: T,
        added: Vec<u64>,
        text: String,
    }
    let later = Later {
        now: record.clone(),
        added: vec![0, u64::MAX],
        text: "x".repeat(300),
    };
    let bytes = encode(&page(vec![
        later,
        Later {
            now: record.clone(),
            added: vec![],
            text: String::new(),
        },
    ]))
    .unwrap();
    assert_eq!(decode::<Page<T>>(&bytes), Ok(page(vec![record.clone(), record])));
}

/// A struct to which a later version has added a field.
#[derive(Encode)]
struct Grown<T>(T, u64);

fn grown<T>(record: T) -> Rec<Grown<T>> {
    Rec(Grown(record, u64::MAX))
}

#[test]
fn the_records_of_our_lists_may_grow() {
    assert_grows::<TaskSpec>(samples::spec());
    assert_grows::<TaskSummary>(samples::summary());
    assert_grows::<TaskDetail>(samples::detail());
    assert_grows::<RunInfo>(samples::run_info());
    assert_grows::<RunOutput>(samples::output());
    assert_grows::<Live>(samples::live());
    assert_grows::<Ended>(samples::ended());
}

/// Each struct within a struct grows, and what stands behind it is read all the same. The tuples are the fields of the
/// struct around it.
#[test]
fn records_inside_records_may_grow() {
    let summary = samples::summary();
    let TaskSummary {
        spec: Rec(spec),
        id,
        owner,
        tz,
        next_ms,
        last,
        running,
        held,
        paused,
    } = summary.clone();
    let last = last.map(|Rec(last)| grown(last));
    let paused = paused.map(|Rec(paused)| grown(paused));
    let later = (grown(spec), id, owner, tz, next_ms, last, running, held, paused);
    assert_eq!(decode(&encode(&page(vec![later])).unwrap()), Ok(page(vec![summary])));

    let detail = samples::detail();
    let TaskDetail {
        summary: Rec(summary),
        created_ms,
        changed_ms,
        next_ms,
        mark_ms,
        runs,
        passed,
        warnings,
        upstreams,
        downstream,
        requires: Tail(requires),
        required_by,
    } = detail.clone();
    let requires: Vec<_> = requires.into_iter().map(|Rec(required)| grown(required)).collect();
    let upstreams: Vec<_> = upstreams.into_iter().map(|Rec(upstream)| grown(upstream)).collect();
    let passed: Vec<_> = passed.into_iter().map(|Rec(passed)| grown(passed)).collect();
    let times = (created_ms, changed_ms, next_ms, mark_ms);
    let around = (upstreams, downstream, requires, required_by);
    let later = (grown(summary), times, runs, passed, warnings, around);
    assert_eq!(decode(&encode(&page(vec![later])).unwrap()), Ok(page(vec![detail])));

    let output = samples::output();
    let later = (
        grown(output.info.0.clone()),
        output.files.clone(),
        (output.discards, output.removed, output.lost),
    );
    assert_eq!(decode(&encode(&page(vec![later])).unwrap()), Ok(page(vec![output])));

    let Origin {
        key,
        task,
        trigger,
        fire_time_ms,
        created_ms,
        trace_id,
    } = samples::origin();
    let origin = || {
        let fields = (key, task.clone(), trigger.clone(), fire_time_ms, created_ms, trace_id);
        grown(fields)
    };
    let live = samples::live();
    let later = (origin(), live.pid, live.started_ms, live.stopping);
    let same = Live {
        origin: samples::origin(),
        ..live
    };
    assert_eq!(decode(&encode(&page(vec![later])).unwrap()), Ok(page(vec![same])));

    let ended = samples::ended();
    let usage = (ended.max_rss_kib, ended.user_us, ended.system_us);
    let output = (ended.output_bytes, ended.output_lost);
    let times = (ended.started_ms, ended.finished_ms);
    let fields = || {
        let end = (ended.end.clone(), ended.stopped);
        (origin(), ended.pid, times, end, usage, output)
    };
    let earlier = Ended {
        time_up: Tail(None),
        counted: Tail::default(),
        gate: Tail(None),
        over_memory: Tail::default(),
        output_kept: Tail::default(),
        ..ended.clone()
    };
    assert_eq!(decode(&encode(&page(vec![fields()])).unwrap()), Ok(page(vec![earlier])));
    let earlier = Ended {
        counted: Tail::default(),
        gate: Tail(None),
        over_memory: Tail::default(),
        output_kept: Tail::default(),
        ..ended.clone()
    };
    let without = (fields(), ended.time_up);
    assert_eq!(decode(&encode(&page(vec![without])).unwrap()), Ok(page(vec![earlier])));
    let without_gate = (fields(), ended.time_up, ended.counted);
    let earlier = Ended {
        gate: Tail(None),
        over_memory: Tail(None),
        output_kept: Tail(None),
        ..ended.clone()
    };
    assert_eq!(
        decode(&encode(&page(vec![without_gate])).unwrap()),
        Ok(page(vec![earlier]))
    );
    let without_size = || {
        let (gate, over_memory) = (ended.gate.clone(), ended.over_memory);
        (fields(), ended.time_up, ended.counted, gate, over_memory)
    };
    let earlier = Ended {
        output_kept: Tail(None),
        ..ended.clone()
    };
    assert_eq!(
        decode(&encode(&page(vec![without_size()])).unwrap()),
        Ok(page(vec![earlier]))
    );
    let later = (without_size(), ended.output_kept);
    assert_eq!(
        decode(&encode(&page(vec![later])).unwrap()),
        Ok(page(vec![ended.clone()]))
    );
}

#[test]
fn a_variant_of_a_later_version_is_told_from_garbage() {
    let (_, count) = samples::variants()[0];
    assert_eq!(
        decode::<Request>(&[count]),
        Err(CodecError::UnknownVariant {
            of: "Request",
            variant: count.into()
        })
    );
    assert_eq!(decode::<Request>(&[count, 1, 2, 3]), decode::<Request>(&[count]));
}
