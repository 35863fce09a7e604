//! Watches runs until they have ended, across restarts of the daemon: runs do not end with it, so neither does this.
//!
//! A watch is a small state machine, and whoever drives it polls it beside files of its own: output goes on while the
//! daemon is away.
//!
//! | state | what it waits for | next |
//! |---|---|---|
//! | `Up` | what the daemon says | `Over` at the end of the watch, `Away` when the connection breaks |
//! | `Away` | a change in the socket's directory, or the time to look again | `Up` when a daemon answers, a failure when none did in time |
//! | `Over` | nothing | |

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use taskd_wire::client::{Request, Response, RunOutput};

use crate::client::{Client, Patience, is_lost};
use crate::clock;
use crate::error::{Exit, Failure, Result};
use crate::output::changes::Changes;
use crate::places::Places;
use crate::session::Session;

/// How long a daemon that went away is awaited.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one attempt to reach it may take: output waits meanwhile.
const ATTEMPT: Duration = Duration::from_secs(1);

/// A socket is there a moment before somebody listens at it, and that is told by nothing: between two attempts after
/// something changed in its directory.
const BETWEEN: Duration = Duration::from_millis(20);

/// How often an attempt is made after one change.
const ATTEMPTS: u32 = 50;

/// Some runs, and what is known of each.
pub struct Watch {
    places: Places,
    runs: BTreeMap<String, Option<RunOutput>>,
    state: State,
}

enum State {
    Up(Client),
    Away(Away),
    Over,
}

/// No daemon is there.
struct Away {
    /// In the directory of the socket.
    changes: Changes,
    until: Instant,
    /// When to try again, and how often, after the last change.
    again: Option<Instant>,
    attempts: u32,
}

impl Away {
    /// The daemon has just gone.
    fn begin(places: &Places, session: &mut Session) -> Result<Self> {
        session.out.flush()?;
        session.remark("the daemon went away; the run goes on, waiting for the daemon to come back");
        let mut changes = Changes::new()?;
        for socket in places.sockets() {
            changes.await_file(&socket);
        }
        let now = clock::monotonic();
        Ok(Away {
            changes,
            until: now + PATIENCE,
            again: Some(now),
            // It may be there all the same; if not, a change tells.
            attempts: ATTEMPTS - 1,
        })
    }
}

impl Watch {
    /// Begins to watch over this connection, which is used for nothing else from now on.
    pub fn begin(mut client: Client, runs: &[String], session: &mut Session) -> Result<Self> {
        let places = Places::new(Some(client.socket()), None, false);
        let state = match client.send(&Request::Watch { runs: runs.to_vec() }) {
            Ok(()) => State::Up(client),
            Err(failure) if is_lost(&failure) => State::Away(Away::begin(&places, session)?),
            Err(failure) => return Err(failure.into()),
        };
        Ok(Watch {
            places,
            runs: runs.iter().map(|run| (run.clone(), None)).collect(),
            state,
        })
    }

    /// To be polled for reading, if there is anything to wait for.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Up(client) => Some(client.fd()),
            State::Away(away) => Some(away.changes.fd()),
            State::Over => None,
        }
    }

    /// When [`take`](Self::take) is to be called even if nothing can be read.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Away(away) => Some(away.again.map_or(away.until, |again| again.min(away.until))),
            State::Up(_) | State::Over => None,
        }
    }

    /// Whether every run has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// What is known of a run, and where its output is.
    pub fn run(&self, name: &str) -> Option<&RunOutput> {
        self.runs.get(name)?.as_ref()
    }

    /// Takes what there is, after [`fd`](Self::fd) was found ready to be read or [`deadline`](Self::deadline) has come.
    pub fn take(&mut self, session: &mut Session) -> Result<()> {
        let taken = match &mut self.state {
            State::Up(client) => hear(client, &mut self.runs),
            State::Away(_) => return self.find_again(session),
            State::Over => return Ok(()),
        };
        match taken {
            Ok(over) => {
                if over {
                    self.state = State::Over;
                }
                Ok(())
            }
            Err(failure) if is_lost(&failure) => {
                self.state = State::Away(Away::begin(&self.places, session)?);
                Ok(())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn find_again(&mut self, session: &mut Session) -> Result<()> {
        let State::Away(away) = &mut self.state else {
            return Ok(());
        };
        let now = clock::monotonic();
        if away.changes.clear() {
            away.attempts = 0;
            // Its directory may be new, too.
            for socket in self.places.sockets() {
                away.changes.await_file(&socket);
            }
        } else if away.again.is_none_or(|again| now < again) && now < away.until {
            return Ok(());
        }
        // By the names they have now.
        let names = self.runs.iter().map(|(asked, known)| match known {
            Some(known) => known.info.run.clone(),
            None => asked.clone(),
        });
        let runs: Vec<String> = names.collect();
        match reach(&self.places, runs) {
            Ok(client) => {
                session.remark("the daemon is back");
                self.state = State::Up(client);
                Ok(())
            }
            Err(failure) if is_lost(&failure) && now < away.until => {
                away.attempts += 1;
                // Where the system gives no watch, only looking tells.
                let more = away.attempts < ATTEMPTS || away.changes.is_short();
                away.again = more.then(|| clock::monotonic() + BETWEEN);
                Ok(())
            }
            Err(failure) if is_lost(&failure) => Err(gone().into()),
            Err(failure) => Err(failure.into()),
        }
    }
}

fn reach(places: &Places, runs: Vec<String>) -> Result<Client, Failure> {
    let mut client = Client::connect_with(places, Patience::Until(clock::monotonic() + ATTEMPT))?;
    client.send(&Request::Watch { runs })?;
    client.set_patience(Patience::default())?;
    Ok(client)
}

/// Takes in what the daemon has said; whether it has said all.
fn hear(client: &mut Client, runs: &mut BTreeMap<String, Option<RunOutput>>) -> Result<bool, Failure> {
    let open = client.fill()?;
    // What was said before the end of the connection may end the watch.
    while let Some(response) = client.received()? {
        match response {
            Response::Update(output) => match place_of(&output, runs) {
                Some(known) => *known = Some(output.0),
                None => return Err(client.unexpected()),
            },
            Response::WatchEnd if runs.values().flatten().filter(|run| has_ended(run)).count() == runs.len() => {
                return Ok(true);
            }
            _ => return Err(client.unexpected()),
        }
    }
    if open { Ok(false) } else { Err(gone()) }
}

/// The place of a run. Its task may have another name by now; its trace is the same.
fn place_of<'a>(
    output: &RunOutput,
    runs: &'a mut BTreeMap<String, Option<RunOutput>>,
) -> Option<&'a mut Option<RunOutput>> {
    let is_it = |known: &Option<RunOutput>| {
        let known = known.as_ref().map(|known| &known.info.trace_id);
        known == Some(&output.info.trace_id)
    };
    let asked = if runs.contains_key(&output.info.run) {
        output.info.run.clone()
    } else {
        runs.iter().find(|(_, known)| is_it(known))?.0.clone()
    };
    runs.get_mut(&asked)
}

/// Whether a run is over.
pub fn has_ended(run: &RunOutput) -> bool {
    run.info.outcome.is_some()
}

fn gone() -> Failure {
    Failure::new(
        Exit::NoDaemon,
        "connection-lost",
        "the daemon went away and did not come back",
    )
    .hint("the run may go on all the same; `taskctl runs` tells when the daemon is back")
}

/// Waits until one of these can be read, or the time is up; which of them can.
pub fn wait_for(fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> Result<Vec<bool>, Failure> {
    let deadline = limit.map(|limit| clock::monotonic() + limit);
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    loop {
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(clock::monotonic());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut polled, left.as_ref()) {
            Ok(_) => return Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Failure::system("wait", &errno.into())),
        }
    }
}
