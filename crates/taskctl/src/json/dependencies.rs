//! Shapes of what comes after what.

use serde::Serialize;
use taskd_wire::client::{Graph, GraphTask, UpstreamInfo};

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

/// Tasks with those that they come after.
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
        }
    }
}
