//! Bytes that lie, break off, go on, or mean nothing.

use std::mem::size_of;
use std::thread;

use bincode::{Decode, Encode};
use taskd_wire::client::*;
use taskd_wire::codec::{
    CodecError, DECODE_MAX, FACTOR, FRAME_MAX, MESSAGE_MAX, Rec, Tail, decode, encode, encoded_len,
};
use taskd_wire::definition::{CalendarUse, EnvVar, ScheduleSpec, TaskSpec};
use taskd_wire::hello::HELLO_MAX;
use taskd_wire::runner::{Ended, FromRunner, Live, ToRunner};

use crate::samples;

#[test]
fn a_message_cut_at_any_byte_is_refused() {
    for sample in samples::all() {
        for len in 0..sample.bytes.len() {
            let got = (sample.again)(&sample.bytes[..len]);
            assert_eq!(got, Err(CodecError::Truncated), "{} cut to {len} bytes", sample.name);
        }
    }
}

#[test]
fn bytes_after_a_message_are_refused() {
    for sample in samples::all() {
        let bytes = [sample.bytes.as_slice(), &[0, 0]].concat();
        assert_eq!(
            (sample.again)(&bytes),
            Err(CodecError::Trailing { extra: 2 }),
            "{}",
            sample.name
        );
    }
}

#[test]
fn more_bytes_than_a_message_may_have_are_not_looked_at() {
    let error = CodecError::TooLong {
        len: MESSAGE_MAX + 1,
        limit: MESSAGE_MAX,
    };
    assert_eq!(decode::<Request>(&vec![11; MESSAGE_MAX + 1]), Err(error));
}

#[test]
fn a_length_that_no_memory_could_hold_is_refused() {
    const REMOVE: u8 = 2;
    const IMPORT_MORE: u8 = 15;
    for len in [1_u64 << 40, u64::MAX, (DECODE_MAX as u64) + 1] {
        let length = [&[253], len.to_le_bytes().as_slice()].concat();
        for head in [
            // The list itself, a string in it, a record in a list, a string in such a record.
            &[REMOVE][..],
            &[REMOVE, 1],
            &[IMPORT_MORE],
            &[IMPORT_MORE, 1],
            &[IMPORT_MORE, 1, 9],
        ] {
            let bytes = [head, &length, &[0; 20]].concat();
            let got = decode::<Request>(&bytes);
            assert_eq!(got, Err(CodecError::OverLimit), "{head:?} and a length of {len}");
        }
    }
}

#[test]
fn a_record_cannot_reach_beyond_its_length() {
    // A record of 3 bytes whose name claims 5, with 5 bytes there to be stolen from what follows.
    assert_eq!(
        decode::<Request>(&[0, 3, 5, b'a', b'b', b'c', b'd', b'e', 0]),
        Err(CodecError::Truncated)
    );
}

#[test]
fn garbage_inside_a_message_is_refused() {
    assert!(
        matches!(decode::<Request>(&[8, 2, 0xff, 0xfe]), Err(CodecError::Malformed(_))),
        "a name that is not UTF-8"
    );
    assert!(
        matches!(decode::<Response>(&[4, 0, 2]), Err(CodecError::Malformed(_))),
        "a bool of 2"
    );
    assert!(
        matches!(decode::<Response>(&[13, 255]), Err(CodecError::Malformed(_))),
        "an integer without a width"
    );
    assert_eq!(
        decode::<Request>(&[2, 0, 3]),
        Err(CodecError::UnknownVariant {
            of: "WhileRunning",
            variant: 3
        }),
        "a variant inside a message"
    );
}

/// A recursive type would follow one of these bytes down until the stack is gone; a test thread has little of it.
#[test]
fn no_message_contains_itself() {
    let tries = || {
        for byte in 0..=255 {
            for head in 0..=32 {
                let mut bytes = vec![byte; 64 << 10];
                bytes[0] = head;
                let _ = decode::<Request>(&bytes);
                let _ = decode::<Response>(&bytes);
                let _ = decode::<ToRunner>(&bytes);
                let _ = decode::<FromRunner>(&bytes);
            }
        }
    };
    thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(tries)
        .unwrap()
        .join()
        .unwrap();
}

/// How many bytes of memory the smallest element of a list takes for each byte on the wire.
fn factor<T: Encode + Decode<()> + Default>() -> usize {
    size_of::<T>().div_ceil(shortest::<T>())
}

/// How few bytes an empty element has when the first version to know it says it. A record loses its tails, from the end,
/// as long as what is left can be read.
fn shortest<T: Encode + Decode<()> + Default>() -> usize {
    let whole = encode(&T::default()).unwrap();
    let record = |len: usize| [&[u8::try_from(len - 1).unwrap()], &whole[1..len]].concat();
    (1..whole.len())
        .find(|&len| decode::<T>(&record(len)).is_ok())
        .unwrap_or(whole.len())
}

#[test]
fn the_smallest_record_is_one_without_tails() {
    #[derive(Debug, Default, PartialEq, Encode, Decode)]
    struct Grown {
        name: String,
        added: Tail<Option<u64>>,
        more: Tail<String>,
    }
    assert_eq!((encoded_len(&Rec(Grown::default())), shortest::<Rec<Grown>>()), (4, 2));
    assert_eq!(shortest::<String>(), 1);
}

#[test]
fn what_is_read_takes_a_bounded_multiple_of_its_bytes() {
    for (name, factor) in [
        ("String", factor::<String>()),
        ("u64", factor::<u64>()),
        ("i64", factor::<i64>()),
        ("EnvVar", size_of::<EnvVar>().div_ceil(2)),
        ("ScheduleSpec", factor::<Rec<ScheduleSpec>>()),
        ("TaskSpec", factor::<Rec<TaskSpec>>()),
        ("TaskSummary", factor::<Rec<TaskSummary>>()),
        ("Passed", factor::<Rec<Passed>>()),
        ("RunRef", factor::<Rec<RunRef>>()),
        ("RunInfo", factor::<Rec<RunInfo>>()),
        ("CalendarUse", size_of::<CalendarUse>().div_ceil(2)),
        ("CalendarInfo", factor::<Rec<CalendarInfo>>()),
        ("Backfilled", factor::<Rec<Backfilled>>()),
        ("Fate", factor::<Rec<Fate>>()),
        ("TaskNext", factor::<Rec<TaskNext>>()),
        ("TaskFindings", factor::<Rec<TaskFindings>>()),
        ("Finding", factor::<Rec<Finding>>()),
        ("Bucket", factor::<Rec<Bucket>>()),
        ("ClockChange", factor::<Rec<ClockChange>>()),
        ("Live", factor::<Rec<Live>>()),
        ("Ended", factor::<Rec<Ended>>()),
    ] {
        assert!(
            (1..=FACTOR).contains(&factor),
            "{name} takes {factor} times its encoded size, over {FACTOR}"
        );
    }
}

#[test]
fn whatever_can_be_sent_can_be_received() {
    fn fill<T: Clone>(element: T, len: usize, message: impl Fn(Vec<T>) -> Response) {
        let whole = message(vec![element; (MESSAGE_MAX - 16) / len]);
        let bytes = encode(&whole).unwrap();
        assert!(bytes.len() > FRAME_MAX - 1024);
        assert!(decode::<Response>(&bytes).unwrap() == whole);
    }
    fn smallest<T: Encode + Default + Clone>(message: impl Fn(Vec<T>) -> Response) {
        fill(T::default(), encoded_len(&T::default()), message);
    }
    smallest(Response::Done);
    smallest(Response::RunsStarted);
    smallest(|tasks| Response::Next { tasks, more: false });
    smallest(|tasks| Response::Tasks { tasks, more: true });
    smallest(|runs| Response::Runs { runs, before: None });
    smallest(|tasks| Response::Definitions { tasks, more: false });
    smallest(|tasks| Response::Findings { tasks, more: false });
    smallest(|buckets| {
        Response::Counted(Box::new(Rec(Counted {
            buckets,
            ..Counted::default()
        })))
    });
    let next = Rec(TaskNext::default());
    fill(
        Rec(samples::run_info()),
        encoded_len(&Rec(samples::run_info())),
        |runs| Response::Runs { runs, before: None },
    );
    fill(next.clone(), encoded_len(&next), |tasks| Response::Next {
        tasks,
        more: true,
    });
    let task = Rec(samples::summary());
    fill(task.clone(), encoded_len(&task), |tasks| Response::Tasks {
        tasks,
        more: true,
    });
}

#[test]
fn the_limits_are_those_that_were_promised() {
    assert_eq!(
        (FRAME_MAX, MESSAGE_MAX, DECODE_MAX, HELLO_MAX),
        (1 << 20, (1 << 20) - 1, 32 << 20, 1 << 10)
    );
}
