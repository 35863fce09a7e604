//! What a run was given beside what its task says.

use serde::Serialize;
use taskd_wire::client as wire;

/// The names of variables, and the number of arguments: no values.
#[derive(Debug, Serialize)]
pub struct Overridden<'a> {
    env: &'a [String],
    /// How many variables there are beside these.
    more_env: u64,
    args: u64,
    skip_gates: bool,
}

impl<'a> Overridden<'a> {
    /// Of what the daemon tells.
    pub fn of(overridden: &'a wire::Overridden) -> Self {
        Overridden {
            env: &overridden.env,
            more_env: overridden.more_env,
            args: overridden.args,
            skip_gates: overridden.skip_gates,
        }
    }
}
