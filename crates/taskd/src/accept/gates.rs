//! What must hold before the runs of a task start.

use std::num::NonZeroU64;
use std::time::Duration;

use taskd_core::gates::{GATE_WAIT_MAX, Gates, parse_load, parse_memory};
use taskd_core::schedule::format_duration;
use taskd_wire::definition::{GatesPatch, GatesSpec};
use taskd_wire::refusal::Refusal;

use super::bad;

/// The gates of a task, and how long its runs wait for them, in milliseconds.
pub(super) type Gated = (Gates, Option<NonZeroU64>);

/// What was typed of a new task.
pub(super) fn gates(spec: GatesSpec) -> Result<Gated, Refusal> {
    let patch = GatesPatch {
        only_if: spec.only_if.map(Some),
        max_load: spec.max_load.map(Some),
        min_memory: spec.min_memory.map(Some),
        on_ac_power: Some(spec.on_ac_power),
        gate_wait_ms: spec.gate_wait_ms.map(Some),
    };
    patched((Gates::default(), None), patch)
}

/// What is changed of a task.
pub(super) fn patched((mut gates, mut wait): Gated, patch: GatesPatch) -> Result<Gated, Refusal> {
    if let Some(line) = patch.only_if {
        gates.only_if = line.map(only_if).transpose()?;
    }
    if let Some(text) = patch.max_load {
        gates.max_load = text.map(|text| max_load(&text)).transpose()?;
    }
    if let Some(text) = patch.min_memory {
        gates.min_memory = text.map(|text| min_memory(&text)).transpose()?;
    }
    if let Some(is) = patch.on_ac_power {
        gates.on_ac_power = is;
    }
    if let Some(ms) = patch.gate_wait_ms {
        wait = ms.map(gate_wait).transpose()?;
    }
    if let (Some(ms), true) = (wait, gates.none()) {
        let cure = "add a gate, such as --only-if LINE or --max-load N, or take it away with --gate-wait ''";
        let text = format_duration(Duration::from_millis(ms.get()));
        return Err(bad("gate-wait", &text, "there is no gate to wait for", Some(cure)));
    }
    Ok((gates, wait))
}

fn only_if(line: String) -> Result<String, Refusal> {
    if line.trim().is_empty() {
        let cure = Some("write a line for the shell, such as 'test -e /mnt/backup'");
        return Err(bad("only-if", &line, "an empty line tells nothing", cure));
    }
    if line.contains('\0') {
        return Err(bad("only-if", &line, "a shell line cannot hold a NUL character", None));
    }
    Ok(line)
}

fn max_load(text: &str) -> Result<u32, Refusal> {
    parse_load(text).ok_or_else(|| {
        let cure = Some("write a number up to 10000, with two digits after the point at most, such as 4 or 2.5");
        bad("max-load", text, "this is no load average", cure)
    })
}

fn min_memory(text: &str) -> Result<NonZeroU64, Refusal> {
    parse_memory(text).ok_or_else(|| {
        let cure = Some("write a number above 0, with K, M, G or T behind it for times 1024, such as 512M or 512MiB");
        bad("min-memory", text, "this is no amount of memory", cure)
    })
}

fn gate_wait(ms: u64) -> Result<NonZeroU64, Refusal> {
    let length = Duration::from_millis(ms);
    if length > GATE_WAIT_MAX {
        let problem = "a run may wait for its gate for 30 days at most";
        let cure = Some("write at most 30d");
        return Err(bad("gate-wait", &format_duration(length), problem, cure));
    }
    NonZeroU64::new(ms).ok_or_else(|| {
        let cure = Some("write '' to have runs skipped at once");
        bad("gate-wait", "0s", "a run that waits for no time does not wait", cure)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_gate_is_refused_with_the_cure() {
        let text = |text: &str| Some(text.to_owned());
        let none = GatesSpec::default;
        for (spec, of, says) in [
            (
                GatesSpec {
                    only_if: text(" "),
                    ..none()
                },
                "only-if",
                "test -e",
            ),
            (
                GatesSpec {
                    max_load: text("high"),
                    ..none()
                },
                "max-load",
                "2.5",
            ),
            (
                GatesSpec {
                    max_load: text("-1"),
                    ..none()
                },
                "max-load",
                "2.5",
            ),
            (
                GatesSpec {
                    min_memory: text("2 GB"),
                    ..none()
                },
                "min-memory",
                "512M",
            ),
            (
                GatesSpec {
                    min_memory: text("0"),
                    ..none()
                },
                "min-memory",
                "above 0",
            ),
            (
                GatesSpec {
                    gate_wait_ms: Some(60_000),
                    ..none()
                },
                "gate-wait",
                "--only-if",
            ),
            (
                GatesSpec {
                    gate_wait_ms: Some(0),
                    on_ac_power: true,
                    ..none()
                },
                "gate-wait",
                "at once",
            ),
            (
                GatesSpec {
                    gate_wait_ms: Some(31 * 86_400_000),
                    on_ac_power: true,
                    ..none()
                },
                "gate-wait",
                "30d",
            ),
        ] {
            match gates(spec) {
                Err(Refusal::BadField { field, cure, .. }) => {
                    assert!(
                        field == of && cure.as_deref().unwrap_or("").contains(says),
                        "{field}: {cure:?}"
                    );
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_change_leaves_the_rest_and_the_last_gate_does_not_go_alone() {
        let spec = GatesSpec {
            max_load: Some("4".to_owned()),
            gate_wait_ms: Some(60_000),
            ..GatesSpec::default()
        };
        let before = gates(spec).expect("it is right");
        let patch = GatesPatch {
            on_ac_power: Some(true),
            ..GatesPatch::default()
        };
        let (both, wait) = patched(before.clone(), patch).expect("it is right");
        assert_eq!(
            (both.max_load, both.on_ac_power, wait),
            (Some(400), true, NonZeroU64::new(60_000))
        );
        let without = || GatesPatch {
            max_load: Some(None),
            ..GatesPatch::default()
        };
        assert!(patched(before.clone(), without()).is_err());
        let neither = GatesPatch {
            gate_wait_ms: Some(None),
            ..without()
        };
        assert_eq!(patched(before, neither), Ok((Gates::default(), None)));
    }
}
