//! What single runs are given beside what their tasks say.

use bincode::{Decode, Encode};

use crate::definition::EnvVar;

/// What is asked for runs, all their attempts included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Overrides {
    /// Variables, before those of the same name of the task.
    pub env: Vec<EnvVar>,
    /// Arguments behind those of the task; the parameters `$1`, `$2`, … of a shell line.
    pub args: Vec<String>,
    /// Whether they start whatever the gates of their tasks say.
    pub skip_gates: bool,
}

/// What is told of it: no values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Overridden {
    /// The names of its variables, the first of them where they are many.
    pub env: Vec<String>,
    /// How many variables there are beside these.
    pub more_env: u64,
    /// How many arguments there are.
    pub args: u64,
    /// Whether it started whatever the gates of its task said.
    pub skip_gates: bool,
}
