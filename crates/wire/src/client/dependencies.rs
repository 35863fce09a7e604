//! What is said of tasks that come after others.

use bincode::{Decode, Encode};

use crate::codec::{Rec, Tail};

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

/// One of the tasks that another requires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RequirementInfo {
    /// Its name.
    pub task: String,
    /// For how many milliseconds after its end a success counts; `None` for any time.
    pub within_ms: Option<u64>,
    /// How the run of it that ended last of those that did run had ended; `None` where none has.
    pub outcome: Option<String>,
    /// When that was.
    pub ended_ms: Option<i64>,
    /// Why this does not hold, where it does not.
    pub unmet: Option<String>,
}

/// Tasks with those that they come after and require.
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
    /// Those that it requires; some may be left out of the graph.
    pub requires: Tail<Vec<Rec<RequirementInfo>>>,
}
