//! What a durable commit costs, alone and with others waiting, and what a start costs.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use divan::Bencher;
use divan::counter::ItemsCount;
use taskd_core::gates::Gates;
use taskd_core::policy::{History, OutputPolicy, Policies, Sharing};
use taskd_core::process::Process;
use taskd_core::record::Record;
use taskd_core::run::{RunKey, TraceId, Trigger};
use taskd_core::schedule::DstRule;
use taskd_core::task::{Action, Definition, Owner, TaskId, TaskName, When};
use taskd_core::time::Timestamp;
use taskd_store::{Batch, Opened, Options, Store, Writer};

fn main() {
    divan::main();
}

fn added(id: u64) -> Record {
    Record::TaskAdded {
        id: TaskId(id),
        owner: Owner(0),
        at: Timestamp::from_millis(1_790_000_000_000),
        definition: Arc::new(Definition {
            name: TaskName::parse(&format!("task-{id}")).expect("letters and digits are a name"),
            when: When::Cron {
                expr: format!("{} {} * * *", id % 60, id / 60 % 24),
                tz: "Europe/Berlin".to_owned(),
                dst: DstRule::default(),
            },
            action: Action::Exec {
                argv: vec![
                    "/usr/local/bin/backup".to_owned(),
                    "--target".to_owned(),
                    format!("disk-{id}"),
                ],
            },
            cwd: None,
            env: Vec::new(),
            description: None,
            labels: Vec::new(),
            sharing: Sharing::default(),
            enabled: true,
            policies: Policies::default(),
            process: Process::default(),
            output: OutputPolicy::default(),
            history: History::default(),
            gates: Gates::default(),
        }),
    }
}

fn created(n: u64) -> Record {
    Record::RunCreated {
        run: RunKey { task: TaskId(1), n },
        trigger: Trigger::Schedule,
        fire_time: Some(Timestamp::from_millis(1_790_000_000_000)),
        at: Timestamp::from_millis(1_790_000_000_000),
        trace_id: TraceId(u128::from(n)),
        waiting: false,
        cause: None,
        overrides: None,
    }
}

fn open(dir: &Path) -> Opened {
    Store::open(Options::new(dir)).expect("the store opens")
}

/// Hands over batches of one record and waits for all answers.
fn commit(writer: &Writer, records: impl Iterator<Item = Vec<Record>>) {
    let (sender, answers) = channel();
    for records in records {
        let sender = sender.clone();
        writer.commit(Batch {
            records,
            epoch: 0,
            fact: false,
            done: Box::new(move |result| sender.send(result).expect("the answers are awaited")),
        });
    }
    drop(sender);
    answers.iter().for_each(|result| result.expect("the batch holds"));
}

/// A run is created: one batch, awaited.
#[divan::bench(sample_count = 500)]
fn one_commit(bencher: Bencher) {
    waiting(bencher, 1);
}

/// Many at once, each a batch of its own.
#[divan::bench(args = [16, 64, 256], sample_count = 200)]
fn waiting(bencher: Bencher, waiting: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path()).store;
    let writer = store.writer();
    commit(&writer, std::iter::once(vec![added(1)]));
    let mut n = 0;
    bencher.counter(ItemsCount::new(waiting)).bench_local(|| {
        let first = n + 1;
        n += waiting;
        commit(&writer, (first..=n).map(|n| vec![created(n)]));
    });
}

/// All of a task list in one batch.
#[divan::bench(args = [100_000], sample_count = 5)]
fn import(bencher: Bencher, tasks: u64) {
    bencher
        .with_inputs(|| {
            let dir = tempfile::tempdir().expect("a directory");
            let store = open(dir.path()).store;
            (dir, store, (1..=tasks).map(added).collect::<Vec<_>>())
        })
        .bench_local_values(|(dir, store, records)| {
            commit(&store.writer(), std::iter::once(records));
            (dir, store)
        });
}

/// Opening, with all checks, and reading every task.
#[divan::bench(args = [100_000, 1_000_000], sample_count = 5)]
fn load(bencher: Bencher, tasks: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path()).store;
    commit(&store.writer(), std::iter::once((1..=tasks).map(added).collect()));
    store.close().expect("the store closes");
    bencher.bench_local(|| {
        let Opened { store, mut tasks, .. } = open(dir.path());
        let mut read = 0;
        for task in &mut tasks {
            read += task.id.0.min(1);
        }
        tasks.finish().expect("every task is read");
        (store, read)
    });
}
