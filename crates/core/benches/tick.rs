//! What the engine pays with many tasks: a tick with nothing due, a firing and its end, a restart, an addition.

use divan::{Bencher, black_box};
use jiff::tz::TimeZoneDatabase;
use taskd_core::Timestamp;
use taskd_core::command::Command;
use taskd_core::effect::Effect;
use taskd_core::event::{Event, Inventory, Origin};
use taskd_core::gates::Gates;
use taskd_core::policy::{History, OutputPolicy, Policies, Sharing};
use taskd_core::process::Process;
use taskd_core::run::{AttemptEnd, Exit, Usage};
use taskd_core::schedule::DstRule;
use taskd_core::schedule::{Catalog, Zones};
use taskd_core::scheduler::{Crowds, Limits, Scheduler};
use taskd_core::snapshot::{Header, Rest, TaskImage};
use taskd_core::task::{Action, Definition, Outline, Owner, TaskId, TaskName, When};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const BEGIN: i64 = 1_800_000_000_000;

fn main() {
    divan::main();
}

fn image(n: u64) -> TaskImage {
    TaskImage {
        id: TaskId(n),
        owner: Owner(0),
        outline: Outline {
            name: TaskName::parse(&format!("task-{:07}", n * 7_919 % 10_000_019)).expect("it is a name"),
            when: When::Cron {
                expr: format!("{} {} * * *", n % 60, n / 60 % 24),
                tz: "Europe/Berlin".to_owned(),
                dst: DstRule::default(),
            },
            labels: Vec::new(),
            sharing: Sharing::default(),
            enabled: true,
            policies: Policies::default(),
        },
        mark: Timestamp::from_millis(BEGIN),
        last_run: 0,
        last_outcome: None,
        last_end: None,
    }
}

fn rest(tasks: usize) -> Rest {
    let header = Header {
        last_task: tasks as u64,
        ..Header::default()
    };
    Rest {
        header,
        ..Rest::default()
    }
}

fn scheduler(images: Vec<TaskImage>) -> Scheduler {
    let rest = rest(images.len());
    let catalog = Catalog::new(Zones::new(TimeZoneDatabase::bundled()));
    let mut core = Scheduler::restore(catalog, Limits::default(), [1, 2], images.into_iter(), rest);
    let now = Timestamp::from_millis(BEGIN);
    core.handle(now, Event::RunnerAttached(Inventory::default()));
    settle(&mut core, now);
    core
}

/// Everything sent becomes durable; what was started is told.
fn settle(core: &mut Scheduler, now: Timestamp) -> Vec<Origin> {
    let mut started = Vec::new();
    while let Some(effect) = core.poll_effect() {
        match effect {
            Effect::Record { ticket, .. } => core.handle(now, Event::Durable(ticket)),
            Effect::Start { origin, .. } => started.push(origin),
            _ => {}
        }
    }
    started
}

fn images(n: u64) -> Vec<TaskImage> {
    (1..=n).map(image).collect()
}

#[divan::bench(args = [1_000, 100_000])]
fn tick_with_nothing_due(bencher: Bencher, tasks: u64) {
    let mut core = scheduler(images(tasks));
    let now = Timestamp::from_millis(BEGIN);
    bencher.bench_local(|| {
        core.handle(black_box(now), Event::Tick);
        core.next_wakeup()
    });
}

#[divan::bench(args = [1_000, 100_000])]
fn fire_and_finish(bencher: Bencher, tasks: u64) {
    let mut images = images(tasks);
    images[0].outline.when = When::Every {
        interval_ms: 1,
        anchor: Timestamp::from_millis(BEGIN),
    };
    for image in &mut images[1..] {
        image.mark = Timestamp::from_second(4_000_000_000);
    }
    let mut core = scheduler(images);
    let mut now = BEGIN;
    bencher.bench_local(|| {
        now += 1;
        let at = Timestamp::from_millis(now);
        core.handle(at, Event::Tick);
        for origin in settle(&mut core, at) {
            let end = AttemptEnd {
                started_at: at,
                pid: 7,
                finished_at: at,
                exit: Exit::Code(0),
                stopped: None,
                usage: Usage::default(),
            };
            core.handle(at, Event::Ended { origin, end });
        }
        settle(&mut core, at).len()
    });
}

#[divan::bench(args = [1_000, 100_000])]
fn add(bencher: Bencher, tasks: u64) {
    let mut core = scheduler(images(tasks));
    let now = Timestamp::from_millis(BEGIN);
    let mut n = 0;
    bencher
        .with_inputs(|| {
            n += 1;
            let Outline {
                when,
                enabled,
                policies,
                ..
            } = image(n).outline;
            Definition {
                name: TaskName::parse(&format!("new-{n}")).expect("it is a name"),
                when,
                action: Action::Shell {
                    line: "true".to_owned(),
                },
                cwd: None,
                env: Vec::new(),
                description: None,
                labels: Vec::new(),
                sharing: Sharing::default(),
                enabled,
                policies,
                process: Process::default(),
                output: OutputPolicy::default(),
                history: History::default(),
                gates: Gates::default(),
            }
        })
        .bench_local_values(|definition| {
            let definitions = vec![definition];
            let owner = Owner(0);
            let accepted = core.apply(now, Command::Add { owner, definitions });
            settle(&mut core, now);
            accepted
        });
}

#[divan::bench(args = [100_000, 1_000_000], sample_count = 3, sample_size = 1)]
fn restore(bencher: Bencher, tasks: u64) {
    bencher.with_inputs(|| images(tasks)).bench_local_values(|images| {
        let rest = rest(images.len());
        let catalog = Catalog::new(Zones::new(TimeZoneDatabase::bundled()));
        Scheduler::restore(catalog, Limits::default(), [1, 2], images.into_iter(), rest)
    });
}

/// A day of downtime, with tasks that were due each minute, or once: all of it is missed but for the latest of each, which
/// starts or waits for a place.
#[divan::bench(args = [true, false], sample_count = 3, sample_size = 1)]
fn recovery_after_a_day(bencher: Bencher, each_minute: bool) {
    const TASKS: u64 = 100_000;
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let inputs = || {
        let mut images = images(TASKS);
        if each_minute {
            for image in &mut images {
                image.outline.when = When::Cron {
                    expr: "* * * * *".to_owned(),
                    tz: "Europe/Berlin".to_owned(),
                    dst: DstRule::default(),
                };
            }
        }
        let rest = rest(images.len());
        let catalog = Catalog::new(Zones::new(TimeZoneDatabase::bundled()));
        Scheduler::restore(catalog, Limits::default(), [1, 2], images.into_iter(), rest)
    };
    bencher.with_inputs(inputs).bench_local_values(|mut core| {
        let now = Timestamp::from_millis(BEGIN + DAY + 30_000);
        core.handle(now, Event::RunnerAttached(Inventory::default()));
        settle(&mut core, now);
        while core.next_wakeup().is_some_and(|wakeup| wakeup <= now) {
            core.handle(now, Event::Tick);
            settle(&mut core, now);
        }
        core
    });
}

/// A page of `taskctl lint`, with all minutes of the day as full as they are.
#[divan::bench(args = [1_000, 100_000, 1_000_000], sample_count = 10, sample_size = 1)]
fn crowds_of_a_thousand(bencher: Bencher, tasks: u64) {
    let core = scheduler(images(tasks));
    bencher.bench_local(|| {
        let mut crowds = Crowds::default();
        (1..=1_000).filter_map(|id| crowds.find(&core, TaskId(id))).count()
    });
}

/// What `add` pays for one more of a full minute.
#[divan::bench(args = [1_000, 100_000, 1_000_000], sample_count = 10, sample_size = 1)]
fn crowd_of_one(bencher: Bencher, tasks: u64) {
    let core = scheduler(images(tasks));
    bencher.bench_local(|| Crowds::default().find(&core, TaskId(500)));
}
