//! `taskctl show`

use taskd_core::pattern::is_pattern;
use taskd_wire::client::{Request, Response, TaskDetail};

use super::{is_one, list};
use crate::args::ShowArgs;
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::json;
use crate::out::JsonArray;
use crate::render::table::Tone;
use crate::render::{counted, gates, one_line, process, task};
use crate::session::Session;

/// Shows all of some tasks.
pub fn run(args: &ShowArgs, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    if is_one(&args.names) {
        let detail = ask(&mut client, &args.names[0])?;
        return if session.json {
            session.out.json(&json::Detail::of(&detail))
        } else {
            print(&detail, session)
        };
    }
    let names = expand(&mut client, &args.names)?;
    if session.json {
        // All are there before the first is printed, so that what is printed is whole.
        let details: Vec<TaskDetail> = names
            .iter()
            .map(|name| ask(&mut client, name))
            .collect::<Result<_, _>>()?;
        let mut array = JsonArray::default();
        for detail in &details {
            array.element(&mut session.out, &json::Detail::of(detail))?;
        }
        return array.close(&mut session.out);
    }
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            session.out.line("")?;
        }
        print(&ask(&mut client, name)?, session)?;
    }
    Ok(())
}

/// Names in the order given, with those a pattern stands for in its place; each once.
fn expand(client: &mut Client, names: &[String]) -> Result<Vec<String>> {
    let mut expanded: Vec<String> = Vec::new();
    for name in names {
        if is_pattern(name) {
            list::each(client, std::slice::from_ref(name), |task| {
                expanded.push(task.spec.0.name);
                Ok(())
            })?;
        } else {
            expanded.push(name.clone());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    expanded.retain(|name| seen.insert(name.clone()));
    Ok(expanded)
}

fn ask(client: &mut Client, name: &str) -> Result<TaskDetail, Failure> {
    match client.request(&Request::Show { name: name.to_owned() })? {
        Response::Task(detail) => Ok(detail.0),
        _ => Err(client.unexpected()),
    }
}

fn print(detail: &TaskDetail, session: &mut Session) -> Result<()> {
    let times = session.times();
    let summary = &detail.summary;
    let spec = &summary.spec;
    let tz = summary.tz.as_deref();
    let mut schedule = task::schedules(spec);
    if let Some(tz) = tz {
        schedule = format!("{schedule}  ({tz})");
    }
    let (state, tone) = task::state(summary);
    let running: Vec<String> = summary.running.iter().map(|n| format!("{}/{n}", spec.name)).collect();
    let state = match (state, running.as_slice()) {
        (_, [_, ..]) => format!("running: {}", running.join(", ")),
        ("", _) => "enabled".to_owned(),
        (state, _) => state.to_owned(),
    };
    let mut rows: Vec<(&str, String, Tone)> =
        vec![("task", format!("{}  (id {})", spec.name, summary.id), Tone::Strong)];
    let mut row = |head, text: String, tone| rows.push((head, text, tone));
    if let Some(description) = &spec.description {
        row("description", description.clone(), Tone::Plain);
    }
    if !spec.labels.is_empty() {
        row("labels", spec.labels.join(", "), Tone::Plain);
    }
    row("state", state, tone);
    if let Some(held) = &summary.held {
        row("held", held.clone(), Tone::Bad);
    }
    if let Some(pause) = &summary.paused {
        row("paused", task::pause(pause, &times), Tone::Dim);
    }
    row("schedule", schedule, Tone::Plain);
    for (head, text) in task::terms(spec) {
        row(head, text, Tone::Plain);
    }
    if let Some(text) = task::kept_ends(&detail.upstreams) {
        row("has ended", text, Tone::Plain);
    }
    for required in detail.requires.0.iter() {
        row(
            "requires",
            task::required(required, &times),
            task::required_tone(required),
        );
    }
    if !detail.required_by.0.is_empty() {
        row("required by", detail.required_by.0.join(", "), Tone::Plain);
    }
    if !detail.downstream.is_empty() {
        row("then", detail.downstream.join(", "), Tone::Plain);
    }
    if let Some(rule) = task::dst(spec) {
        row("clocks", rule, Tone::Plain);
    }
    if let Some(missed) = task::misfire(spec) {
        row("if missed", missed, Tone::Plain);
    }
    if let Some(limits) = task::limits(spec) {
        row("limits", limits, Tone::Plain);
    }
    if let Some(concurrency) = task::concurrency(spec) {
        row("concurrency", concurrency, Tone::Plain);
    }
    if let Some(group) = &spec.group {
        row("group", group.clone(), Tone::Plain);
    }
    if spec.priority != 0 {
        row("priority", spec.priority.to_string(), Tone::Plain);
    }
    if !spec.locks.is_empty() {
        row("locks", spec.locks.join(", "), Tone::Plain);
    }
    if let Some(retries) = task::retries(spec) {
        row("retries", retries, Tone::Plain);
    }
    if let Some(process) = process::given(&spec.process) {
        row("process", process, Tone::Plain);
    }
    if let Some(kept) = task::kept(spec) {
        row("kept", kept, Tone::Plain);
    }
    for (i, pattern) in spec.mask.iter().enumerate() {
        row(if i == 0 { "masks" } else { "" }, pattern.clone(), Tone::Plain);
    }
    if let Some(gates) = gates::gates(&spec.gates) {
        row("gates", gates, Tone::Plain);
    }
    row("command", task::action(&spec.action), Tone::Plain);
    if let Some(cwd) = &spec.cwd {
        row("directory", cwd.clone(), Tone::Plain);
    }
    if let Some(stdin) = &spec.process.stdin {
        row("stdin", stdin.clone(), Tone::Plain);
    }
    for (i, file) in spec.process.env_files.iter().enumerate() {
        row(if i == 0 { "env files" } else { "" }, file.clone(), Tone::Plain);
    }
    for (i, var) in spec.env.iter().enumerate() {
        row(
            if i == 0 { "environment" } else { "" },
            format!("{}={}", var.name, var.value),
            Tone::Plain,
        );
    }
    for (i, &at) in detail.next_ms.iter().enumerate() {
        let text = format!("{}{}, {}", times.full(at), times.beside(at, tz), times.relative(at));
        row(if i == 0 { "next" } else { "" }, text, Tone::Plain);
    }
    if let Some(last) = &summary.last {
        let text = format!("{} {}, {}", last.run, last.outcome, times.relative(last.finished_ms));
        row("last", text, Tone::of(&last.outcome));
    }
    row("runs", detail.runs.to_string(), Tone::Plain);
    for (i, passed) in detail.passed.iter().enumerate() {
        let span = if passed.count == 1 {
            times.full(passed.first_ms)
        } else {
            format!("{} to {}", times.full(passed.first_ms), times.full(passed.last_ms))
        };
        let text = format!(
            "{} {}, {span}: {}",
            counted(passed.count, "fire time"),
            passed.outcome,
            passed.reason
        );
        row(if i == 0 { "passed over" } else { "" }, text, Tone::Plain);
    }
    row(
        "added",
        format!(
            "{}, {}",
            times.full(detail.created_ms),
            times.relative(detail.created_ms)
        ),
        Tone::Plain,
    );
    if detail.changed_ms != detail.created_ms {
        row(
            "changed",
            format!(
                "{}, {}",
                times.full(detail.changed_ms),
                times.relative(detail.changed_ms)
            ),
            Tone::Plain,
        );
    }
    for warning in &detail.warnings {
        row("note", warning.clone(), Tone::Plain);
    }
    for (head, text, tone) in rows {
        let text = tone.paint(&one_line(&text), session.out.colour);
        session.out.line(&format!("{head:<12} {text}"))?;
    }
    Ok(())
}
