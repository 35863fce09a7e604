//! What is bounded of runs that wait and run at once.

use taskd_core::event::Origin;
use taskd_core::policy::{Concurrency, Pool, QUEUE};
use taskd_core::record::Record;
use taskd_core::run::{RunKey, Trigger};
use taskd_core::scheduler::{RunView, Scheduler};

use crate::checks::Spawned;
use crate::users::OWNER;
use crate::world::Daemon;

/// A record leaves a scheduler: what it gives a place has room, and what it has wait may.
pub fn emitted(daemon: &Daemon, spawned: &mut Spawned, record: &Record) {
    let policy = |run: &RunKey| daemon.known.concurrency[&run.task];
    match record {
        Record::RunCreated {
            run, waiting: false, ..
        }
        | Record::RunAdmitted { run, .. } => {
            let pools = holds_room(&daemon.core, &daemon.known.pools[&run.task]);
            spawned.admitted(*run, policy(run), pools);
        }
        Record::RunCreated {
            run,
            waiting: true,
            trigger: Trigger::Schedule | Trigger::Boot | Trigger::Dependency,
            ..
        } => few_wait(&daemon.core, spawned, *run, policy(run)),
        _ => {}
    }
}

/// These groups and locks hold no more than they may, a run that was just given its part included. Gives back how many that is.
fn holds_room(core: &Scheduler, pools: &[Pool]) -> Vec<(Pool, usize)> {
    let views = core.pools(OWNER).into_iter();
    let taken = views.filter(|view| pools.contains(&view.pool)).map(|view| {
        let limit = view.limit.map_or(usize::MAX, |limit| limit.get() as usize);
        assert!(view.running <= limit, "{view:?} holds more than it may");
        (view.pool, limit)
    });
    taken.collect()
}

/// No more firings of a task wait, with one that was just created, than may.
fn few_wait(core: &Scheduler, spawned: &Spawned, created: RunKey, policy: Concurrency) {
    let most = match policy {
        Concurrency::Forbid | Concurrency::Replace => 1,
        Concurrency::Allow { .. } => QUEUE.get(),
        Concurrency::Queue { waiting } => waiting.get(),
    };
    let waits = |run: &RunView<'_>| {
        let made_up = matches!(run.origin.trigger, Trigger::CatchUp | Trigger::Backfill);
        let Origin { attempt, .. } = run.origin;
        // One that looks at its gate again was let go before.
        let is_first = attempt.attempt == 1 && !spawned.gates.was_closed(attempt.run);
        attempt.run.task == created.task && is_first && run.state == "waiting" && !made_up
    };
    let waiting = core.active_runs().filter(waits).count();
    assert!(
        waiting <= most as usize,
        "{waiting} runs wait with {created:?}, {most} may"
    );
}
