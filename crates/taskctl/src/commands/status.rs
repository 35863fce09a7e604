//! `taskctl status`

use taskd_wire::basic::{Answer, Ask};
use taskd_wire::client::{Request, Response, Status};

use crate::client::Client;
use crate::error::{Exit, Failure, Result};
use crate::json;
use crate::places::SYSTEM_SOCKET;
use crate::render::one_line;
use crate::render::table::Tone;
use crate::render::{bytes, counted, task};
use crate::session::Session;

/// Says how the daemon is; in brief, if it speaks no protocol of ours.
pub fn run(session: &mut Session) -> Result<u8> {
    let mut client = session.connect()?;
    if let Err(mismatch) = client.protocol() {
        brief(&mut client, session)?;
        session.out.flush()?;
        return Err(mismatch.into());
    }
    let Response::Status(status) = client.request(&Request::Status)? else {
        return Err(client.unexpected().into());
    };
    let status = status.0;
    let socket = client.socket().display().to_string();
    if session.json {
        session.out.json(&json::Daemon::of(&status, &socket))?;
    } else {
        print(&status, &socket, session)?;
    }
    Ok(0)
}

fn print(status: &Status, socket: &str, session: &mut Session) -> Result<()> {
    let times = session.times();
    let whose = match session.places.named() {
        Some(_) => "",
        None if socket == SYSTEM_SOCKET => " (the system's daemon)",
        None => " (your own daemon)",
    };
    let mut row = |head: &str, text: String, tone: Tone| {
        let text = tone.paint(&one_line(&text), session.out.colour);
        session.out.line(&format!("{head:<8} {text}"))
    };
    let since = format!(
        "taskd {}, pid {}, started {}",
        status.version,
        status.pid,
        times.relative(status.started_ms)
    );
    row("daemon", since, Tone::Strong)?;
    row("socket", format!("{socket}{whose}"), Tone::Plain)?;
    let mut tasks = format!("{}, {} running", status.tasks, status.running);
    if status.waiting > 0 {
        tasks.push_str(&format!(", {} waiting for a place", status.waiting));
    }
    row("tasks", tasks, Tone::Plain)?;
    match status.next_ms {
        Some(at) => row(
            "next",
            format!("{}, {}", times.full(at), times.relative(at)),
            Tone::Plain,
        )?,
        None => row("next", "nothing is due".to_owned(), Tone::Dim)?,
    }
    let beside: Vec<_> = status.runners.0.iter().filter(|runner| runner.draining).collect();
    let of_it = match status.runners.0.first() {
        Some(current) if !beside.is_empty() && !current.draining => format!(", {} running", current.running),
        _ => String::new(),
    };
    match (status.runner_pid, &status.runner_version) {
        (Some(pid), Some(version)) => {
            row("runner", format!("pid {pid}, version {version}{of_it}"), Tone::Plain)?;
        }
        (Some(pid), None) => row("runner", format!("pid {pid}"), Tone::Plain)?,
        (None, _) => row("runner", absence(status.runner_problem.0.as_deref()), Tone::Bad)?,
    }
    if status.runner_pid.is_some() {
        row("", containment(status.cgroups.as_deref()), Tone::Plain)?;
    }
    for runner in beside {
        let text = format!(
            "pid {}, version {}, {} running, draining: it ends with what it has",
            runner.pid, runner.version, runner.running
        );
        row("", text, Tone::Plain)?;
    }
    for runner in status.runners.0.iter().filter(|runner| runner.stopped.0) {
        let pid = runner.pid;
        let text = format!("{pid} is stopped: until `kill -CONT {pid}` nothing starts there, and no run ends");
        row("", text, Tone::Bad)?;
    }
    row(
        "store",
        format!("{} in {}", bytes(status.store_bytes), status.state_dir),
        Tone::Plain,
    )?;
    if let Some(error) = &status.store_error {
        row("", format!("takes no changes: {error}"), Tone::Bad)?;
    }
    row("log", status.log.clone(), Tone::Plain)?;
    if let Some(pause) = &status.paused {
        row("paused", task::pause(pause, &times), Tone::Dim)?;
    }
    if status.log_lost > 0 {
        row(
            "",
            format!("{} could not be written", counted(status.log_lost, "line")),
            Tone::Bad,
        )?;
    }
    Ok(())
}

/// That no runner is there, and why.
fn absence(problem: Option<&str>) -> String {
    match problem {
        Some(problem) => format!("not there, so nothing can be started: {problem}"),
        None => "not attached yet: nothing is started until it is".to_owned(),
    }
}

/// How the processes of an attempt are held together.
fn containment(controllers: Option<&[String]>) -> String {
    match controllers {
        None => "attempts are held by process groups: it may make no control groups".to_owned(),
        Some([]) => "each attempt in a control group of its own, without controllers: no caps".to_owned(),
        Some(controllers) => format!(
            "each attempt in a control group of its own, with {}",
            controllers.join(", ")
        ),
    }
}

fn brief(client: &mut Client, session: &mut Session) -> Result<()> {
    let Answer::StatusBrief {
        pid,
        started_ms,
        tasks,
        running,
    } = client.basic(Ask::StatusBrief)?
    else {
        return Err(Failure::new(Exit::Versions, "versions", "the daemon does not say how it is").into());
    };
    let socket = client.socket().display().to_string();
    if session.json {
        let shape = json::Daemon::brief(client.version(), &socket, pid, started_ms, tasks, running);
        return session.out.json(&shape);
    }
    let since = session.times().relative(started_ms);
    session.out.said(&format!(
        "daemon   taskd {}, pid {pid}, started {since}",
        client.version()
    ))?;
    session.out.said(&format!("socket   {socket}"))?;
    session.out.line(&format!("tasks    {tasks}, {running} running"))
}
