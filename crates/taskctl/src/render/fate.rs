//! What became of a fire time, in words.

use taskd_wire::client::{Change, Fate};

use super::table::Tone;
use super::time::{Times, length};
use super::{process, task};

/// The verdict in a word or two.
pub fn verdict(fate: &Fate) -> (&str, Tone) {
    match fate.verdict.as_str() {
        "ran" => match &fate.run {
            Some(run) => match (run.outcome.as_deref(), run.started_ms) {
                (None, _) => ("runs", Tone::Live),
                (Some(_), Some(_)) => ("ran", Tone::Good),
                // Its runner was lost before it could say.
                (Some("unknown"), None) => ("may have run", Tone::Bad),
                (Some(_), None) => ("was to run and did not", Tone::Bad),
            },
            None => ("ran", Tone::Good),
        },
        "no-fire-time" => ("is no fire time", Tone::Plain),
        "not-yet-added" => ("did not start: it was not there yet", Tone::Plain),
        "forgotten" => ("is not known any more", Tone::Plain),
        "disabled" => ("did not start: disabled", Tone::Dim),
        "will-not-start" => ("will not start: disabled", Tone::Dim),
        "held" => ("does not start: held", Tone::Bad),
        "suppressed" => ("will be skipped", Tone::Dim),
        "paused" => ("will be skipped: paused", Tone::Dim),
        "due" => ("is due now", Tone::Live),
        "planned" if fate.reason.is_some() => ("will be skipped as things are", Tone::Dim),
        "planned" => ("will start", Tone::Plain),
        other => (other, Tone::of(other)),
    }
}

/// What is to be said of it.
pub fn sentences(fate: &Fate, times: &Times) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(run) = &fate.run {
        let (ended, _) = task::fate(run);
        let late = run.lateness_ms.filter(|ms| *ms >= 1000);
        let late = late
            .map(|ms| format!(", {} late", length(ms.unsigned_abs())))
            .unwrap_or_default();
        let by = run.triggered_by.as_ref();
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        lines.push(format!("Run {}: {ended}, trigger {}{by}{late}.", run.run, run.trigger));
        if let Some(reason) = task::remark(run, times) {
            lines.push(format!("{}.", capital(&reason)));
        }
        lines.extend(process::cure(run).map(|cure| format!("{}.", capital(&cure))));
    }
    if let Some(passed) = &fate.passed {
        lines.push(format!("{}.", capital(&passed.reason)));
        if passed.count > 1 {
            let (first, last) = (times.full(passed.first_ms), times.full(passed.last_ms));
            lines.push(format!("So were {} fire times from {first} to {last}.", passed.count));
        }
    }
    if let Some((from, until)) = fate.down_ms {
        let took = length(u64::try_from(until - from).unwrap_or(0));
        let (from, until) = (times.full(from), times.full(until));
        lines.push(format!("The daemon was down from {from} to {until} ({took})."));
    }
    if let Some(change) = &fate.change {
        lines.push(changed(change, times));
    }
    if let Some(held) = &fate.held {
        lines.push(format!("{}.", capital(held)));
    }
    if let Some(reason) = &fate.reason {
        lines.push(format!("{}.", capital(reason)));
    }
    if let (Some(from), Some(by)) = (fate.moved_from_ms, &fate.moved_by) {
        let from = times.full(from);
        lines.push(match (fate.verdict.as_str(), fate.moved_to_ms) {
            ("no-fire-time", Some(to)) => {
                format!("The schedule has {from}; it is moved to {} by {by}.", times.full(to))
            }
            ("no-fire-time", None) => format!("The schedule has {from}, and {by} leaves it no day within a year."),
            (_, _) => format!("It is the schedule's {from}, moved by {by}."),
        });
    }
    if let Some(clock) = &fate.clock {
        lines.push(clock.clone());
    }
    if fate.verdict == "forgotten" {
        lines.push("The history of that time is not kept any more, or the clock was set since.".to_owned());
    }
    lines
}

fn changed(change: &Change, times: &Times) -> String {
    let by = change.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let until = change
        .until_ms
        .map(|ms| format!(" until {}", times.full(ms)))
        .unwrap_or_default();
    let note = change.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    let at = times.full(change.at_ms);
    match (change.kind.as_str(), &change.by) {
        ("added", _) => format!("The task was added at {at}."),
        ("disabled", None) => format!("The task was added disabled at {at}{until}."),
        ("disabled", Some(_)) => format!("The task was disabled{by} at {at}{until}."),
        ("all-paused", _) => format!("All tasks were paused{by} at {at}{until}{note}."),
        (kind, _) => format!("The task was {kind}{by} at {at}{until}{note}."),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use taskd_core::Timestamp;
    use taskd_wire::client::{Passed, RunInfo};
    use taskd_wire::codec::Rec;

    use super::*;

    fn told(fate: &Fate) -> Vec<String> {
        sentences(fate, &Times::new(Timestamp::from_second(3600), TimeZone::UTC))
    }

    #[test]
    fn a_missed_fire_time_says_why_and_when_the_daemon_was_down() {
        let fate = Fate {
            verdict: "missed".into(),
            passed: Some(Box::new(Rec(Passed {
                outcome: "missed".into(),
                first_ms: 60_000,
                last_ms: 180_000,
                count: 3,
                reason: "taskd was not running".into(),
            }))),
            down_ms: Some((30_000, 200_000)),
            ..Fate::default()
        };
        assert_eq!(
            told(&fate),
            [
                "Taskd was not running.",
                "So were 3 fire times from 1970-01-01 00:01:00 +00:00 to 1970-01-01 00:03:00 +00:00.",
                "The daemon was down from 1970-01-01 00:00:30 +00:00 to 1970-01-01 00:03:20 +00:00 (2 m 50 s).",
            ]
        );
    }

    #[test]
    fn a_run_is_named_with_how_late_it_was() {
        let run = RunInfo {
            run: "backup/7".into(),
            trigger: "catch-up".into(),
            outcome: Some("failed".into()),
            exit_code: Some(3),
            lateness_ms: Some(90_000),
            started_ms: Some(5),
            ..RunInfo::default()
        };
        let fate = Fate {
            verdict: "ran".into(),
            run: Some(Box::new(Rec(run))),
            ..Fate::default()
        };
        assert_eq!(
            told(&fate),
            ["Run backup/7: failed (3), trigger catch-up, 1 m 30 s late."]
        );
        assert_eq!(verdict(&fate).0, "ran");
    }

    #[test]
    fn what_never_began_did_not_run() {
        for (outcome, started_ms, expected) in [
            (None, None, "runs"),
            (Some("failed"), Some(5), "ran"),
            (Some("unknown"), Some(5), "ran"),
            (Some("unknown"), None, "may have run"),
            (Some("spawn-failed"), None, "was to run and did not"),
            (Some("cancelled"), None, "was to run and did not"),
        ] {
            let run = RunInfo {
                outcome: outcome.map(str::to_owned),
                started_ms,
                ..RunInfo::default()
            };
            let fate = Fate {
                verdict: "ran".into(),
                run: Some(Box::new(Rec(run))),
                ..Fate::default()
            };
            assert_eq!(verdict(&fate).0, expected, "{outcome:?}");
        }
    }

    #[test]
    fn who_disabled_it_is_named() {
        let change = Change {
            kind: "disabled".into(),
            at_ms: 0,
            until_ms: Some(60_000),
            by: Some("uid 7".into()),
            note: None,
        };
        let fate = Fate {
            verdict: "disabled".into(),
            change: Some(Box::new(Rec(change))),
            ..Fate::default()
        };
        assert_eq!(
            told(&fate),
            ["The task was disabled by uid 7 at 1970-01-01 00:00:00 +00:00 until 1970-01-01 00:01:00 +00:00."]
        );
    }
}
