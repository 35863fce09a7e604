//! `taskctl logs`

use std::path::{Path, PathBuf};
use std::time::Duration;

use taskd_wire::client::{Request, Response, RunFilter, RunOutput};
use taskd_wire::codec::Rec;

use super::{runs, when};
use crate::args::LogsArgs;
use crate::client::is_lost;
use crate::error::{Exit, Failure, Result, one_only};
use crate::output::daemon_log;
use crate::output::follow::{Changes, Followed};
use crate::output::lines::{Lines, Piece};
use crate::output::printer::{Printer, Style};
use crate::output::tail::offset_of_last;
use crate::session::Session;
use crate::watch::{Watch, wait_for};

/// Where the system gives no more watches on files: between two looks.
pub const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Prints what a run wrote, or the daemon.
pub fn run(args: &LogsArgs, session: &mut Session) -> Result<()> {
    if args.daemon {
        return daemon(args, session);
    }
    let since_ms = args
        .since
        .as_deref()
        .map(|text| when::past("since", text, session))
        .transpose()?;
    let outputs = outputs(args, since_ms, session)?;
    if args.path {
        return paths(outputs.into_iter().flat_map(|output| output.files).collect(), session);
    }
    let style = Style {
        json: session.json,
        timestamps: args.timestamps.then(|| session.zone().clone()),
        since: since_ms.map(|ms| taskd_core::Timestamp::from_millis(ms).to_jiff()),
        split: false,
    };
    let last = outputs.len().saturating_sub(1);
    for (i, output) in outputs.into_iter().enumerate() {
        let follow = args.follow && i == last && output.info.outcome.is_none();
        print(output, follow, args.tail, style.clone(), session)?;
    }
    Ok(())
}

/// The runs that are meant, oldest first.
fn outputs(args: &LogsArgs, since_ms: Option<i64>, session: &Session) -> Result<Vec<RunOutput>> {
    let target = match &args.target {
        Some(target) => target.clone(),
        None => newest(session)?,
    };
    let is_run = target.contains('/') || args.target.is_none();
    let Some(since_ms) = since_ms.filter(|_| !is_run) else {
        return Ok(vec![output(session, &target)?]);
    };
    let mut names = Vec::new();
    let filter = RunFilter {
        targets: vec![target],
        ..RunFilter::default()
    };
    runs::each(&mut session.connect()?, &filter, usize::MAX, |run| {
        let over = run.finished_ms.is_some_and(|at| at < since_ms);
        if !over && run.started_ms.is_some() {
            names.push(run.run);
        }
        Ok(!over)
    })?;
    names.iter().rev().map(|name| Ok(output(session, name)?)).collect()
}

/// The newest run of all that started.
fn newest(session: &Session) -> Result<String> {
    let mut found = None;
    runs::each(&mut session.connect()?, &RunFilter::default(), 500, |run| {
        if run.started_ms.is_some() {
            found = Some(run.run);
        }
        Ok(found.is_none())
    })?;
    let failure = || {
        Failure::new(Exit::NotFound, "unknown-run", "nothing has run yet").hint("`taskctl run TASK` runs a task now")
    };
    found.ok_or_else(|| failure().into())
}

/// Where the output of a run is.
pub fn output(session: &Session, target: &str) -> Result<RunOutput, Failure> {
    let mut client = session.connect()?;
    match client.request(&Request::Output {
        target: one_only(target)?.to_owned(),
    })? {
        Response::Output(Rec(output)) => Ok(output),
        _ => Err(client.unexpected()),
    }
}

fn paths(paths: Vec<String>, session: &mut Session) -> Result<()> {
    if session.json {
        return session.out.json(&paths);
    }
    for path in paths {
        session.out.line(&path)?;
    }
    Ok(())
}

fn print(output: RunOutput, follow: bool, tail: Option<usize>, style: Style, session: &mut Session) -> Result<()> {
    let run = output.info.run;
    let mut followed = Followed::new(output.files.into_iter().map(PathBuf::from).collect(), tail);
    let mut printer = Printer::new(style);
    if !follow {
        let Session { out, err, .. } = session;
        followed.print(0, true, None, &mut printer, out, err)?;
        return printer.end(&mut session.out);
    }
    let mut changes = Changes::new()?;
    let mut watch = Watch::begin(session.connect()?, std::slice::from_ref(&run))?;
    loop {
        let ended = watch.has_ended() || watch.run(&run).is_some_and(|info| info.outcome.is_some());
        let attempts = watch.run(&run).map_or(0, |info| info.attempts as usize);
        if attempts > followed.files.len() {
            followed.files = self::output(session, &run)?
                .files
                .into_iter()
                .map(PathBuf::from)
                .collect();
        }
        let Session { out, err, .. } = session;
        followed.print(0, ended, Some(&mut changes), &mut printer, out, err)?;
        session.out.flush()?;
        if ended {
            return printer.end(&mut session.out);
        }
        let limit = changes.is_short().then_some(LOOK_AGAIN);
        let ready = wait_for(&[changes.fd(), watch.fd()], limit)?;
        changes.clear();
        if ready[1] {
            watch.take(session)?;
        }
    }
}

/// The daemon's own log, which can be read when the daemon cannot be asked where it is.
fn daemon(args: &LogsArgs, session: &mut Session) -> Result<()> {
    let path = daemon_log_path(session)?;
    if args.path {
        return paths(vec![path.display().to_string()], session);
    }
    let since = args
        .since
        .as_deref()
        .map(|text| when::past("since", text, session))
        .transpose()?;
    let since = since.map(|ms| taskd_core::Timestamp::from_millis(ms).to_jiff());
    let mut lines = Lines::open(&path).map_err(|error| Failure::file("read", &path, &error))?;
    if let Some(count) = args.tail {
        let offset = offset_of_last(lines.file(), count).map_err(|error| Failure::file("read", &path, &error))?;
        lines.start_at(offset);
    }
    let (json, colour, zone) = (session.json, session.out.colour, session.zone().clone());
    let mut changes = Changes::new()?;
    loop {
        changes.clear();
        let unreadable = |error: &std::io::Error| Failure::file("read", &path, error);
        let mut shown: Result<()> = Ok(());
        lines
            .read::<std::io::Error>(|piece| {
                let Piece::Line(line) = piece else { return Ok(()) };
                let old = since.is_some_and(|since| daemon_log::instant(line).is_some_and(|at| at < since));
                if !old && shown.is_ok() {
                    shown = if json {
                        session.out.bytes(line).and_then(|()| session.out.bytes(b"\n"))
                    } else {
                        session.out.line(&daemon_log::words(line, &zone, colour))
                    };
                }
                Ok(())
            })
            .map_err(|error| unreadable(&error))?;
        shown?;
        session.out.flush()?;
        if !args.follow {
            return Ok(());
        }
        if lines.is_replaced() {
            // It was rotated: what is there now is new.
            if let Ok(new) = Lines::open(&path) {
                lines = new;
                continue;
            }
        }
        changes.watch_file(&path);
        changes.await_file(&path);
        if !settled(&mut lines, &path) {
            continue;
        }
        let limit = changes.is_short().then_some(LOOK_AGAIN);
        wait_for(&[changes.fd()], limit)?;
    }
}

/// Whether nothing came between the last read and the setting of the watch.
fn settled(lines: &mut Lines, path: &Path) -> bool {
    let len = std::fs::metadata(path).map_or(0, |meta| meta.len());
    !lines.is_replaced() && lines.offset() == len
}

fn daemon_log_path(session: &Session) -> Result<PathBuf, Failure> {
    let asked = session
        .connect()
        .and_then(|mut client| match client.request(&Request::Status)? {
            Response::Status(status) => Ok(PathBuf::from(status.0.log)),
            _ => Err(client.unexpected()),
        });
    match asked {
        Err(failure) if is_lost(&failure) && session.places.named().is_none() => {
            let path = session.places.daemon_log();
            if path.exists() { Ok(path) } else { Err(failure) }
        }
        other => other,
    }
}
