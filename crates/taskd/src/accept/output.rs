//! What is kept of runs: their output, and the runs themselves.

use std::num::NonZeroU64;
use std::time::Duration;

use taskd_core::policy::{
    History, KEEP_FOR_MAX_MS, KEEP_RUNS_MAX, Leftover, OUTPUT_MAX, OUTPUT_MIN, OutputKind, OutputPolicy,
};
use taskd_core::schedule::format_duration;
use taskd_runner::{MaskError, Masks};
use taskd_wire::definition::{self, TaskPatch, TaskSpec};
use taskd_wire::refusal::Refusal;

use super::bad;

/// What was typed of a new task's output.
pub(super) fn output(spec: &TaskSpec, leftover: Leftover) -> Result<OutputPolicy, Refusal> {
    let output = OutputPolicy {
        kind: kind(spec.output),
        max_bytes: max(spec.output_max)?,
        mask: masks(&spec.mask)?,
    };
    is_possible(&output, leftover)?;
    Ok(output)
}

/// What is changed of a task's output, which is to go with what becomes of processes that are left.
pub(super) fn patched(
    mut output: OutputPolicy,
    patch: &TaskPatch,
    leftover: Leftover,
) -> Result<OutputPolicy, Refusal> {
    if let Some(said) = patch.output {
        output.kind = kind(said);
    }
    if let Some(bytes) = patch.output_max {
        output.max_bytes = max(bytes)?;
    }
    if let Some(patterns) = &patch.mask {
        output.mask = masks(patterns)?;
    }
    is_possible(&output, leftover)?;
    Ok(output)
}

/// What was typed of a new task's history.
pub(super) fn history(spec: &TaskSpec) -> Result<History, Refusal> {
    Ok(History {
        runs: keep_runs(spec.keep_runs)?,
        for_ms: keep_for(spec.keep_for_ms)?,
    })
}

/// What is changed of a task's history.
pub(super) fn patched_history(mut history: History, patch: &TaskPatch) -> Result<History, Refusal> {
    if let Some(runs) = patch.keep_runs {
        history.runs = keep_runs(runs)?;
    }
    if let Some(for_ms) = patch.keep_for_ms {
        history.for_ms = keep_for(for_ms)?;
    }
    Ok(history)
}

/// What was said of who writes it.
fn kind(said: definition::OutputKind) -> OutputKind {
    match said {
        definition::OutputKind::Lines => OutputKind::Lines,
        definition::OutputKind::File => OutputKind::File,
        definition::OutputKind::Discard => OutputKind::Discard,
    }
}

/// Patterns of what is to be hidden, all of which can be used.
fn masks(patterns: &[String]) -> Result<Vec<String>, Refusal> {
    let refused = |error: MaskError| {
        let (index, at, cure) = match &error {
            MaskError::TooMany(_) => (0, None, "put several into one, as in token=\\S+|key=\\S+"),
            MaskError::TooLong { index, .. } => (*index, None, "write a shorter one"),
            MaskError::Syntax { index, at, .. } => (
                *index,
                Some(*at),
                "write a regular expression; a backslash before a sign of it takes it as it is",
            ),
            MaskError::TooLarge { index } => (*index, None, "use + or * where {N} counts much"),
            MaskError::Empty { index } => (*index, None, "have it match at least one character"),
            MaskError::Lines { index } => (
                *index,
                None,
                "mask what stands in each line by itself, and write . for any character",
            ),
        };
        Refusal::BadField {
            field: "mask".to_owned(),
            text: patterns.get(index).cloned().unwrap_or_default(),
            at,
            problem: error.to_string(),
            cure: Some(cure.to_owned()),
        }
    };
    Masks::compile(patterns).map_err(refused)?;
    Ok(patterns.to_vec())
}

/// Refuses to promise what cannot be held.
fn is_possible(output: &OutputPolicy, leftover: Leftover) -> Result<(), Refusal> {
    match output.kind {
        OutputKind::File if !output.mask.is_empty() => {
            let problem = "nothing can be masked in a file that the command writes itself";
            let cure = "write --output lines, or take the masks away with --mask ''";
            Err(bad("output", "file", problem, Some(cure)))
        }
        OutputKind::File if leftover == Leftover::Leave => {
            let problem = "what goes on after a run would write on into its file, which is complete then";
            let cure = "write --output lines or discard, or --on-leftover kill";
            Err(bad("output", "file", problem, Some(cure)))
        }
        OutputKind::Lines | OutputKind::File | OutputKind::Discard => Ok(()),
    }
}

fn max(bytes: Option<u64>) -> Result<Option<NonZeroU64>, Refusal> {
    let Some(bytes) = bytes else { return Ok(None) };
    if !(OUTPUT_MIN..=OUTPUT_MAX).contains(&bytes) {
        let problem = "head and tail of an output have 4 KiB to 64 GiB";
        return Err(bad(
            "output-max",
            &bytes.to_string(),
            problem,
            Some("write a size such as 1MiB"),
        ));
    }
    Ok(NonZeroU64::new(bytes))
}

fn keep_runs(runs: Option<u64>) -> Result<Option<NonZeroU64>, Refusal> {
    let Some(runs) = runs else { return Ok(None) };
    if !(1..=KEEP_RUNS_MAX).contains(&runs) {
        let problem = "a task keeps 1 to 1,000,000 of its runs";
        return Err(bad(
            "keep-runs",
            &runs.to_string(),
            problem,
            Some("write a number such as 50"),
        ));
    }
    Ok(NonZeroU64::new(runs))
}

fn keep_for(ms: Option<u64>) -> Result<Option<NonZeroU64>, Refusal> {
    let Some(ms) = ms else { return Ok(None) };
    if !(1_000..=KEEP_FOR_MAX_MS).contains(&ms) {
        let problem = "a task keeps its runs for 1 s to 36,500 days";
        return Err(bad(
            "keep-for",
            &format_duration(Duration::from_millis(ms)),
            problem,
            Some("write a length such as 30d"),
        ));
    }
    Ok(NonZeroU64::new(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_bound_is_refused() {
        let max = |bytes| super::max(Some(bytes)).is_ok();
        assert!(max(4096) && max(64 << 30) && !max(4095) && !max((64 << 30) + 1) && !max(0));
        let runs = |runs| keep_runs(Some(runs)).is_ok();
        assert!(runs(1) && runs(1_000_000) && !runs(0) && !runs(1_000_001));
        let long = |ms| keep_for(Some(ms)).is_ok();
        assert!(long(1_000) && long(KEEP_FOR_MAX_MS) && !long(0) && !long(KEEP_FOR_MAX_MS + 1));
        let said = keep_for(Some(0));
        assert!(
            matches!(&said, Err(Refusal::BadField { text, .. }) if text == "0s"),
            "{said:?}"
        );
    }
}
