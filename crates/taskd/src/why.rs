//! What became of a fire time, and why: judged from what was recorded. Pure; the facts are gathered elsewhere.

use std::time::Duration;

use taskd_core::Timestamp;
use taskd_core::pause::{Pause, PauseScope};
use taskd_core::run::Outcome;
use taskd_core::schedule::{Schedule, clock_changes};
use taskd_store::{Change, ChangeKind, Lifetime, Span};
use taskd_wire::client::{self, Fate, RunInfo};
use taskd_wire::codec::Rec;

use crate::describe;

/// The unit in which instants are told apart.
const INSTANT: Duration = Duration::from_millis(1);

/// How far back the fire time before another is looked for, step by step.
const BACK: [Duration; 5] = [
    Duration::from_secs(60),
    Duration::from_secs(24 * 60 * 60),
    Duration::from_secs(40 * 24 * 60 * 60),
    Duration::from_secs(400 * 24 * 60 * 60),
    Duration::from_secs(10 * 366 * 24 * 60 * 60),
];

/// So near a change of the clock has a say.
const CLOCK_NEAR: Duration = Duration::from_secs(2 * 60 * 60);

/// All that is known of a task and of the time that is asked about.
pub(crate) struct Facts {
    /// The time now.
    pub(crate) now: Timestamp,
    /// The first and the last instant that may be meant.
    pub(crate) window: (Timestamp, Timestamp),
    /// When the task was added.
    pub(crate) added_at: Timestamp,
    /// Its schedule at that time; `None` where it cannot be read.
    pub(crate) schedule: Option<Schedule>,
    /// Whether fire times start runs now.
    pub(crate) enabled: bool,
    /// Why it is held.
    pub(crate) held: Option<String>,
    /// The last fire time dealt with.
    pub(crate) mark: Timestamp,
    /// What was changed of it, newest first.
    pub(crate) changes: Vec<Change>,
    /// Pauses that are not over.
    pub(crate) pauses: Vec<(PauseScope, Pause)>,
    /// Lives of the daemon, newest first.
    pub(crate) lives: Vec<Lifetime>,
    /// The run for a fire time in the window.
    pub(crate) run: Option<RunInfo>,
    /// The newest entry of the ledger that overlaps the window.
    pub(crate) span: Option<Span>,
}

/// The schedule a task had at an instant, as its changes tell; `None` where it is the one it has now.
pub(crate) fn schedule_at(changes: &[Change], at: Timestamp) -> Option<&taskd_core::task::When> {
    // The clock may have been set back between two of them.
    let later = changes.iter().filter(|change| change.at >= at);
    later.filter_map(|change| change.schedule.as_ref()).next_back()
}

/// Judges.
pub(crate) fn fate(facts: Facts) -> Fate {
    let (from, until) = facts.window;
    let fire_time = facts
        .schedule
        .as_ref()
        .and_then(|schedule| schedule.next_after(from.minus(INSTANT)))
        .filter(|at| *at <= until);
    let mut fate = Fate {
        at_ms: fire_time.unwrap_or(from).as_millis(),
        ..Fate::default()
    };
    if let Some(schedule) = &facts.schedule {
        rules(schedule, fire_time, (from, until), &mut fate);
        let at = fire_time.unwrap_or(from);
        fate.before_ms = before(schedule, at).map(Timestamp::as_millis);
        let after = if fire_time.is_some() { at } else { until };
        fate.after_ms = schedule.next_after(after).map(Timestamp::as_millis);
    }
    if let Some(run) = facts.run {
        fate.at_ms = run.fire_time_ms.unwrap_or(fate.at_ms);
        let is_skipped = run.outcome.as_deref() == Some(Outcome::Skipped.word());
        fate.run = Some(Box::new(Rec(run)));
        fate.verdict = if is_skipped { "skipped" } else { "ran" }.to_owned();
        return fate;
    }
    // An entry of fire times around the window says nothing of what is none.
    let holds = |span: &Span| match fire_time {
        Some(at) => span.first <= at && at <= span.last,
        None => facts.schedule.is_none() || (from <= span.first && span.first <= until),
    };
    if let Some(span) = facts.span.filter(holds) {
        let at = fire_time.unwrap_or(span.first);
        fate.at_ms = at.as_millis();
        fate.down_ms = down(&facts.lives, at);
        fate.verdict = span.passing.word().to_owned();
        fate.passed = Some(Box::new(Rec(describe::passed(span))));
        return fate;
    }
    let Some(at) = fire_time else {
        fate.held = facts.held.filter(|_| facts.schedule.is_none());
        fate.verdict = if fate.held.is_some() { "held" } else { "no-fire-time" }.to_owned();
        return fate;
    };
    let verdict = if at <= facts.added_at {
        fate.change = Some(Box::new(Rec(client::Change {
            kind: "added".to_owned(),
            at_ms: facts.added_at.as_millis(),
            ..client::Change::default()
        })));
        "not-yet-added"
    } else if let Some(change) = disabled(&facts.changes, facts.added_at, facts.enabled, at) {
        fate.change = Some(Box::new(Rec(change)));
        if at > facts.now { "will-not-start" } else { "disabled" }
    } else if let Some(held) = facts.held {
        fate.held = Some(held);
        "held"
    } else if at <= facts.mark && at <= facts.now {
        "forgotten"
    } else if let Some((scope, pause)) = facts.pauses.iter().find(|(_, pause)| pause.covers(at)) {
        fate.change = Some(Box::new(Rec(paused(*scope, pause))));
        "paused"
    } else if at <= facts.now {
        "due"
    } else {
        "planned"
    };
    verdict.clone_into(&mut fate.verdict);
    fate
}

/// What moves a fire time, or the time that was asked about and is none.
fn rules(schedule: &Schedule, fire_time: Option<Timestamp>, (from, until): (Timestamp, Timestamp), fate: &mut Fate) {
    let (moved_from, moved_to) = match fire_time {
        Some(at) => (schedule.comes_from(at), None),
        None => schedule
            .goes_to(from, until)
            .map_or((None, None), |(at, to)| (Some(at), to)),
    };
    fate.moved_from_ms = moved_from.map(Timestamp::as_millis);
    fate.moved_to_ms = moved_to.map(Timestamp::as_millis);
    fate.moved_by = moved_from.and_then(|_| schedule.moved_by());
    let (first, last) = (
        moved_from.or(fire_time).unwrap_or(from),
        moved_from.or(fire_time).unwrap_or(until),
    );
    let changes = clock_changes(schedule, first.minus(CLOCK_NEAR), last.plus(CLOCK_NEAR));
    let changes: Vec<String> = changes.into_iter().map(|change| change.finding.message).collect();
    fate.clock = (!changes.is_empty()).then(|| changes.join(" "));
}

/// The last fire time before an instant.
fn before(schedule: &Schedule, at: Timestamp) -> Option<Timestamp> {
    let last = at.minus(INSTANT);
    BACK.iter()
        .find_map(|back| schedule.passed(at.minus(*back), last))
        .map(|passed| passed.last)
}

/// From when to when the daemon was down around a fire time.
fn down(lives: &[Lifetime], at: Timestamp) -> Option<(i64, i64)> {
    // Newest first: of two that follow each other, the later one comes first.
    lives.windows(2).find_map(|pair| {
        let [later, earlier] = pair else { return None };
        let ended = earlier.ended?;
        (ended <= at && at <= later.began).then_some((ended.as_millis(), later.began.as_millis()))
    })
}

/// Who had disabled the task at an instant, if it was.
fn disabled(changes: &[Change], added_at: Timestamp, enabled: bool, at: Timestamp) -> Option<client::Change> {
    let switches = || {
        let is_switch = |change: &&Change| matches!(change.kind, ChangeKind::Enabled | ChangeKind::Disabled);
        changes.iter().filter(is_switch)
    };
    let before = switches().find(|change| change.at < at);
    let after = switches().rfind(|change| change.at >= at);
    let was_disabled = match (before, after) {
        (Some(change), _) => change.kind == ChangeKind::Disabled,
        // What comes next tells what was before.
        (None, Some(change)) => change.kind == ChangeKind::Enabled,
        (None, None) => !enabled,
    };
    was_disabled.then(|| client::Change {
        kind: "disabled".to_owned(),
        at_ms: before.map_or(added_at, |change| change.at).as_millis(),
        until_ms: after.map(|change| change.at.as_millis()),
        by: before.map(|change| change.by.clone()),
        note: None,
    })
}

fn paused(scope: PauseScope, pause: &Pause) -> client::Change {
    let kind = match scope {
        PauseScope::All => "all-paused",
        PauseScope::Task(_) => "paused",
    };
    client::Change {
        kind: kind.to_owned(),
        at_ms: pause.since.as_millis(),
        until_ms: pause.until.map(Timestamp::as_millis),
        by: Some(pause.by.clone()),
        note: pause.note.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taskd_core::run::Passing;
    use taskd_core::task::{TaskId, When};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second)
    }

    /// A task that is due each minute, added at 30 s, at the end of its first hour.
    fn facts(second: i64) -> Facts {
        Facts {
            now: at(3600),
            window: (at(second), at(second + 60).minus(INSTANT)),
            added_at: at(30),
            schedule: Some(Schedule::Every {
                anchor: at(0),
                interval: Duration::from_secs(60),
            }),
            enabled: true,
            held: None,
            mark: at(3540),
            changes: Vec::new(),
            pauses: Vec::new(),
            lives: Vec::new(),
            run: None,
            span: None,
        }
    }

    fn change(second: i64, kind: ChangeKind) -> Change {
        Change {
            scope: PauseScope::Task(TaskId(1)),
            at: at(second),
            kind,
            by: "uid 7".to_owned(),
            until: None,
            note: None,
            schedule: None,
        }
    }

    fn span(first: i64, last: i64) -> Span {
        Span {
            first: at(first),
            last: at(last),
            count: 1,
            passing: Passing::Missed,
            reason: "taskd was not running".to_owned(),
        }
    }

    #[test]
    fn each_time_has_one_verdict() {
        let verdict = |facts| fate(facts).verdict;
        assert_eq!(verdict(facts(0)), "not-yet-added");
        assert_eq!(verdict(facts(120)), "forgotten", "nothing is kept of it");
        assert_eq!(verdict(facts(3600)), "due");
        assert_eq!(verdict(facts(3660)), "planned");
        let between = Facts {
            window: (at(130), at(131)),
            ..facts(0)
        };
        let none = fate(between);
        assert_eq!(none.verdict, "no-fire-time");
        assert_eq!((none.before_ms, none.after_ms), (Some(120_000), Some(180_000)));
        let run = RunInfo {
            fire_time_ms: Some(120_000),
            ..RunInfo::default()
        };
        let ran = fate(Facts {
            run: Some(run),
            ..facts(100)
        });
        assert_eq!((ran.verdict.as_str(), ran.at_ms), ("ran", 120_000));
        let held = Facts {
            schedule: None,
            held: Some("its zone is gone".to_owned()),
            ..facts(3660)
        };
        assert_eq!(verdict(held), "held");
    }

    #[test]
    fn an_entry_of_the_ledger_counts_where_it_holds_the_fire_time() {
        let missed = |second, first, last| {
            fate(Facts {
                span: Some(span(first, last)),
                lives: vec![
                    Lifetime {
                        began: at(400),
                        ended: None,
                    },
                    Lifetime {
                        began: at(0),
                        ended: Some(at(100)),
                    },
                ],
                ..facts(second)
            })
        };
        let fate = missed(130, 120, 360);
        assert_eq!((fate.verdict.as_str(), fate.at_ms), ("missed", 180_000));
        assert_eq!(fate.down_ms, Some((100_000, 400_000)));
        assert_eq!(missed(500, 120, 360).verdict, "forgotten");
    }

    #[test]
    fn whoever_disabled_it_is_named_until_it_was_enabled() {
        let told = |changes: &[(i64, ChangeKind)], enabled| {
            let changes = changes.iter().map(|(second, kind)| change(*second, *kind)).collect();
            fate(Facts {
                changes,
                enabled,
                ..facts(600)
            })
        };
        let (on, off) = (ChangeKind::Enabled, ChangeKind::Disabled);
        let both = told(&[(900, on), (300, off)], true);
        assert_eq!(both.verdict, "disabled");
        let change = both.change.expect("somebody did it");
        assert_eq!((change.at_ms, change.until_ms), (300_000, Some(900_000)));
        assert_eq!(change.by.as_deref(), Some("uid 7"));
        assert_eq!(told(&[(900, off), (300, on)], false).verdict, "forgotten");
        // It was added so.
        let added = told(&[(900, on)], true);
        assert_eq!(
            (added.verdict.as_str(), added.change.expect("since then").at_ms),
            ("disabled", 30_000)
        );
        assert_eq!(told(&[], false).verdict, "disabled");
    }

    #[test]
    fn a_pause_tells_what_will_be() {
        let pause = Pause {
            since: at(3500),
            until: Some(at(7200)),
            by: "uid 7".to_owned(),
            note: None,
        };
        let told = |second| {
            fate(Facts {
                pauses: vec![(PauseScope::All, pause.clone())],
                ..facts(second)
            })
        };
        assert_eq!(told(3660).verdict, "paused");
        assert_eq!(told(3660).change.expect("it has one").kind, "all-paused");
        assert_eq!(told(7200).verdict, "planned");
    }

    #[test]
    fn the_schedule_of_then_is_what_was_before_the_next_change() {
        let was = |second: i64, ms| {
            let mut change = change(second, ChangeKind::Rescheduled);
            change.schedule = Some(When::Every {
                interval_ms: ms,
                anchor: at(0),
            });
            change
        };
        let changes = [was(300, 3), change(250, ChangeKind::Changed), was(200, 2), was(100, 1)];
        let then = |second| match schedule_at(&changes, at(second)) {
            Some(When::Every { interval_ms, .. }) => Some(*interval_ms),
            Some(
                When::Manual | When::Cron { .. } | When::At { .. } | When::Boot | When::After(_) | When::Termed(_),
            )
            | None => None,
        };
        assert_eq!([50, 150, 250, 350].map(then), [Some(1), Some(2), Some(3), None]);
    }
}
