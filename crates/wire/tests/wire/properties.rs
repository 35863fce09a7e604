//! Any bytes, and any messages.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use taskd_wire::basic::Basic;
use taskd_wire::client::{LastRun, Pause, Request, Response, RunInfo, TaskSummary};
use taskd_wire::codec::{Rec, Tail, decode, encode, encoded_len};
use taskd_wire::definition::{
    ActionSpec, BackoffSpec, CalendarKeep, CalendarUse, DstGap, DstOverlap, EnvVar, GatesSpec, MisfireSpec, OnLeftover,
    OutputKind, ProcessSpec, ScheduleSpec, TaskSpec,
};
use taskd_wire::frame::{FrameReader, Payload, put_frame, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader, agree};
use taskd_wire::runner::{FromRunner, ToRunner};

use crate::samples;

prop_compose! {
    fn env_var()(name in ".{0,12}", value in ".{0,40}") -> EnvVar {
        EnvVar { name, value }
    }
}

fn schedule() -> impl Strategy<Value = ScheduleSpec> {
    prop_oneof![
        Just(ScheduleSpec::Manual),
        (".{0,30}", option::of(".{0,20}")).prop_map(|(expr, tz)| ScheduleSpec::Cron { expr, tz }),
        (any::<u64>(), any::<Option<i64>>())
            .prop_map(|(interval_ms, anchor_ms)| { ScheduleSpec::Every { interval_ms, anchor_ms } }),
        (".{0,30}", option::of(".{0,20}")).prop_map(|(at, tz)| ScheduleSpec::At { at, tz }),
        any::<u64>().prop_map(|delay_ms| ScheduleSpec::In { delay_ms }),
        Just(ScheduleSpec::Boot),
        (vec(".{0,20}", 0..4), any::<bool>()).prop_map(|(of, any)| ScheduleSpec::After { of, any }),
    ]
}

fn action() -> impl Strategy<Value = ActionSpec> {
    prop_oneof![
        vec(".{0,20}", 0..5).prop_map(|argv| ActionSpec::Exec { argv }),
        ".{0,300}".prop_map(|line| ActionSpec::Shell { line }),
    ]
}

/// Boxed, for a test's stack holds all that a definition is made by.
fn process() -> BoxedStrategy<ProcessSpec> {
    let (text, texts) = (|| option::of(".{0,9}"), || vec(".{0,9}", 0..3));
    let numbers = any::<(Option<i32>, Option<i32>)>();
    let flags = any::<(bool, bool, bool)>();
    let caps = (text(), text(), any::<Option<u32>>());
    ((text(), text(), text(), text()), texts(), texts(), numbers, flags, caps)
        .prop_map(
            |((umask, ionice, stdin, user), limits, env_files, numbers, flags, caps)| ProcessSpec {
                umask,
                nice: numbers.0,
                ionice,
                oom_score_adjust: numbers.1,
                limits,
                no_new_privileges: flags.0,
                clear_env: flags.1,
                env_files,
                stdin,
                private_tmp: flags.2,
                user: Tail(user),
                memory_max: Tail(caps.0),
                cpu_max: Tail(caps.1),
                pids_max: Tail(caps.2),
            },
        )
        .boxed()
}

fn gates() -> BoxedStrategy<GatesSpec> {
    let text = || option::of(".{0,9}");
    ((text(), text(), text()), any::<bool>(), any::<Option<u64>>())
        .prop_map(
            |((only_if, max_load, min_memory), on_ac_power, gate_wait_ms)| GatesSpec {
                only_if,
                max_load,
                min_memory,
                on_ac_power,
                gate_wait_ms,
            },
        )
        .boxed()
}

prop_compose! {
    fn spec()(
        name in ".{0,70}".boxed(),
        schedule in schedule().boxed(),
        action in action().boxed(),
        cwd in option::of(".{0,40}").boxed(),
        env in vec(env_var(), 0..4).boxed(),
        description in option::of(".{0,40}").boxed(),
        enabled: bool,
        misfire in prop_oneof![Just(MisfireSpec::Once), Just(MisfireSpec::Skip), Just(MisfireSpec::All)].boxed(),
        misfire_within_ms: Option<u64>,
        dst_gap in prop_oneof![Just(DstGap::Auto), Just(DstGap::Run), Just(DstGap::Skip)].boxed(),
        dst_overlap in prop_oneof![Just(DstOverlap::First), Just(DstOverlap::Second), Just(DstOverlap::Both)].boxed(),
        limits in any::<(Option<u64>, Option<u64>, Option<u64>)>().boxed(),
        kill_signal in option::of(".{0,10}").boxed(),
        retry in (any::<u32>(), any::<Option<(u64, u64, u32, bool)>>(), option::of(vec(".{0,12}", 0..3)), option::of(vec(any::<u32>(), 0..3))).boxed(),
        process in process(),
        kept in any::<(Option<u64>, Option<u64>, Option<u64>)>().boxed(),
        output in prop_oneof![Just(OutputKind::Lines), Just(OutputKind::File), Just(OutputKind::Discard)].boxed(),
        mask in vec(".{0,20}", 0..3).boxed(),
        gates in gates(),
        requires in vec(".{0,20}", 0..3).boxed(),
        labels in vec(".{0,20}", 0..3).boxed(),
        sharing in (option::of(".{0,12}"), option::of(".{0,12}"), any::<i16>(), vec(".{0,12}", 0..3)).boxed(),
        calendars in vec((".{0,20}", any::<bool>()), 0..3).boxed(),
        terms in (vec(schedule(), 0..3), any::<u64>(), option::of(".{0,20}"), option::of(".{0,20}"), any::<Option<u64>>()).boxed(),
    ) -> TaskSpec {
        let (also, jitter_ms, start, end, count) = terms;
        let (concurrency, group, priority, locks) = sharing;
        let (retries, backoff, retry_on, success_codes) = retry;
        let backoff = backoff.map(|(initial_ms, max_ms, factor_percent, jitter)| BackoffSpec {
            initial_ms, max_ms, factor_percent, jitter,
        });
        let process = Rec(process);
        let also = also.into_iter().map(Rec).collect();
        let keep = |only| if only { CalendarKeep::Only } else { CalendarKeep::Exclude };
        let used = |(name, only)| CalendarUse { name, keep: keep(only) };
        let calendars = calendars.into_iter().map(used).collect();
        TaskSpec {
            name, schedule, action, cwd, env, description, enabled, misfire, misfire_within_ms, dst_gap, dst_overlap,
            on_leftover: if enabled { OnLeftover::Kill } else { OnLeftover::Leave },
            also, jitter_ms, start, end, count, calendars, labels, timeout_ms: limits.0, deadline_ms: limits.1, grace_ms: limits.2, kill_signal, retries, backoff, retry_on, success_codes, concurrency, group, priority, locks, process,
            output_max: kept.0, keep_runs: kept.1, keep_for_ms: kept.2, output, mask, gates: Rec(gates), requires: Tail(requires),
        }
    }
}

prop_compose! {
    fn summary()(
        spec in spec().boxed(),
        id: u64,
        owner: u32,
        tz in option::of(".{0,20}"),
        next_ms: Option<i64>,
        last in option::of((".{0,20}", ".{0,10}", any::<i64>())),
        running in vec(any::<u64>(), 0..4),
        held in option::of(".{0,20}"),
        paused in option::of((any::<bool>(), any::<i64>(), option::of(any::<i64>()), ".{0,10}", option::of(".{0,10}"))),
    ) -> TaskSummary {
        let pause = |(all, since_ms, until_ms, by, note)| Rec(Pause { all, since_ms, until_ms, by, note });
        let paused = paused.map(pause);
        let last = last.map(|(run, outcome, finished_ms)| LastRun { run, outcome, finished_ms });
        TaskSummary { spec: Rec(spec), id, owner, tz, next_ms, last: last.map(Rec), running, held, paused }
    }
}

prop_compose! {
    fn run_info()(
        texts in vec(".{0,40}", 5),
        maybe_texts in vec(option::of(".{0,40}"), 3),
        instants in vec(any::<Option<i64>>(), 4),
        created_ms: i64,
        small in vec(any::<Option<i32>>(), 2),
        attempts: u32,
        sizes in vec(any::<Option<u64>>(), 5),
        pid: Option<u32>,
    ) -> RunInfo {
        let [run, task, trigger, state, trace_id] = texts.try_into().expect("five were asked for");
        let [outcome, reason, triggered_by] = maybe_texts.try_into().expect("three were asked for");
        RunInfo {
            run, task, trigger, state, trace_id, outcome, reason, created_ms, attempts, pid,
            fire_time_ms: instants[0], started_ms: instants[1], finished_ms: instants[2], lateness_ms: instants[3], retry_ms: instants[0], waits_for: None,
            exit_code: small[0], signal: small[1],
            duration_ms: sizes[0], max_rss_kib: sizes[1], user_us: sizes[2], system_us: sizes[3], output_bytes: sizes[4],
            memory_peak_kib: sizes[1], read_bytes: sizes[2], written_bytes: sizes[3], peak_pids: sizes[4], earlier: Vec::new(), triggered_by, overrides: Tail(None), gate_until_ms: Tail(None),
        }
    }
}

fn decode_as_everything(bytes: &[u8]) {
    let _ = decode::<Request>(bytes);
    let _ = decode::<Response>(bytes);
    let _ = decode::<ToRunner>(bytes);
    let _ = decode::<FromRunner>(bytes);
    let _ = read_payload(bytes);
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in vec(any::<u8>(), 0..2000)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn a_message_with_some_bytes_changed_decodes_or_is_refused(
        which: prop::sample::Index,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let all = samples::all();
        let sample = which.get(&all);
        let mut bytes = sample.bytes.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_as_everything(&bytes);
        if let Ok(once) = (sample.again)(&bytes) {
            prop_assert_eq!((sample.again)(&once), Ok(once.clone()));
        }
    }

    #[test]
    fn requests_come_back_as_they_were(spec in spec().boxed(), tasks in vec(spec().boxed(), 0..4), names in vec(".{0,20}", 0..4)) {
        for request in [
            Request::Add(Rec(spec)),
            Request::ImportMore { lines: (1..).take(tasks.len()).collect(), tasks: tasks.into_iter().map(Rec).collect() },
            Request::Run { names },
        ] {
            let bytes = encode(&request).unwrap();
            prop_assert_eq!(bytes.len(), encoded_len(&request));
            prop_assert_eq!(decode(&bytes), Ok(request));
        }
    }

    #[test]
    fn answers_come_back_as_they_were(tasks in vec(summary().boxed(), 0..4), runs in vec(run_info().boxed(), 0..4), more: bool) {
        for response in [
            Response::Tasks { tasks: tasks.into_iter().map(Rec).collect(), more },
            Response::Runs { runs: runs.into_iter().map(Rec).collect(), before: None },
        ] {
            let bytes = encode(&response).unwrap();
            prop_assert_eq!(bytes.len(), encoded_len(&response));
            prop_assert_eq!(decode(&bytes), Ok(response));
        }
    }

    #[test]
    fn a_definition_comes_back_from_json_as_it_was(spec in spec().boxed()) {
        let json = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(serde_json::from_str::<TaskSpec>(&json).unwrap(), spec);
    }

    #[test]
    fn frames_come_out_whatever_the_pieces(
        payloads in vec(vec(any::<u8>(), 1..300), 0..10),
        pieces in vec(1..200_usize, 1..20),
    ) {
        let mut bytes = Vec::new();
        for payload in &payloads {
            put_frame(&mut bytes, payload).unwrap();
        }
        let mut reader = FrameReader::new();
        let (mut rest, mut got, mut sizes) = (bytes.as_slice(), Vec::new(), pieces.iter().cycle());
        while !rest.is_empty() {
            let size = sizes.next().unwrap();
            let (piece, after) = rest.split_at(rest.len().min(*size));
            reader.push(piece);
            rest = after;
            // Frames are not always taken at once.
            if size % 3 > 0 || rest.is_empty() {
                while let Some(payload) = reader.next().unwrap() {
                    got.push(payload);
                }
            }
        }
        prop_assert_eq!(got, payloads);
        prop_assert!(!reader.is_partial());
    }

    #[test]
    fn a_message_in_a_frame_comes_back(name in ".{0,500}") {
        let request = Request::Show { name };
        let mut out = Vec::new();
        put_message(&mut out, &request).unwrap();
        let mut reader = FrameReader::new();
        reader.push(&out);
        let payload = reader.next().unwrap().unwrap();
        let Ok(Payload::Message(bytes)) = read_payload(&payload) else { panic!("not a message") };
        prop_assert_eq!(decode(bytes), Ok(request));
    }

    #[test]
    fn any_bytes_are_a_hello_or_not(magic: bool, tail in vec(any::<u8>(), 0..300)) {
        let mut reader = HelloReader::new();
        reader.push(if magic { b"TSKD" } else { b"" });
        reader.push(&tail);
        if let Ok(Some(hello)) = reader.next() {
            let mut again = HelloReader::new();
            again.push(&hello.encode());
            prop_assert_eq!(again.next(), Ok(Some(hello)));
        }
    }

    #[test]
    fn both_sides_agree(a: (u16, u16), b: (u16, u16)) {
        let hello = |(x, y): (u16, u16)| Hello { min: x.min(y), max: x.max(y), ..Hello::ours() };
        let (a, b) = (hello(a), hello(b));
        match (agree(&a, &b), agree(&b, &a)) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(one, other);
                prop_assert!((a.min..=a.max).contains(&one) && (b.min..=b.max).contains(&one));
            }
            (Err(one), Err(other)) => {
                prop_assert_ne!(one.older, other.older);
                prop_assert!(a.max < b.min || b.max < a.min);
            }
            (one, other) => prop_assert!(false, "{:?} but {:?}", one, other),
        }
    }

    #[test]
    fn basic_messages_that_decode_encode_to_the_same_bytes(bytes in vec(any::<u8>(), 1..40)) {
        let payload = [&[0][..], &bytes].concat();
        if let Ok(Payload::Basic(message)) = read_payload(&payload) {
            let is_unknown = matches!(message, Basic::Ask(taskd_wire::basic::Ask::Unknown(_)));
            prop_assert!(is_unknown || message.encode() == payload);
        }
    }
}
