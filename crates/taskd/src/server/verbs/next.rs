//! `next`: the coming fire times of tasks.

use std::time::Duration;

use taskd_core::schedule::Schedule;
use taskd_wire::client::{Response, TaskNext};
use taskd_wire::codec::Rec;
use taskd_wire::refusal::Refusal;

use super::add;
use crate::clock;
use crate::server::{Shared, meant};

/// Most fire times in one answer, over all tasks.
const FIRE_TIMES_MAX: usize = 20_000;

/// Most fire times of one task.
const EACH_MAX: u32 = 1000;

/// How long one look at the tasks may take before others who wait for the engine have their turn.
const LOOK_MAX: Duration = Duration::from_millis(20);

/// Most tasks in one answer: the soonest.
const TASKS_MAX: usize = 1000;

pub(super) async fn answer(shared: &Shared, asked: Vec<String>, n: u32) -> Result<Response, Refusal> {
    let (owner, now) = (shared.owner, clock::now());
    let wanted = n.max(1);
    let each = wanted.min(EACH_MAX) as usize;
    let meant = match asked.is_empty() {
        true => None,
        false => Some(meant::tasks(&shared.engine, owner, asked, TASKS_MAX).await?.ids()),
    };
    // One task more than is told, to know whether there is one.
    let ids = match meant {
        Some(ids) => ids,
        None => {
            shared
                .engine
                .look(move |state, _| state.soonest(owner, TASKS_MAX + 1))
                .await?
        }
    };
    let more = ids.len() > TASKS_MAX;
    let mut rest = ids.into_iter().take(TASKS_MAX);
    let (mut tasks, mut left) = (Vec::new(), FIRE_TIMES_MAX);
    while rest.len() > 0 {
        (tasks, left, rest) = shared
            .engine
            .look(move |state, _| {
                let began = clock::monotonic();
                while began.elapsed() < LOOK_MAX
                    && let Some(id) = rest.next()
                {
                    let Some(task) = state.task(id) else { continue };
                    let room = each.min(left.max(1));
                    let cut = room < wanted as usize;
                    let mut at_ms = add::coming(state, id, now, room + usize::from(cut));
                    let more = at_ms.len() > room;
                    at_ms.truncate(room);
                    left = left.saturating_sub(at_ms.len());
                    tasks.push(Rec(TaskNext {
                        name: task.name.to_string(),
                        tz: task.schedule.and_then(zone_name),
                        at_ms,
                        more,
                    }));
                }
                (tasks, left, rest)
            })
            .await?;
    }
    Ok(Response::Next { tasks, more })
}

/// The zone of a schedule that has one.
pub(super) fn zone_name(schedule: &Schedule) -> Option<String> {
    schedule.zone().map(|zone| zone.name().to_owned())
}
