//! What must hold before runs start, in words.

use taskd_wire::definition::GatesSpec;

use super::task::every;

/// The gates of a task; nothing where it has none.
pub fn gates(spec: &GatesSpec) -> Option<String> {
    let gates = [
        spec.max_load.as_ref().map(|load| format!("load at most {load}")),
        spec.min_memory.as_ref().map(|size| format!("{size} of memory")),
        spec.on_ac_power.then(|| "not on battery".to_owned()),
        spec.only_if.as_ref().map(|line| format!("only if {line}")),
    ];
    let gates: Vec<String> = gates.into_iter().flatten().collect();
    let wait = match spec.gate_wait_ms {
        Some(ms) => format!("waits {} for them", every(ms)),
        None => "else skipped".to_owned(),
    };
    (!gates.is_empty()).then(|| format!("{}; {wait}", gates.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_read_as_they_may_be_typed() {
        assert_eq!(gates(&GatesSpec::default()), None);
        let spec = GatesSpec {
            only_if: Some("test -e /mnt".into()),
            max_load: Some("2.5".into()),
            min_memory: Some("2G".into()),
            on_ac_power: true,
            gate_wait_ms: Some(600_000),
        };
        let said = "load at most 2.5, 2G of memory, not on battery, only if test -e /mnt; waits 10m for them";
        assert_eq!(gates(&spec).as_deref(), Some(said));
        let one = GatesSpec {
            on_ac_power: true,
            ..GatesSpec::default()
        };
        assert_eq!(gates(&one).as_deref(), Some("not on battery; else skipped"));
    }
}
