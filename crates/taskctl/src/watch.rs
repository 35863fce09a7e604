//! Watches runs until they have ended, across restarts of the daemon: runs do not end with it, so neither does this.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use taskd_wire::client::{Request, Response, RunInfo};

use crate::client::{Client, Patience, is_lost};
use crate::clock;
use crate::error::{Error, Failure, Result};
use crate::places::Places;
use crate::session::Session;

/// How long a daemon that went away is awaited.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two attempts to reach it.
const BETWEEN: Duration = Duration::from_millis(100);

/// How often a daemon is asked again what became of a run that it said is over.
const AGAIN: u32 = 500;

/// Between two such questions.
const BETWEEN_ANSWERS: Duration = Duration::from_millis(5);

/// Some runs, and what is known of each.
pub struct Watch {
    places: Places,
    client: Client,
    runs: BTreeMap<String, Option<RunInfo>>,
    ended: bool,
    asked_again: u32,
}

impl Watch {
    /// Begins to watch over this connection, which is used for nothing else from now on.
    pub fn begin(mut client: Client, runs: &[String]) -> Result<Self> {
        client.send(&Request::Watch { runs: runs.to_vec() })?;
        let places = Places::new(Some(client.socket()), None, false);
        let runs = runs.iter().map(|run| (run.clone(), None)).collect();
        Ok(Watch {
            places,
            client,
            runs,
            ended: false,
            asked_again: 0,
        })
    }

    /// To be polled for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.client.fd()
    }

    /// Whether every run has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What is known of a run.
    pub fn run(&self, name: &str) -> Option<&RunInfo> {
        self.runs.get(name)?.as_ref()
    }

    /// Takes what the daemon has said, after it was found ready to be read.
    pub fn take(&mut self, session: &mut Session) -> Result<()> {
        match self.take_once() {
            Err(failure) if is_lost(&failure) => self.find_again(session, failure),
            other => other.map_err(Error::from),
        }
    }

    fn take_once(&mut self) -> Result<(), Failure> {
        if !self.client.fill()? {
            // What was said before the end may end the watch.
            self.sort()?;
            return if self.ended { Ok(()) } else { Err(gone()) };
        }
        self.sort()
    }

    fn sort(&mut self) -> Result<(), Failure> {
        while let Some(response) = self.client.received()? {
            match response {
                Response::Update(info) => {
                    let info = info.0;
                    self.runs.insert(info.run.clone(), Some(info));
                }
                Response::WatchEnd => self.end()?,
                _ => return Err(self.client.unexpected()),
            }
        }
        Ok(())
    }

    /// The daemon has no more to tell. Of a run that was ending just then it may not have known how: it is asked again.
    fn end(&mut self) -> Result<(), Failure> {
        let open = self
            .runs
            .values()
            .any(|run| run.as_ref().is_none_or(|run| run.outcome.is_none()));
        if !open || self.asked_again == AGAIN {
            self.ended = true;
            return Ok(());
        }
        self.asked_again += 1;
        wait_for(&[], Some(BETWEEN_ANSWERS))?;
        self.client.send(&Request::Watch {
            runs: self.runs.keys().cloned().collect(),
        })
    }

    fn find_again(&mut self, session: &mut Session, lost: Failure) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        session.out.flush()?;
        session.remark("the daemon went away; the run goes on, waiting for the daemon to come back");
        let deadline = clock::monotonic() + PATIENCE;
        loop {
            match Client::connect_with(&self.places, Patience::Until(deadline)) {
                Ok(mut client) => {
                    let runs: Vec<String> = self.runs.keys().cloned().collect();
                    match client.send(&Request::Watch { runs }) {
                        Ok(()) => {
                            client.set_patience(Patience::default())?;
                            session.remark("the daemon is back");
                            self.client = client;
                            return Ok(());
                        }
                        Err(failure) if is_lost(&failure) => {}
                        Err(failure) => return Err(failure.into()),
                    }
                }
                Err(failure) if is_lost(&failure) => {}
                Err(failure) => return Err(failure.into()),
            }
            if clock::monotonic() >= deadline {
                return Err(lost.into());
            }
            std::thread::sleep(BETWEEN);
        }
    }
}

fn gone() -> Failure {
    Failure::new(
        crate::error::Exit::NoDaemon,
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
