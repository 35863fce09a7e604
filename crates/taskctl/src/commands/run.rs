//! `taskctl run`

use taskd_wire::client::{Request, Response, RunInfo, RunRef};
use taskd_wire::codec::Rec;

use super::{is_one, logs};
use crate::args::RunArgs;
use crate::error::{Failure, Result};
use crate::json;
use crate::output::follow::{Changes, Followed};
use crate::output::printer::{Printer, Style};
use crate::render::table::Tone;
use crate::render::task;
use crate::session::Session;
use crate::watch::{Watch, wait_for};

/// Added to the number of a signal to make an exit code, as shells do.
const SIGNAL_BASE: i32 = 128;

/// Exit code for what cannot be started, as shells have it.
const NOT_STARTED: u8 = 127;

/// Runs tasks now, and with `--wait` becomes what they become.
pub fn run(args: &RunArgs, session: &mut Session) -> Result<u8> {
    let mut client = session.connect()?;
    let Response::RunsStarted(started) = client.request(&Request::Run {
        names: args.names.clone(),
    })?
    else {
        return Err(client.unexpected().into());
    };
    let runs: Vec<RunRef> = started.into_iter().map(|Rec(run)| run).collect();
    let one = is_one(&args.names);
    if !args.wait {
        say_started(session, one, &runs)?;
        return Ok(0);
    }
    let names: Vec<String> = runs.into_iter().map(|run| run.run).collect();
    let watch = Watch::begin(client, &names)?;
    let ended = follow(session, watch, &names)?;
    if session.json {
        let shapes: Vec<json::Run<'_>> = ended.iter().map(json::Run::of).collect();
        match shapes.as_slice() {
            [shape] if one => session.out.json(shape)?,
            shapes => session.out.json(&shapes)?,
        }
    }
    Ok(ended.iter().map(exit_code).find(|&code| code != 0).unwrap_or(0))
}

fn say_started(session: &mut Session, one: bool, runs: &[RunRef]) -> Result<()> {
    if session.json {
        let shapes: Vec<json::Started<'_>> = runs.iter().map(json::Started::of).collect();
        return match shapes.as_slice() {
            [shape] if one => session.out.json(shape),
            shapes => session.out.json(&shapes),
        };
    }
    for run in runs {
        session.out.line(&format!("started {}", run.run))?;
    }
    Ok(())
}

/// Prints the output of runs until all have ended, and gives what became of them, in their order.
fn follow(session: &mut Session, mut watch: Watch, names: &[String]) -> Result<Vec<RunInfo>> {
    let mut changes = Changes::new()?;
    let mut followed: Vec<Followed> = names.iter().map(|_| Followed::new(Vec::new(), None)).collect();
    let style = Style {
        split: !session.json,
        ..Style::default()
    };
    let mut printer = match names {
        [_] => Printer::new(style),
        names => Printer::prefixed(style, prefixes(names, session.out.colour)),
    };
    let mut told = vec![false; names.len()];
    loop {
        for (i, name) in names.iter().enumerate() {
            let Some(info) = watch.run(name).cloned() else { continue };
            let ended = info.outcome.is_some();
            if told[i] {
                continue;
            }
            if (info.attempts as usize) > followed[i].files.len() {
                followed[i].files = logs::output(session, name)?.files.into_iter().map(Into::into).collect();
            }
            print(session, &mut followed[i], i, ended, &mut changes, &mut printer)?;
            if ended {
                told[i] = true;
                say_ended(session, &info, names.len() > 1)?;
            }
        }
        session.out.flush()?;
        session.err.flush()?;
        if watch.has_ended() {
            break;
        }
        let limit = changes.is_short().then_some(logs::LOOK_AGAIN);
        let ready = wait_for(&[changes.fd(), watch.fd()], limit)?;
        changes.clear();
        if ready[1] {
            watch.take(session)?;
        }
    }
    printer.end(&mut session.out)?;
    names
        .iter()
        .map(|name| watch.run(name).cloned().ok_or_else(|| unknown(name).into()))
        .collect()
}

fn print(
    session: &mut Session,
    followed: &mut Followed,
    i: usize,
    ended: bool,
    changes: &mut Changes,
    printer: &mut Printer,
) -> Result<()> {
    // With --json, stdout is for the object that says how it ended.
    let Session { out, err, json, .. } = session;
    if *json {
        let mut nowhere = crate::out::Out::nowhere();
        followed.print(i, ended, Some(changes), printer, err, &mut nowhere)
    } else {
        followed.print(i, ended, Some(changes), printer, out, err)
    }
}

fn prefixes(names: &[String], colour: bool) -> Vec<String> {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    names
        .iter()
        .map(|name| Tone::Dim.paint(&format!("{name:<width$} | "), colour))
        .collect()
}

/// On stderr, what an exit code alone would not tell.
fn say_ended(session: &mut Session, info: &RunInfo, always: bool) -> Result<()> {
    if session.json || (!always && info.outcome.as_deref() == Some("succeeded")) {
        return Ok(());
    }
    session.out.flush()?;
    let (fate, _) = task::fate(info);
    match task::reason(info) {
        Some(reason) => session.remark(&format!("{} {fate}: {reason}", info.run)),
        _ => session.remark(&format!("{} {fate}", info.run)),
    }
    Ok(())
}

fn exit_code(run: &RunInfo) -> u8 {
    let code = match (run.exit_code, run.signal, run.outcome.as_deref()) {
        (Some(code), _, _) => code,
        (None, Some(signal), _) => SIGNAL_BASE + signal,
        (None, None, Some("succeeded")) => 0,
        (None, None, Some("spawn-failed")) => NOT_STARTED.into(),
        (None, None, _) => 1,
    };
    // What does not fit is a failure all the same.
    u8::try_from(code).unwrap_or(1)
}

fn unknown(name: &str) -> Failure {
    Failure::new(
        crate::error::Exit::Failed,
        "protocol",
        format!("the daemon did not say what became of {name}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_commands_own() {
        let run = |outcome: &str, exit_code, signal| RunInfo {
            outcome: Some(outcome.into()),
            exit_code,
            signal,
            ..RunInfo::default()
        };
        assert_eq!(exit_code(&run("succeeded", Some(0), None)), 0);
        assert_eq!(exit_code(&run("failed", Some(3), None)), 3);
        assert_eq!(exit_code(&run("cancelled", None, Some(15))), 143);
        assert_eq!(exit_code(&run("spawn-failed", None, None)), 127);
        assert_eq!(exit_code(&run("unknown", None, None)), 1);
    }
}
