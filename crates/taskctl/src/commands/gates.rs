//! From what was typed to what is said: what must hold before runs start.

use taskd_wire::definition::{GatesPatch, GatesSpec};

use super::definition::{bound, limit};
use crate::args::GateArgs;
use crate::error::Failure;

/// What was typed of a new task.
pub fn spec(args: &GateArgs) -> Result<GatesSpec, Failure> {
    let patch = patch(args)?;
    Ok(GatesSpec {
        only_if: patch.only_if.flatten(),
        max_load: patch.max_load.flatten(),
        min_memory: patch.min_memory.flatten(),
        on_ac_power: patch.on_ac_power.unwrap_or_default(),
        gate_wait_ms: patch.gate_wait_ms.flatten(),
    })
}

/// What was typed of a change.
pub fn patch(args: &GateArgs) -> Result<GatesPatch, Failure> {
    Ok(GatesPatch {
        only_if: bound(args.only_if.as_deref()),
        max_load: bound(args.max_load.as_deref()),
        min_memory: bound(args.min_memory.as_deref()),
        on_ac_power: args.on_ac_power,
        gate_wait_ms: limit("gate-wait", args.gate_wait.as_deref())?,
    })
}
