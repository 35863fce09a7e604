//! Shapes of what comes after what, and of what requires what.

use serde::Serialize;
use taskd_wire::client::{Graph, GraphTask, RequirementInfo, UpstreamInfo};
use taskd_wire::codec::Rec;

use super::rfc3339;

/// One of the tasks that another comes after.
#[derive(Debug, Serialize)]
pub struct Upstream<'a> {
    task: &'a str,
    on: &'a str,
    /// The run that has ended so since the other task was last triggered.
    ended: Option<&'a str>,
}

impl<'a> Upstream<'a> {
    /// Of what the daemon tells.
    pub fn of(upstream: &'a UpstreamInfo) -> Self {
        Upstream {
            task: &upstream.task,
            on: &upstream.on,
            ended: upstream.ended.as_deref(),
        }
    }
}

/// One of the tasks that another requires.
#[derive(Debug, Serialize)]
pub struct Required<'a> {
    task: &'a str,
    within_ms: Option<u64>,
    /// How its last run had ended.
    outcome: Option<&'a str>,
    ended_at: Option<String>,
    holds: bool,
    /// Why it does not hold.
    reason: Option<&'a str>,
}

impl<'a> Required<'a> {
    /// Of all that the daemon tells.
    pub fn all(requires: &'a [Rec<RequirementInfo>]) -> Vec<Self> {
        let of = |required: &'a Rec<RequirementInfo>| Required {
            task: &required.task,
            within_ms: required.within_ms,
            outcome: required.outcome.as_deref(),
            ended_at: required.ended_ms.map(rfc3339),
            holds: required.unmet.is_none(),
            reason: required.unmet.as_deref(),
        };
        requires.iter().map(of).collect()
    }
}

/// Tasks with those that they come after and require.
#[derive(Debug, Serialize)]
pub struct GraphShape<'a> {
    tasks: Vec<GraphNode<'a>>,
    /// The trace id whose runs are told of.
    trace_id: Option<&'a str>,
    more: bool,
}

impl<'a> GraphShape<'a> {
    /// Of what the daemon tells.
    pub fn of(graph: &'a Graph) -> Self {
        GraphShape {
            tasks: graph.tasks.iter().map(|task| GraphNode::of(task)).collect(),
            trace_id: graph.trace_id.as_deref(),
            more: graph.more,
        }
    }
}

/// A task in a graph.
#[derive(Debug, Serialize)]
pub struct GraphNode<'a> {
    task: &'a str,
    enabled: bool,
    run: Option<&'a str>,
    state: Option<&'a str>,
    any: bool,
    upstreams: Vec<Upstream<'a>>,
    requires: Vec<Required<'a>>,
}

impl<'a> GraphNode<'a> {
    fn of(task: &'a GraphTask) -> Self {
        GraphNode {
            task: &task.task,
            enabled: task.enabled,
            run: task.run.as_deref(),
            state: task.state.as_deref(),
            any: task.any,
            upstreams: task.upstreams.iter().map(|upstream| Upstream::of(upstream)).collect(),
            requires: Required::all(&task.requires.0),
        }
    }
}
