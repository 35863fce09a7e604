//! Hostile bytes cannot make a receiver allocate more than the bound that `codec` states.

#![expect(unsafe_code, reason = "only an allocator sees all that is allocated")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use taskd_wire::client::{Request, Response};
use taskd_wire::codec::{CodecError, DECODE_MAX, FACTOR, FRAME_MAX, MESSAGE_MAX, Rec, decode, encode};
use taskd_wire::frame::{FrameError, FrameReader};
use taskd_wire::runner::{FromRunner, ToRunner};

/// Counts what the present thread has allocated and not freed, and the most of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged. The counters allocate nothing: they are constant-initialised thread
// locals without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + layout.size());
        PEAK.set(PEAK.get().max(HELD.get()));
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // What another thread allocated may be freed here.
        HELD.set(HELD.get().saturating_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What a call gives, and the most bytes it held at once.
fn measured<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let out = call();
    (out, PEAK.get() - before)
}

/// A length as bincode says it.
fn length(len: usize) -> Vec<u8> {
    [&[253], (len as u64).to_le_bytes().as_slice()].concat()
}

const DONE: u8 = 2;
const TASKS: u8 = 4;
const TEXT: usize = size_of::<String>();

#[test]
fn a_claim_over_the_limit_allocates_nothing() {
    for len in [DECODE_MAX / TEXT + 1, 1 << 40, usize::MAX] {
        let bytes = [vec![DONE], length(len)].concat();
        let (got, peak) = measured(|| decode::<Response>(&bytes));
        assert_eq!((got, peak), (Err(CodecError::OverLimit), 0));
    }
}

#[test]
fn a_claim_within_the_limit_allocates_no_more_than_that() {
    let bytes = [vec![DONE], length(DECODE_MAX / TEXT - 1)].concat();
    let (got, peak) = measured(|| decode::<Response>(&bytes));
    assert_eq!(got, Err(CodecError::Truncated));
    assert!(peak <= DECODE_MAX, "{peak} bytes");
}

/// A page of tasks of which the list claims `tasks`, and the arguments of the first, two records deep, `arguments`. The
/// record is filled up to `filled` bytes.
fn page_of_claims(tasks: usize, arguments: usize, filled: usize) -> Vec<u8> {
    // A definition that is empty up to the list of arguments.
    let mut spec = [&[0, 0, 0], length(arguments).as_slice()].concat();
    spec.resize(filled, 0);
    let mut record = [length(spec.len()), spec].concat();
    record.resize(record.len() + 7, 0);
    [&[TASKS], length(tasks).as_slice(), &length(record.len()), &record].concat()
}

#[test]
fn a_record_may_claim_no_more_than_its_length_allows() {
    let most = FACTOR * 1001 / TEXT;
    let (got, peak) = measured(|| decode::<Response>(&page_of_claims(1, most, 1000)));
    assert_eq!(got, Err(CodecError::OverLimit));
    assert!(peak <= FACTOR * 1001, "{peak} bytes");
}

#[test]
fn claims_inside_records_come_out_of_the_claims_around_them() {
    let element = size_of::<Rec<taskd_wire::client::TaskSummary>>();
    let tasks = DECODE_MAX / element - 1;
    // The whole frame is the record, which might claim all there is, and the list has claimed it already.
    let filled = FRAME_MAX - 100;
    let bytes = page_of_claims(tasks, FACTOR * filled / TEXT - 8, filled);
    let (got, peak) = measured(|| decode::<Response>(&bytes));
    assert_eq!(got, Err(CodecError::OverLimit));
    assert!((DECODE_MAX / 2..=DECODE_MAX).contains(&peak), "{peak} bytes");
}

#[test]
fn a_frame_of_the_smallest_elements_stays_within_the_factor() {
    let bytes = encode(&Response::Done(vec![String::new(); MESSAGE_MAX - 6])).unwrap();
    assert!(bytes.len() > FRAME_MAX - 10);
    let (got, peak) = measured(|| decode::<Response>(&bytes));
    assert!(got.is_ok());
    assert!(peak <= FACTOR * bytes.len(), "{peak} bytes");
}

#[test]
fn a_frame_header_reserves_nothing_for_its_body() {
    let mut reader = FrameReader::new();
    let (got, peak) = measured(|| {
        reader.push(&u32::MAX.to_le_bytes());
        reader.next()
    });
    assert!(matches!(got, Err(FrameError::TooLong { .. })));
    assert!(peak <= 64, "{peak} bytes");

    let mut reader = FrameReader::new();
    let (got, peak) = measured(|| {
        reader.push(&(FRAME_MAX as u32).to_le_bytes());
        reader.next()
    });
    assert_eq!(got, Ok(None));
    assert!(peak <= 64, "{peak} bytes");
}

#[test]
fn an_idle_reader_gives_a_large_buffer_back() {
    let mut frame = (FRAME_MAX as u32).to_le_bytes().to_vec();
    frame.resize(4 + FRAME_MAX, 7);
    let mut reader = FrameReader::new();
    let before = HELD.get();
    reader.push(&frame);
    drop(reader.next());
    assert!(HELD.get() - before <= 64 << 10, "{} bytes", HELD.get() - before);
}

/// The golden bytes of the messages, to be damaged.
fn messages() -> Vec<Vec<u8>> {
    let of_messages = |line: &&str| {
        ["Request", "Response", "ToRunner", "FromRunner"]
            .iter()
            .any(|of| line.starts_with(of))
    };
    let unhex = |hex: &str| -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect()
    };
    include_str!("golden.txt")
        .lines()
        .filter(of_messages)
        .map(|line| unhex(line.split_once(' ').unwrap().1))
        .collect()
}

fn assert_bounded<T>(bytes: &[u8], result: &(Result<T, CodecError>, usize)) {
    let (result, peak) = result;
    let bound = if result.is_ok() {
        FACTOR * bytes.len() + size_of::<T>()
    } else {
        DECODE_MAX
    };
    assert!(*peak <= bound, "{peak} bytes of memory for {} on the wire", bytes.len());
}

proptest! {
    #[test]
    fn no_bytes_allocate_over_the_bound(
        which: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        tail in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut bytes = which.get(&messages()).clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(tail);
        assert_bounded(&bytes, &measured(|| decode::<Request>(&bytes)));
        assert_bounded(&bytes, &measured(|| decode::<Response>(&bytes)));
        assert_bounded(&bytes, &measured(|| decode::<ToRunner>(&bytes)));
        assert_bounded(&bytes, &measured(|| decode::<FromRunner>(&bytes)));
    }
}
