//! What is said of tasks that come after others.

use bincode::{Decode, Encode};

/// One of the tasks that another comes after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct UpstreamInfo {
    /// Its name.
    pub task: String,
    /// Which ends count: `succeeded`, `failed` or `finished`.
    pub on: String,
    /// The run that has ended so since the other task was last triggered, as `TASK/N`; `None` while there is none.
    pub ended: Option<String>,
}
