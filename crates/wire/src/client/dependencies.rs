//! What is said of tasks that come after others.

use bincode::{Decode, Encode};

use crate::codec::Rec;

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

/// Tasks with those that they come after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Graph {
    /// The tasks.
    pub tasks: Vec<Rec<GraphTask>>,
    /// The trace id whose runs are told of, where it is that of one.
    pub trace_id: Option<String>,
    /// Whether there are more than one answer holds.
    pub more: bool,
}

/// A task in a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct GraphTask {
    /// Its name.
    pub task: String,
    /// Those that it comes after; some may be left out of the graph.
    pub upstreams: Vec<Rec<UpstreamInfo>>,
    /// Whether one of them is enough.
    pub any: bool,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The run that is told of, as `TASK/N`: the newest in progress, else the one that ended last.
    pub run: Option<String>,
    /// Its state while it is in progress, else its outcome.
    pub state: Option<String>,
}
