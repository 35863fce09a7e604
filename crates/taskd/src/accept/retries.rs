//! Whether another attempt follows one that did not succeed, and what a success is.

use std::num::NonZeroU64;
use std::time::Duration;

use taskd_core::policy::{BACKOFF_MAX, Backoff, Codes, RETRIES_MAX, Retry, RetryOn};
use taskd_core::schedule::format_duration;
use taskd_wire::definition::{BackoffSpec, TaskPatch};
use taskd_wire::refusal::Refusal;

use super::bad;

/// What was typed of a new task.
pub(super) fn retry(times: u32, backoff: Option<BackoffSpec>, on: Option<&[String]>) -> Result<Retry, Refusal> {
    Ok(Retry {
        times: most(times)?,
        backoff: backoff.map_or(Ok(Backoff::default()), waits)?,
        on: on.map_or(Ok(RetryOn::default()), after)?,
    })
}

/// What is changed of a task.
pub(super) fn patched(mut retry: Retry, patch: &TaskPatch) -> Result<Retry, Refusal> {
    if let Some(times) = patch.retries {
        retry.times = most(times)?;
    }
    if let Some(changed) = patch.backoff {
        let (initial_ms, max_ms) = changed
            .bounds_ms
            .unwrap_or((retry.backoff.initial_ms.get(), retry.backoff.max_ms.get()));
        retry.backoff = waits(BackoffSpec {
            initial_ms,
            max_ms,
            factor_percent: changed.factor_percent.unwrap_or(retry.backoff.factor_percent),
            jitter: changed.jitter.unwrap_or(retry.backoff.jitter),
        })?;
    }
    if let Some(on) = &patch.retry_on {
        retry.on = on.as_deref().map_or(Ok(RetryOn::default()), after)?;
    }
    Ok(retry)
}

fn most(times: u32) -> Result<u32, Refusal> {
    if times > RETRIES_MAX {
        let problem = format!("a run may be tried again {RETRIES_MAX} times at most");
        return Err(bad("retries", &times.to_string(), problem, Some("write fewer")));
    }
    Ok(times)
}

fn waits(typed: BackoffSpec) -> Result<Backoff, Refusal> {
    let length = |ms| Duration::from_millis(ms);
    let text = || {
        let (initial, max) = (length(typed.initial_ms), length(typed.max_ms));
        format!("{}..{}", format_duration(initial), format_duration(max))
    };
    let cure = Some("write it as 1s..5m, the wait before the first retry and the longest");
    let bounds = NonZeroU64::new(typed.initial_ms).zip(NonZeroU64::new(typed.max_ms));
    let Some((initial_ms, max_ms)) = bounds else {
        return Err(bad("backoff", &text(), "a wait of no length is none", cure));
    };
    if max_ms < initial_ms {
        return Err(bad(
            "backoff",
            &text(),
            "the longest wait is shorter than the first",
            cure,
        ));
    }
    if length(max_ms.get()) > BACKOFF_MAX {
        return Err(bad("backoff", &text(), "a wait may take a week at most", cure));
    }
    if !(100..=10_000).contains(&typed.factor_percent) {
        let factor = f64::from(typed.factor_percent) / 100.0;
        let (problem, cure) = ("waits do not grow by that", Some("write a number from 1 to 100"));
        return Err(bad("backoff-factor", &factor.to_string(), problem, cure));
    }
    Ok(Backoff {
        initial_ms,
        max_ms,
        factor_percent: typed.factor_percent,
        jitter: typed.jitter,
    })
}

/// Reads after what another attempt follows.
fn after(words: &[String]) -> Result<RetryOn, Refusal> {
    let mut on = RetryOn {
        failed: false,
        timed_out: false,
        spawn_failed: false,
        unknown: false,
        codes: Codes::default(),
    };
    let mut codes = Vec::new();
    for word in words {
        match word.as_str() {
            "failed" => on.failed = true,
            "timed-out" => on.timed_out = true,
            "spawn-failed" => on.spawn_failed = true,
            "unknown" => on.unknown = true,
            other => match other.strip_prefix("exit:").map(str::parse) {
                Some(Ok(code)) => codes.push(code),
                Some(Err(_)) | None => {
                    let problem = "this is nothing that another attempt could follow";
                    let cure = "write failed, timed-out, spawn-failed, unknown or exit:CODE";
                    return Err(bad("retry-on", word, problem, Some(cure)));
                }
            },
        }
    }
    on.codes = codes.into_iter().collect();
    if on
        == (RetryOn {
            codes: Codes::default(),
            failed: false,
            timed_out: false,
            spawn_failed: false,
            unknown: false,
        })
    {
        let problem = "without anything to follow there is no other attempt";
        return Err(bad("retry-on", "", problem, Some("write --retries 0 for none")));
    }
    Ok(on)
}

/// Reads a set of exit codes that are a success; 0 where none are said.
pub(super) fn codes(field: &str, typed: Option<&[u32]>) -> Result<Codes, Refusal> {
    let Some(typed) = typed else { return Ok(Codes::SUCCESS) };
    let code = |code: &u32| {
        u8::try_from(*code).map_err(|_| {
            let problem = "an exit code lies between 0 and 255";
            bad(field, &code.to_string(), problem, Some("write codes as 0,2"))
        })
    };
    if typed.is_empty() {
        return Err(bad(
            field,
            "",
            "without any there is no success",
            Some("write codes as 0,2"),
        ));
    }
    typed.iter().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<T: std::fmt::Debug>(refused: Result<T, Refusal>) -> String {
        match refused {
            Err(Refusal::BadField { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    fn spec(initial_ms: u64, max_ms: u64, factor_percent: u32) -> BackoffSpec {
        BackoffSpec {
            initial_ms,
            max_ms,
            factor_percent,
            jitter: false,
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let week = 7 * 24 * 60 * 60 * 1000;
        assert!(waits(spec(1, week, 10_000)).is_ok() && waits(spec(5, 5, 100)).is_ok());
        for wrong in [spec(0, 5, 200), spec(6, 5, 200), spec(1, week + 1, 200)] {
            assert_eq!(field(waits(wrong)), "backoff");
        }
        assert_eq!(field(waits(spec(1, 2, 99))), "backoff-factor");
        assert_eq!(field(waits(spec(1, 2, 10_001))), "backoff-factor");
        assert_eq!(most(RETRIES_MAX), Ok(RETRIES_MAX));
        assert_eq!(field(most(RETRIES_MAX + 1)), "retries");
        for wrong in ["exit:256", "exit:-1", "succeeded", "exit:"] {
            assert_eq!(field(after(&[wrong.to_owned()])), "retry-on");
        }
        assert_eq!(field(after(&[])), "retry-on");
        assert_eq!(field(codes("success-codes", Some(&[256]))), "success-codes");
        assert_eq!(field(codes("success-codes", Some(&[]))), "success-codes");
        assert_eq!(codes("success-codes", None), Ok(Codes::SUCCESS));
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_is() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let before =
            retry(3, Some(spec(1_000, 9_000, 300)), Some(&words(&["failed", "exit:75"]))).expect("it is right");
        let patch = TaskPatch {
            retries: Some(4),
            backoff: Some(taskd_wire::definition::BackoffPatch {
                jitter: Some(true),
                ..Default::default()
            }),
            ..TaskPatch::default()
        };
        let after = patched(before, &patch).expect("it is right");
        assert_eq!((after.times, after.on), (4, before.on));
        assert_eq!(
            after.backoff,
            Backoff {
                jitter: true,
                ..before.backoff
            }
        );
    }
}
