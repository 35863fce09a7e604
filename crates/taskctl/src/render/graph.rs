//! The graph of tasks as text.

use std::collections::{BTreeMap, BTreeSet};

use taskd_wire::client::{Graph, GraphTask, RequirementInfo, UpstreamInfo};

use super::table::Tone;
use super::task::in_delay;

/// As a tree for each task that comes after none and requires none: what comes after a task or requires it stands below it, each
/// task once.
pub fn drawn(graph: &Graph, colour: bool) -> Vec<String> {
    let tree = Tree::of(graph);
    let mut drawing = Drawing {
        tree: &tree,
        is_of_run: graph.trace_id.is_some(),
        colour,
        drawn: BTreeSet::new(),
        lines: Vec::new(),
    };
    for root in &tree.roots {
        drawing.draw_from(root);
    }
    drawing.lines
}

/// In the language of Graphviz.
pub fn dot(graph: &Graph) -> Vec<String> {
    let mut lines = vec!["digraph tasks {".to_owned(), "  rankdir=LR;".to_owned()];
    let is_of_run = graph.trace_id.is_some();
    for task in &graph.tasks {
        // Names are made of letters that need no other writing.
        let style = if task.enabled { "" } else { ", style=dashed" };
        let state = state(task, is_of_run).0;
        lines.push(format!("  \"{0}\" [label=\"{0}\\n{state}\"{style}];", task.task));
    }
    for task in &graph.tasks {
        for upstream in &task.upstreams {
            let label = (upstream.on != "succeeded").then(|| format!("label=\"{}\"", upstream.on));
            let style = task.any.then(|| "style=dashed".to_owned());
            let options: Vec<String> = label.into_iter().chain(style).collect();
            let options = match options.is_empty() {
                true => String::new(),
                false => format!(" [{}]", options.join(", ")),
            };
            lines.push(format!("  \"{}\" -> \"{}\"{options};", upstream.task, task.task));
        }
        for required in &task.requires.0 {
            let label = format!("requires{}", within(required));
            lines.push(format!(
                "  \"{}\" -> \"{}\" [label=\"{label}\", style=dotted];",
                required.task, task.task
            ));
        }
    }
    lines.push("}".to_owned());
    lines
}

/// How old a success may be, where that is bounded.
fn within(required: &RequirementInfo) -> String {
    let within = required.within_ms.map(|ms| format!(" within {}", in_delay(ms)));
    within.unwrap_or_default()
}

/// Whether a task comes after another, and does not only require it.
fn follows(task: &GraphTask, other: &str) -> bool {
    task.upstreams.iter().any(|upstream| upstream.task == other)
}

/// How the run of a task stands that is meant, in words.
fn state(task: &GraphTask, is_of_run: bool) -> (String, Tone) {
    match (&task.state, &task.run) {
        (Some(state), Some(run)) => (format!("{state} ({run})"), Tone::of(state)),
        (Some(_) | None, _) if is_of_run => ("no run under this trace".to_owned(), Tone::Dim),
        (Some(_) | None, _) => ("never run".to_owned(), Tone::Dim),
    }
}

/// Which stands below which.
struct Tree<'a> {
    tasks: BTreeMap<&'a str, &'a GraphTask>,
    /// The tasks that come after one or require it, in the order of their names.
    below: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Those that come after none that is drawn, and require none.
    roots: Vec<&'a str>,
}

impl<'a> Tree<'a> {
    fn of(graph: &'a Graph) -> Self {
        let tasks: BTreeMap<&str, &GraphTask> = graph.tasks.iter().map(|task| (task.task.as_str(), &task.0)).collect();
        let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut roots = Vec::new();
        for (name, task) in &tasks {
            let upstreams = task.upstreams.iter().map(|upstream| upstream.task.as_str());
            let required = task.requires.0.iter().map(|required| required.task.as_str());
            let named = upstreams.chain(required);
            let there: Vec<&str> = named.filter(|name| tasks.contains_key(name)).collect();
            if there.is_empty() {
                roots.push(*name);
            }
            for upstream in there {
                below.entry(upstream).or_default().insert(*name);
            }
        }
        Tree { tasks, below, roots }
    }

    fn below(&self, name: &str) -> Vec<&'a str> {
        self.below
            .get(name)
            .map_or_else(Vec::new, |below| below.iter().copied().collect())
    }
}

struct Drawing<'a> {
    tree: &'a Tree<'a>,
    is_of_run: bool,
    colour: bool,
    drawn: BTreeSet<&'a str>,
    lines: Vec<String>,
}

impl<'a> Drawing<'a> {
    /// Draws a task and all below it. Without recursion, for a chain may be long.
    fn draw_from(&mut self, root: &'a str) {
        // What is yet to be drawn: the task, the one it stands below, what stands left of it, and whether it is the last there.
        let mut rest = vec![(root, None, String::new(), true)];
        while let Some((name, above, left, is_last)) = rest.pop() {
            let Some(task) = self.tree.tasks.get(name).copied() else {
                continue;
            };
            let line = match above {
                Some(above) if !follows(task, above) => "┈ ",
                Some(_) | None => "─ ",
            };
            let (corner, under) = match (above, is_last) {
                (None, _) => (String::new(), ""),
                (Some(_), true) => (format!("└{line}"), "   "),
                (Some(_), false) => (format!("├{line}"), "│  "),
            };
            let is_new = self.drawn.insert(name);
            let said = self.said(task, above, is_new);
            self.lines.push(format!("{left}{corner}{said}"));
            if !is_new {
                continue;
            }
            let below = self.tree.below(name);
            let left = format!("{left}{under}");
            let last = below.len().saturating_sub(1);
            let each = below.into_iter().enumerate();
            let each = each.map(|(place, other)| (other, Some(name), left.clone(), place == last));
            let mut each: Vec<_> = each.collect();
            each.reverse();
            rest.append(&mut each);
        }
    }

    fn said(&self, task: &GraphTask, above: Option<&str>, is_new: bool) -> String {
        let is_above = |upstream: &UpstreamInfo| Some(upstream.task.as_str()) == above;
        let upstreams = || task.upstreams.iter().map(|upstream| &upstream.0);
        let on = upstreams().find(|upstream| is_above(upstream) && upstream.on != "succeeded");
        let on = on.map(|upstream| format!("on {}", upstream.on));
        let others = upstreams().filter(|upstream| above.is_some() && !is_above(upstream));
        let others: Vec<&str> = others.map(|upstream| upstream.task.as_str()).collect();
        let follows_above = upstreams().any(is_above);
        let joined = match (follows_above, task.any) {
            (true, true) => "or after",
            (true, false) => "and after",
            (false, true) if others.len() > 1 => "after any of",
            (false, true | false) => "after",
        };
        let others = (!others.is_empty()).then(|| format!("{joined} {}", others.join(", ")));
        let requires = above.and_then(|above| requires(task, above));
        let terms: Vec<String> = on.into_iter().chain(others).chain(requires).collect();
        let terms = match terms.is_empty() {
            true => String::new(),
            false => format!(" ({})", terms.join(", ")),
        };
        if !is_new {
            return format!("{}{terms}, drawn above", task.task);
        }
        let (state, tone) = state(task, self.is_of_run);
        let disabled = if task.enabled { "" } else { ", disabled" };
        format!("{}{terms}  {}{disabled}", task.task, tone.paint(&state, self.colour))
    }
}

/// What a task that stands below another requires.
fn requires(task: &GraphTask, above: &str) -> Option<String> {
    let each = task.requires.0.iter().map(|required| {
        let name = if required.task == above { "it" } else { &required.task };
        let unmet = if required.unmet.is_some() {
            " [does not hold]"
        } else {
            ""
        };
        format!("{name}{}{unmet}", within(required))
    });
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| format!("requires {}", each.join(", ")))
}

#[cfg(test)]
mod tests {
    use taskd_wire::codec::{Rec, Tail};

    use super::*;

    fn task(name: &str, upstreams: &[(&str, &str)], state: Option<&str>) -> Rec<GraphTask> {
        let upstream = |(task, on): &(&str, &str)| {
            Rec(UpstreamInfo {
                task: (*task).to_owned(),
                on: (*on).to_owned(),
                ended: None,
            })
        };
        Rec(GraphTask {
            task: name.to_owned(),
            upstreams: upstreams.iter().map(upstream).collect(),
            any: name == "alarm",
            enabled: name != "off",
            run: state.map(|_| format!("{name}/3")),
            state: state.map(str::to_owned),
            requires: Tail::default(),
        })
    }

    fn requiring(mut task: Rec<GraphTask>, requires: &[(&str, Option<u64>, bool)]) -> Rec<GraphTask> {
        let required = |(of, within_ms, holds): &(&str, Option<u64>, bool)| {
            Rec(RequirementInfo {
                task: (*of).to_owned(),
                within_ms: *within_ms,
                unmet: (!holds).then(|| "it failed".to_owned()),
                ..RequirementInfo::default()
            })
        };
        task.0.requires = Tail(requires.iter().map(required).collect());
        task
    }

    fn graph() -> Graph {
        let ok = "succeeded";
        Graph {
            tasks: vec![
                task("extract", &[], Some(ok)),
                task("clean", &[("extract", ok)], Some("running")),
                task("check", &[("extract", ok)], Some("failed")),
                task("load", &[("clean", ok), ("check", ok)], None),
                task("alarm", &[("check", "failed"), ("load", "failed")], Some(ok)),
                task("off", &[("clean", "finished")], None),
            ],
            ..Graph::default()
        }
    }

    #[test]
    fn each_task_is_drawn_once_below_one_that_it_comes_after() {
        let lines = drawn(&graph(), false);
        assert_eq!(
            lines,
            [
                "extract  succeeded (extract/3)",
                "├─ check  failed (check/3)",
                "│  ├─ alarm (on failed, or after load)  succeeded (alarm/3)",
                "│  └─ load (and after clean)  never run",
                "│     └─ alarm (on failed, or after check), drawn above",
                "└─ clean  running (clean/3)",
                "   ├─ load (and after check), drawn above",
                "   └─ off (on finished)  never run, disabled",
            ]
        );
    }

    #[test]
    fn what_only_requires_another_hangs_on_a_dotted_line() {
        let ok = "succeeded";
        let day = Some(86_400_000);
        let graph = Graph {
            tasks: vec![
                task("backup", &[], Some("failed")),
                task("verify", &[("backup", ok)], Some(ok)),
                requiring(
                    task("prune", &[], None),
                    &[("backup", day, false), ("verify", None, true)],
                ),
                requiring(task("report", &[("verify", ok)], None), &[("backup", None, true)]),
            ],
            ..Graph::default()
        };
        assert_eq!(
            drawn(&graph, false),
            [
                "backup  failed (backup/3)",
                "├┈ prune (requires it within 1d [does not hold], verify)  never run",
                "├┈ report (after verify, requires it)  never run",
                "└─ verify  succeeded (verify/3)",
                "   ├┈ prune (requires backup within 1d [does not hold], it), drawn above",
                "   └─ report (requires backup), drawn above",
            ]
        );
        let dot = dot(&graph);
        let line = "  \"backup\" -> \"prune\" [label=\"requires within 1d\", style=dotted];";
        assert!(dot.contains(&line.to_owned()), "{dot:?}");
        assert!(dot.contains(&"  \"verify\" -> \"report\";".to_owned()), "{dot:?}");
    }

    #[test]
    fn what_one_run_did_not_trigger_is_said_so() {
        let mut of_run = graph();
        of_run.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
        let lines = drawn(&of_run, false);
        assert!(
            lines[3].ends_with("load (and after clean)  no run under this trace"),
            "{lines:?}"
        );
    }

    #[test]
    fn the_language_of_graphviz_has_a_line_for_each_task_and_each_dependency() {
        let lines = dot(&graph());
        assert_eq!(
            (lines[0].as_str(), lines[lines.len() - 1].as_str()),
            ("digraph tasks {", "}")
        );
        assert!(lines.contains(&"  \"extract\" [label=\"extract\\nsucceeded (extract/3)\"];".to_owned()));
        assert!(lines.contains(&"  \"off\" [label=\"off\\nnever run\", style=dashed];".to_owned()));
        assert!(lines.contains(&"  \"clean\" -> \"load\";".to_owned()));
        assert!(lines.contains(&"  \"check\" -> \"alarm\" [label=\"failed\", style=dashed];".to_owned()));
        assert_eq!(lines.len(), 3 + 6 + 7);
    }
}
