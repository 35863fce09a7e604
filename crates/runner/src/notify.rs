//! Telling systemd, or whoever else waits at `$NOTIFY_SOCKET`, and complaining on stderr.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::event::{PollFd, PollFlags, Timespec};

/// Sends `state` to the socket named by `address`, the value of `$NOTIFY_SOCKET`. A leading `@` means the abstract
/// name space.
pub(crate) fn notify(address: Option<&OsStr>, state: &str) {
    let Some(address) = address.filter(|address| !address.is_empty()) else {
        return;
    };
    if let Err(error) = send(address, state)
        // Whoever waited for the start has its answer and is gone.
        && error.kind() != io::ErrorKind::NotFound
    {
        complain(format_args!("cannot tell {} {state}: {error}", address.display()));
    }
}

fn send(address: &OsStr, state: &str) -> io::Result<()> {
    let target = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // Nobody who waits for readiness lets a datagram queue fill up; if so, it must not hold up the runs.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &target)?;
    Ok(())
}

/// The most that a pipe with any room takes at once.
const LINE_MAX: usize = 4096;

/// Writes a line to stderr, which may be closed: the runner outlives who started it. It may also be a pipe that nobody
/// reads any more, and the runner does not wait for that.
pub(crate) fn complain(message: fmt::Arguments<'_>) {
    let mut line = format!("taskd runner: {message}").into_bytes();
    line.truncate(LINE_MAX - 1);
    line.push(b'\n');
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let has_room = rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0);
    if has_room {
        // There is nobody left to tell.
        let _ = stderr.lock().write_all(&line);
    }
}
