//! Follows runs to their end: what they write, and what the daemon says of them.

use std::time::Duration;

use taskd_wire::client::RunInfo;

use crate::client::Client;
use crate::clock;
use crate::error::{Exit, Failure, Result};
use crate::out::Out;
use crate::output::changes::Changes;
use crate::output::follow::{Followed, Halt};
use crate::output::printer::Printer;
use crate::session::Session;
use crate::watch::{Watch, has_ended, wait_for};

/// Where the system gives no more watches on files: between two looks.
pub const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How output is shown.
pub struct Show {
    /// Prints it.
    pub printer: Printer,
    /// Only so many lines of what is there at first.
    pub tail: Option<usize>,
    /// All of it goes to stderr, for stdout is taken.
    pub aside: bool,
    /// Where it cannot be read, that is said, and the end is waited for all the same.
    pub may_lack: bool,
}

/// A run that is followed.
struct Run {
    name: String,
    /// Nothing once its output cannot be read.
    followed: Option<Followed>,
    info: Option<RunInfo>,
}

/// Prints the output of runs until all have ended, tells of each that does, and gives what became of them, in their
/// order.
pub fn to_the_end(
    session: &mut Session,
    client: Client,
    names: &[String],
    mut show: Show,
    mut tell: impl FnMut(&mut Session, &RunInfo, &Printer) -> Result<()>,
) -> Result<Vec<RunInfo>> {
    let mut changes = Changes::new()?;
    let mut watch = Watch::begin(client, names, session)?;
    let mut runs: Vec<Run> = names
        .iter()
        .map(|name| Run {
            name: name.clone(),
            followed: Some(Followed::new(Vec::new(), show.tail)),
            info: None,
        })
        .collect();
    let mut open: Vec<usize> = (0..runs.len()).collect();
    loop {
        let mut still_open = Vec::with_capacity(open.len());
        for i in open {
            let run = &mut runs[i];
            let Some(output) = watch.run(&run.name) else {
                still_open.push(i);
                continue;
            };
            let ended = has_ended(output);
            if let Some(followed) = &mut run.followed {
                if output.files.len() > followed.files() {
                    followed.know(output.files.iter().map(Into::into).collect());
                }
                match print(session, followed, i, ended, &mut changes, &mut show) {
                    Err(Halt::Reading(failure)) if show.may_lack => {
                        session.remark(&failure.message);
                        run.followed = None;
                    }
                    printed => printed?,
                }
            }
            if ended {
                tell(session, &output.info, &show.printer)?;
                run.info = Some(output.info.0.clone());
            } else {
                still_open.push(i);
            }
        }
        open = still_open;
        session.out.flush()?;
        session.err.flush()?;
        if open.is_empty() || watch.has_ended() {
            break;
        }
        wait(&mut watch, &changes, session)?;
    }
    show.printer.end(&mut session.out, &mut session.err)?;
    runs.into_iter()
        .map(|run| run.info.ok_or_else(|| unknown(&run.name).into()))
        .collect()
}

/// Waits for output, or for the daemon to say something, and takes in what it says.
fn wait(watch: &mut Watch, changes: &Changes, session: &mut Session) -> Result<()> {
    let until = watch.deadline();
    let left = until.map(|until| until.saturating_duration_since(clock::monotonic()));
    let look = changes.is_short().then_some(LOOK_AGAIN);
    let limit = left.into_iter().chain(look).min();
    let fds: Vec<_> = [Some(changes.fd()), watch.fd()].into_iter().flatten().collect();
    let ready = wait_for(&fds, limit)?;
    changes.clear();
    let is_time = until.is_some_and(|until| clock::monotonic() >= until);
    if is_time || ready.get(1) == Some(&true) {
        watch.take(session)?;
    }
    Ok(())
}

fn print(
    session: &mut Session,
    followed: &mut Followed,
    i: usize,
    ended: bool,
    changes: &mut Changes,
    show: &mut Show,
) -> Result<(), Halt> {
    let Session { out, err, .. } = session;
    let printer = &mut show.printer;
    if show.aside {
        followed.print(i, ended, Some(changes), printer, err, &mut Out::nowhere())
    } else {
        followed.print(i, ended, Some(changes), printer, out, err)
    }
}

fn unknown(name: &str) -> Failure {
    let message = format!("the daemon did not say what became of {name}");
    Failure::new(Exit::Failed, "protocol", message)
}

#[cfg(test)]
mod tests;
