//! `taskctl logs`

use std::path::PathBuf;

use taskd_wire::client::{Request, Response, RunFilter, RunOutput};
use taskd_wire::codec::Rec;

use super::follow::{self, LOOK_AGAIN, Show};
use super::{runs, when};
use crate::args::LogsArgs;
use crate::client::{Client, is_lost};
use crate::error::{Exit, Failure, Result, one_only};
use crate::output::changes::Changes;
use crate::output::daemon_log::{DaemonLog, instant, words};
use crate::output::follow::Followed;
use crate::output::printer::{Printer, Style};
use crate::output::{pressed, raw};
use crate::render::bytes;
use crate::session::Session;
use crate::watch::wait_for;

/// Prints what a run wrote, or the daemon.
pub fn run(args: &LogsArgs, session: &mut Session) -> Result<()> {
    if let Some(target) = &args.target {
        one_only(target)?;
    }
    let since_ms = args
        .since
        .as_deref()
        .map(|text| when::past("since", text, session))
        .transpose()?;
    if args.daemon {
        return daemon(args, since_ms, session);
    }
    let mut client = session.connect()?;
    let outputs = outputs(args, since_ms, &mut client)?;
    if args.path {
        return paths_of(outputs, session);
    }
    if args.timestamps {
        outputs.iter().try_for_each(has_times)?;
    }
    outputs
        .iter()
        .filter_map(absent)
        .for_each(|remark| session.remark(&remark));
    let style = Style {
        json: session.json,
        timestamps: args.timestamps.then(|| session.zone().clone()),
        since: since_ms.map(|ms| taskd_core::Timestamp::from_millis(ms).to_jiff()),
        split: false,
    };
    let gone = outputs.iter().find_map(gone);
    let last = outputs.len().saturating_sub(1);
    let mut client = Some(client);
    for (i, output) in outputs.into_iter().enumerate() {
        if output.lost.0 > 0 {
            continue;
        }
        let mut printer = Printer::new(style.clone());
        if let Some(client) = client.take_if(|_| args.follow && i == last && output.info.outcome.is_none()) {
            let show = Show {
                printer,
                tail: args.tail,
                aside: false,
                may_lack: false,
            };
            follow::to_the_end(session, client, &[output.info.0.run], show, |_, _, _| Ok(()))?;
            return Ok(());
        }
        let files = output.files.into_iter().map(PathBuf::from).collect();
        let Session { out, err, .. } = session;
        Followed::new(files, args.tail).print(0, true, None, &mut printer, out, err)?;
        printer.end(out, err)?;
    }
    gone.map_or(Ok(()), |gone| Err(gone.into()))
}

/// The runs that are meant, oldest first.
fn outputs(args: &LogsArgs, since_ms: Option<i64>, client: &mut Client) -> Result<Vec<RunOutput>> {
    let target = match &args.target {
        Some(target) => target.clone(),
        None => newest(client)?,
    };
    let is_run = target.contains('/') || args.target.is_none();
    let Some(since_ms) = since_ms.filter(|_| !is_run) else {
        return Ok(vec![output(client, target)?]);
    };
    let mut names = Vec::new();
    let filter = RunFilter {
        targets: vec![target],
        ..RunFilter::default()
    };
    runs::each(client, &filter, usize::MAX, |run| {
        let over = run.finished_ms.is_some_and(|at| at < since_ms);
        if !over && run.started_ms.is_some() {
            names.push(run.run);
        }
        Ok(!over)
    })?;
    names.into_iter().rev().map(|name| Ok(output(client, name)?)).collect()
}

/// Refuses to tell the times of what a run writes itself.
fn has_times(output: &RunOutput) -> Result<(), Failure> {
    if !output
        .files
        .iter()
        .any(|file| raw::is_raw(&pressed::plain(PathBuf::from(file))))
    {
        return Ok(());
    }
    let run = &output.info.run;
    let message = format!("{run} wrote its output as a file, which has no times (--output file)");
    Err(Failure::usage(message).hint("leave --timestamps out, or give the task --output lines"))
}

/// The newest run of all that started.
fn newest(client: &mut Client) -> Result<String> {
    let mut found = None;
    runs::each(client, &RunFilter::default(), 500, |run| {
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
fn output(client: &mut Client, target: String) -> Result<RunOutput, Failure> {
    match client.request(&Request::Output { target })? {
        Response::Output(Rec(output)) => Ok(output),
        _ => Err(client.unexpected()),
    }
}

/// Why there is no output of a run that has written some.
fn absent(output: &RunOutput) -> Option<String> {
    let run = &output.info.run;
    if output.discards.0 {
        Some(format!("nothing is kept of {run}: its task discards its output"))
    } else if output.removed.0 {
        Some(format!("the output of {run} was removed to keep within the limits"))
    } else if output.lost.0 > 0 {
        let lost = bytes(output.lost.0);
        Some(format!(
            "{run} wrote {lost}, of which nothing could be kept on the disk"
        ))
    } else {
        None
    }
}

/// That the output of a run which has written some is not where it was put, and nothing of ours has removed it.
fn gone(output: &RunOutput) -> Option<Failure> {
    let info = &output.info.0;
    let last = info.output_bytes.iter();
    let mut attempts = last.chain(info.earlier.iter().flat_map(|attempt| &attempt.output_bytes));
    let has_written = info.outcome.is_some() && attempts.any(|bytes| *bytes > 0);
    let is_expected = has_written && absent(output).is_none();
    if !is_expected || output.files.iter().any(|file| is_there(file)) {
        return None;
    }
    let message = format!("the output of {} is gone: {}", info.run, output.files.join(", "));
    Some(Failure::new(Exit::Failed, "output-gone", message).hint("somebody has removed it; taskd has not"))
}

/// Whether there is a file of output, in whatever shape.
fn is_there(file: &str) -> bool {
    let lines = pressed::plain(PathBuf::from(file));
    let raw = raw::beside(&lines);
    let packed = [&lines, &raw].map(|path| pressed::packed(path));
    // One that may not be looked for is there for all we know.
    [lines, raw]
        .iter()
        .chain(&packed)
        .any(|path| path.try_exists().unwrap_or(true))
}

/// The files of runs, those too that are not there.
fn paths_of(outputs: Vec<RunOutput>, session: &mut Session) -> Result<()> {
    for output in &outputs {
        if let Some(remark) = absent(output) {
            session.remark(&remark);
        } else if let Some(gone) = gone(output) {
            session.remark(&gone.message);
        } else if !output.files.iter().any(|file| PathBuf::from(file).exists()) {
            let so_far = if output.info.outcome.is_none() { " so far" } else { "" };
            session.remark(&format!(
                "{} has written nothing{so_far}: the file is not there",
                output.info.run
            ));
        }
    }
    paths(outputs.into_iter().flat_map(|output| output.files).collect(), session)
}

fn paths(paths: Vec<String>, session: &mut Session) -> Result<()> {
    if session.json {
        return session.out.json(&paths);
    }
    for path in paths {
        session.out.exact(&path)?;
    }
    Ok(())
}

/// The daemon's own log, which can be read when the daemon cannot be asked where it is.
fn daemon(args: &LogsArgs, since_ms: Option<i64>, session: &mut Session) -> Result<()> {
    let path = daemon_log_path(session)?;
    if args.path {
        return paths(vec![path.display().to_string()], session);
    }
    let since = since_ms.map(|ms| taskd_core::Timestamp::from_millis(ms).to_jiff());
    let unreadable = |error: std::io::Error| Failure::file("read", &path, &error);
    let mut log = DaemonLog::open(&path, since, args.tail).map_err(unreadable)?;
    let (json, colour, zone) = (session.json, session.out.colour, session.zone().clone());
    let mut changes = Changes::new()?;
    loop {
        changes.clear();
        let mut shown: Result<()> = Ok(());
        log.read(|line| {
            let old = since.is_some_and(|since| instant(line).is_some_and(|at| at < since));
            if !old && shown.is_ok() {
                shown = if json {
                    session.out.bytes(line).and_then(|()| session.out.bytes(b"\n"))
                } else {
                    session.out.line(&words(line, &zone, colour))
                };
            }
        })
        .map_err(unreadable)?;
        shown?;
        session.out.flush()?;
        if !args.follow {
            return Ok(());
        }
        changes.watch_file(&path);
        changes.await_file(&path);
        if log.is_settled() {
            let limit = changes.is_short().then_some(LOOK_AGAIN);
            wait_for(&[changes.fd()], limit)?;
        }
    }
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
