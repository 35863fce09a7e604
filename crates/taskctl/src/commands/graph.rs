//! `taskctl graph`

use taskd_wire::client::{Graph, Request, Response};

use crate::args::GraphArgs;
use crate::error::Result;
use crate::json;
use crate::render::graph;
use crate::session::Session;

/// Draws the graph of tasks.
pub fn run(args: &GraphArgs, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let request = Request::Graph {
        task: args.task.clone(),
        run: args.run.clone(),
    };
    let Response::Graph(graph) = client.request(&request)? else {
        return Err(client.unexpected().into());
    };
    let graph = graph.0;
    if session.json {
        session.out.json(&json::GraphShape::of(&graph))?;
    } else {
        print(&graph, args.dot, session)?;
    }
    if graph.more {
        session.remark("there are more tasks than one graph holds; name one to see what it hangs together with");
    }
    Ok(())
}

fn print(graph: &Graph, dot: bool, session: &mut Session) -> Result<()> {
    if dot {
        for line in graph::dot(graph) {
            session.out.line(&line)?;
        }
        return Ok(());
    }
    if graph.tasks.is_empty() {
        session.remark("no task comes after another or requires one; `taskctl add --after` or `--require` makes one");
        return Ok(());
    }
    for line in graph::drawn(graph, session.out.colour) {
        session.out.line(&line)?;
    }
    Ok(())
}
