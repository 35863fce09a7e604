//! What the service manager is told: ready, reloading, stopping, and that the daemon still turns.
//!
//! Without `$NOTIFY_SOCKET` every call does nothing. The variable stays set, as unsetting it is unsound once there are
//! threads; it does not reach the runs, whose environment the runner makes anew, nor would systemd listen to them
//! (`NotifyAccess=main`). A message that cannot be sent is no reason to stop: if it mattered, systemd acts on its own.
//!
//! No call waits for the service manager. While it does not read, beats are dropped; what else there is to say is said
//! in its order by a thread of its own, as soon as it reads again.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

/// Most messages that wait for a service manager that does not read; further ones are dropped.
const OWED_MAX: usize = 16;

/// The way to the service manager.
#[derive(Debug)]
pub struct Notify {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
    /// What could not be said yet, oldest first. While there is some, a thread is about to say it.
    owed: Arc<Mutex<VecDeque<String>>>,
}

impl Notify {
    /// As the environment of this process says.
    #[must_use]
    pub fn from_env() -> Notify {
        let watchdog = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        Notify::to(std::env::var_os("NOTIFY_SOCKET").as_deref(), watchdog)
    }

    /// Speaks to the socket of this name, in which a leading `@` means the abstract name space.
    pub(crate) fn to(name: Option<&OsStr>, watchdog: Option<Duration>) -> Notify {
        let address = |name: &OsStr| match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(name),
        };
        let address = name.filter(|name| !name.is_empty()).and_then(|name| {
            address(name)
                .inspect_err(|error| tracing::warn!(%error, "the service manager has no such socket"))
                .ok()
        });
        Notify {
            address,
            watchdog,
            owed: Arc::default(),
        }
    }

    /// How often [`Notify::watchdog`] is due, when the service manager watches this very process: twice within the
    /// time it allows (`$WATCHDOG_USEC`, `$WATCHDOG_PID`).
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The daemon serves; also the end of a reload.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// The daemon works by another configuration. [`Notify::ready`] must follow.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            // From version 253 on, systemd takes a reload without the time for a failure.
            Err(error) => tracing::debug!(%error, "the service manager is not told of the reload"),
        }
    }

    /// The daemon stops.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// The daemon still turns.
    pub fn watchdog(&self) {
        let Some(address) = &self.address else { return };
        if owed(&self.owed).is_empty()
            && let Err(error) = send(address, &text(&[NotifyState::Watchdog]), true)
        {
            tracing::debug!(%error, "the service manager did not take a beat");
        }
    }

    fn tell(&self, what: &[NotifyState<'_>]) {
        let Some(address) = &self.address else { return };
        let message = text(what);
        let mut waiting = owed(&self.owed);
        if waiting.is_empty() {
            match send(address, &message, true) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return tracing::debug!(%error, "the service manager could not be told"),
            }
            let (address, owed) = (address.clone(), Arc::clone(&self.owed));
            let teller = std::thread::Builder::new().name("notify".into());
            if let Err(error) = teller.spawn(move || pay(&address, &owed)) {
                return tracing::debug!(%error, "the service manager could not be told");
            }
        }
        if waiting.len() < OWED_MAX {
            waiting.push_back(message);
        }
    }
}

/// Says what is owed, however long that takes.
fn pay(address: &SocketAddr, waiting: &Mutex<VecDeque<String>>) {
    let mut next = owed(waiting).front().cloned();
    while let Some(message) = next {
        if let Err(error) = send(address, &message, false) {
            tracing::debug!(%error, "the service manager could not be told");
        }
        // It stays there until it is said, so that nothing overtakes it; and whoever finds none there finds no thread.
        let mut waiting = owed(waiting);
        waiting.pop_front();
        next = waiting.front().cloned();
    }
}

fn owed(waiting: &Mutex<VecDeque<String>>) -> MutexGuard<'_, VecDeque<String>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(address: &SocketAddr, message: &str, at_once: bool) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(at_once)?;
    socket.send_to_addr(message.as_bytes(), address)?;
    Ok(())
}

fn text(what: &[NotifyState<'_>]) -> String {
    what.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A line break would begin another message.
fn one_line(status: &str) -> String {
    status.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Stdio};

    use super::*;

    /// Says everything there is to say, in a process whose environment the test below has set.
    #[test]
    #[ignore = "the other half of what_is_said_reaches_the_socket"]
    fn speaker() {
        let notify = Notify::from_env();
        notify.ready("running\ntasks");
        notify.reloading();
        notify.stopping();
        match notify.watchdog_interval() {
            Some(interval) => notify.ready(&format!("beats every {interval:?}")),
            None => notify.ready("is not watched"),
        }
        notify.watchdog();
    }

    fn said_with(variables: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut speaker = Command::new(std::env::current_exe().unwrap());
        speaker
            .args(["--exact", "notify::tests::speaker", "--ignored", "--test-threads=1"])
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .env("NOTIFY_SOCKET", &path)
            .envs(variables.iter().copied())
            .stdout(Stdio::null());
        assert!(speaker.status().unwrap().success());
        socket.set_nonblocking(true).unwrap();
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            said.push(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned());
        }
        said
    }

    #[test]
    fn what_is_said_reaches_the_socket() {
        let said = said_with(&[]);
        assert_eq!(said.len(), 5, "{said:?}");
        assert_eq!(said[0], "READY=1\nSTATUS=running tasks");
        assert!(said[1].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{said:?}");
        assert_eq!(said[2], "STOPPING=1\nSTATUS=stopping");
        assert_eq!(said[3], "READY=1\nSTATUS=is not watched");
        assert_eq!(said[4], "WATCHDOG=1");
    }

    #[test]
    fn a_service_manager_that_does_not_read_holds_nobody_up_and_is_told_all_but_beats() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(Some(path.as_os_str()), None);
        for _ in 0..10_000 {
            notify.watchdog();
        }
        notify.ready("running tasks");
        notify.stopping();
        notify.watchdog();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut buffer = [0; 4096];
        let mut said = Vec::new();
        while said.len() < 2 {
            let length = socket.recv(&mut buffer).expect("more is said");
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message != "WATCHDOG=1" {
                said.push(message);
            }
        }
        assert_eq!(said, ["READY=1\nSTATUS=running tasks", "STOPPING=1\nSTATUS=stopping"]);
    }

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time_by_the_process_it_watches() {
        let heard = |variables: &[(&str, &str)]| said_with(variables)[3].clone();
        assert_eq!(
            heard(&[("WATCHDOG_USEC", "30000000")]),
            "READY=1\nSTATUS=beats every 15s"
        );
        assert_eq!(heard(&[("WATCHDOG_USEC", "0")]), "READY=1\nSTATUS=is not watched");
        assert_eq!(
            heard(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "1")]),
            "READY=1\nSTATUS=is not watched"
        );
    }
}
