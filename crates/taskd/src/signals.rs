//! The signals that the daemon heeds. They are held back from its first moment and read where it can heed them: none ends
//! the process, and one that comes while it becomes another program is heeded by that.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Those that are held back.
const HEEDED: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

/// Signals held back, to be read.
pub(crate) struct Held(OwnedFd);

impl Held {
    /// From now on, in this thread and those it starts. To be called before there are others.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn back() -> io::Result<Self> {
        taskd_runner::hold_signals(&HEEDED.map(Signal::as_raw)).map(Held)
    }

    /// Reads them, in the runtime of the caller.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn heard(self) -> io::Result<Signals> {
        #[expect(
            deprecated,
            reason = "an owned descriptor that nobody replaces; the successor is an unsafe function"
        )]
        let fd = AsyncFd::with_interest(self.0, Interest::READABLE)?;
        Ok(Signals { fd, read: Vec::new() })
    }
}

/// The signals that came.
pub(crate) struct Signals {
    fd: AsyncFd<OwnedFd>,
    /// Read and not given yet, the first last.
    read: Vec<i32>,
}

impl Signals {
    /// The next one. Several of a kind that came before one was read are one.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn next(&mut self) -> io::Result<Signal> {
        loop {
            if let Some(signal) = self.read.pop()
                && let Some(signal) = HEEDED.into_iter().find(|heeded| heeded.as_raw() == signal)
            {
                return Ok(signal);
            }
            let mut ready = self.fd.readable().await?;
            self.read = taskd_runner::read_signals(self.fd.get_ref())?;
            self.read.reverse();
            if self.read.is_empty() {
                ready.clear_ready();
            }
        }
    }
}

/// The next life of this process is told to stop as this one was.
pub(crate) fn pass_on_stop() {
    // Held back, so it waits for who reads it. It cannot fail for the process itself.
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::TERM);
}
