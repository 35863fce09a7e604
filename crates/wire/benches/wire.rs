//! What saying things costs.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use taskd_wire::client::{LastRun, Request, Response, TaskSummary};
use taskd_wire::codec::{Rec, decode, encode};
use taskd_wire::definition::{ActionSpec, EnvVar, ScheduleSpec, TaskSpec};
use taskd_wire::frame::{FrameReader, put_frame, put_message};

fn main() {
    divan::main();
}

fn spec(n: usize) -> TaskSpec {
    TaskSpec {
        name: format!("team-etl-{n:06}"),
        schedule: ScheduleSpec::Cron {
            expr: "*/5 9-17 * * MON-FRI".to_owned(),
            tz: Some("Europe/Berlin".to_owned()),
        },
        action: ActionSpec::Exec {
            argv: vec!["/usr/local/bin/etl".to_owned(), "--partition".to_owned(), n.to_string()],
        },
        env: vec![EnvVar {
            name: "STAGE".to_owned(),
            value: "production".to_owned(),
        }],
        enabled: true,
        ..TaskSpec::default()
    }
}

fn add() -> Request {
    Request::Add(Rec(spec(1)))
}

fn page() -> Response {
    let summary = |n| TaskSummary {
        spec: Rec(spec(n)),
        id: n as u64,
        owner: 1000,
        tz: Some("Europe/Berlin".to_owned()),
        next_ms: Some(1_796_000_000_000),
        last: Some(Rec(LastRun {
            run: format!("team-etl-{n:06}/17"),
            outcome: "succeeded".to_owned(),
            finished_ms: 1_795_999_700_000,
        })),
        running: Vec::new(),
        held: None,
        paused: None,
    };
    Response::Tasks {
        tasks: (0..1000).map(summary).map(Rec).collect(),
        more: true,
    }
}

#[divan::bench]
fn encode_add(bencher: Bencher) {
    let message = add();
    bencher.bench(|| encode(black_box(&message)));
}

#[divan::bench]
fn decode_add(bencher: Bencher) {
    let bytes = encode(&add()).expect("it fits a frame");
    bencher.bench(|| decode::<Request>(black_box(&bytes)));
}

#[divan::bench]
fn encode_page_of_1000_tasks(bencher: Bencher) {
    let message = page();
    let len = encode(&message).expect("it fits a frame").len();
    bencher
        .counter(BytesCount::new(len))
        .bench(|| encode(black_box(&message)));
}

#[divan::bench]
fn decode_page_of_1000_tasks(bencher: Bencher) {
    let bytes = encode(&page()).expect("it fits a frame");
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| decode::<Response>(black_box(&bytes)));
}

#[divan::bench]
fn put_message_add(bencher: Bencher) {
    let message = add();
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        put_message(&mut out, black_box(&message))
    });
}

/// 1,000 frames of 100 bytes, in pieces as a socket gives them.
#[divan::bench(args = [64, 8192])]
fn read_frames(bencher: Bencher, piece: usize) {
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        put_frame(&mut bytes, &[7; 100]).expect("it fits a frame");
    }
    bencher.counter(BytesCount::new(bytes.len())).bench(|| {
        let mut reader = FrameReader::new();
        let mut frames = 0;
        for piece in bytes.chunks(piece) {
            reader.push(piece);
            while let Ok(Some(payload)) = reader.next() {
                frames += black_box(payload).len();
            }
        }
        frames
    });
}
