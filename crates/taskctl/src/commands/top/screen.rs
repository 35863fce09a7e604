//! The terminal while it is drawn on: keys come at once and are not shown, and what was there before comes back in the end,
//! however that comes.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::stdio::{stdin, stdout};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::low_level::pipe;

use crate::clock;
use crate::error::{Failure, Result};
use crate::watch::wait_for;

/// A screen of its own, without a cursor; and back. All terminals of our time know these, and others ignore them.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Begins at the top of an empty screen.
pub const CLEAR: &str = "\x1b[H\x1b[J";

/// Columns and rows of a terminal that does not say.
const SIZE: (usize, usize) = (80, 24);

/// What no key sends.
const DISABLED: u8 = 0;

/// What ends the wait for the next refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is time.
    Time,
    /// The size of the terminal has changed.
    Size,
    /// A user has had enough.
    Quit,
    /// This signal came.
    Signal(i32),
}

/// The terminal.
pub struct Screen {
    /// How it was.
    before: Termios,
    /// Readable once a signal has come.
    signals: Vec<(i32, UnixStream)>,
}

impl Screen {
    /// Takes the terminal over. Nothing where there is none, or it is not wanted.
    pub fn open(unwanted: bool) -> Result<Option<Self>, Failure> {
        if unwanted || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let failed = |error: io::Error| Failure::system("take the terminal over", &error);
        let mut signals = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH] {
            let (reader, writer) = UnixStream::pair().map_err(failed)?;
            reader.set_nonblocking(true).map_err(failed)?;
            pipe::register(signal, writer).map_err(failed)?;
            signals.push((signal, reader));
        }
        let before = tcgetattr(stdin()).map_err(|errno| failed(errno.into()))?;
        let mut modes = before.clone();
        // Lines are not waited for and keys not shown; Ctrl-C stays a signal, and Ctrl-Z does nothing, for nobody would bring
        // the screen back.
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        modes.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
        tcsetattr(stdin(), OptionalActions::Now, &modes).map_err(|errno| failed(errno.into()))?;
        let screen = Screen { before, signals };
        write(ENTER).map_err(failed)?;
        Ok(Some(screen))
    }

    /// Its columns and rows now.
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            Ok(_) | Err(_) => SIZE,
        }
    }

    /// Waits for something to happen, until then at most.
    pub fn wait(&mut self, until: Instant) -> Result<Heard, Failure> {
        loop {
            let left = until.saturating_duration_since(clock::monotonic());
            let mut fds: Vec<BorrowedFd<'_>> = vec![stdin()];
            fds.extend(self.signals.iter().map(|(_, reader)| reader.as_fd()));
            let ready = wait_for(&fds, Some(left))?;
            let came = self.signals.iter().zip(ready.iter().skip(1)).find(|(_, ready)| **ready);
            if let Some(((signal, reader), _)) = came {
                // What came several times is one.
                while rustix::io::read(reader, &mut [0_u8; 64]).is_ok_and(|length| length == 64) {}
                return Ok(if *signal == SIGWINCH {
                    Heard::Size
                } else {
                    Heard::Signal(*signal)
                });
            }
            if ready.first() != Some(&true) {
                return Ok(Heard::Time);
            }
            let mut keys = [0_u8; 64];
            match rustix::io::read(stdin(), &mut keys) {
                // Nobody is at the other end any more.
                Ok(0) | Err(_) => return Ok(Heard::Quit),
                Ok(length) if keys[..length].iter().any(|key| matches!(key, b'q' | b'Q')) => return Ok(Heard::Quit),
                Ok(_) => {}
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing more can be done for a terminal that is gone.
        let _ = write(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::write(stdout(), text.as_bytes()))?;
    Ok(())
}
