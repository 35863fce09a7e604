//! How long runs may take, and how they are stopped.

use std::num::NonZeroU64;
use std::time::Duration;

use taskd_core::policy::{GRACE_MAX, StopSignal, TimeLimits};
use taskd_core::schedule::{DURATION_MAX, format_duration};
use taskd_wire::definition::TaskPatch;
use taskd_wire::refusal::Refusal;

use super::bad;

/// What was typed of a new task.
pub(super) fn time(
    timeout_ms: Option<u64>,
    deadline_ms: Option<u64>,
    grace_ms: Option<u64>,
    signal: Option<String>,
) -> Result<TimeLimits, Refusal> {
    Ok(TimeLimits {
        timeout_ms: limit("timeout", timeout_ms)?,
        deadline_ms: limit("deadline", deadline_ms)?,
        grace_ms: grace(grace_ms)?,
        signal: signal.map(|name| kill_signal(&name)).transpose()?.unwrap_or_default(),
    })
}

/// What is changed of a task.
pub(super) fn patched(mut limits: TimeLimits, patch: &TaskPatch) -> Result<TimeLimits, Refusal> {
    if let Some(timeout_ms) = patch.timeout_ms {
        limits.timeout_ms = limit("timeout", timeout_ms)?;
    }
    if let Some(deadline_ms) = patch.deadline_ms {
        limits.deadline_ms = limit("deadline", deadline_ms)?;
    }
    if let Some(grace_ms) = patch.grace_ms {
        limits.grace_ms = grace(grace_ms)?;
    }
    if let Some(name) = &patch.kill_signal {
        let signal = name.as_deref().map(kill_signal).transpose()?;
        limits.signal = signal.unwrap_or_default();
    }
    Ok(limits)
}

fn limit(field: &str, ms: Option<u64>) -> Result<Option<NonZeroU64>, Refusal> {
    if let Some(length) = ms.map(Duration::from_millis).filter(|length| *length > DURATION_MAX) {
        let problem = "this is longer than a thousand years";
        return Err(bad(
            field,
            &format_duration(length),
            problem,
            Some("leave it out for no limit"),
        ));
    }
    let refused = || {
        let problem = "a run that may take no time never does anything";
        bad(field, "0s", problem, Some("write a length such as 90s or 2h"))
    };
    ms.map(|ms| NonZeroU64::new(ms).ok_or_else(refused)).transpose()
}

fn grace(ms: Option<u64>) -> Result<Option<u64>, Refusal> {
    let length = Duration::from_millis(ms.unwrap_or_default());
    if length > GRACE_MAX {
        let problem = "a run that is stopped may take a day at most to end";
        return Err(bad(
            "grace",
            &format_duration(length),
            problem,
            Some("write at most 24h"),
        ));
    }
    Ok(ms)
}

/// A signal by its name, with or without SIG.
fn kill_signal(name: &str) -> Result<StopSignal, Refusal> {
    let upper = name.to_ascii_uppercase();
    let word = upper.strip_prefix("SIG").unwrap_or(&upper);
    StopSignal::from_word(word).ok_or_else(|| {
        let all: Vec<&str> = StopSignal::ALL.iter().map(|signal| signal.word()).collect();
        let cure = match word {
            "KILL" => "write --grace 0s to have it killed at once".to_owned(),
            _ => format!("write one of {}", all.join(", ")),
        };
        bad(
            "kill-signal",
            name,
            "this is no signal that asks a process to end",
            Some(&cure),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(refused: Result<TimeLimits, Refusal>) -> (String, String) {
        match refused {
            Err(Refusal::BadField { field, cure, .. }) => (field, cure.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_can_be_no_limit_is_refused_with_the_cure() {
        let signal = |name: &str| time(None, None, None, Some(name.to_owned()));
        assert_eq!(signal("sigint").map(|limits| limits.signal), Ok(StopSignal::Int));
        assert_eq!(signal("USR1").map(|limits| limits.signal), Ok(StopSignal::Usr1));
        assert_eq!(
            field(signal("KILL")),
            (
                "kill-signal".to_owned(),
                "write --grace 0s to have it killed at once".to_owned()
            )
        );
        assert!(field(signal("SIGSIGTERM")).1.contains("TERM"));
        assert_eq!(field(time(Some(0), None, None, None)).0, "timeout");
        assert_eq!(field(time(None, Some(0), None, None)).0, "deadline");
        let day = 24 * 60 * 60 * 1000;
        assert!(time(None, None, Some(day), None).is_ok() && time(None, None, Some(0), None).is_ok());
        assert_eq!(field(time(None, None, Some(day + 1), None)).0, "grace");
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_is() {
        let before = time(Some(1_000), Some(2_000), Some(3_000), Some("INT".to_owned())).expect("they are right");
        let patch = TaskPatch {
            deadline_ms: Some(None),
            kill_signal: Some(None),
            ..TaskPatch::default()
        };
        let after = patched(before, &patch).expect("it is right");
        assert_eq!(
            after,
            time(Some(1_000), None, Some(3_000), None).expect("they are right")
        );
    }
}
