//! What the service manager is told: ready, reloading, stopping, and that the daemon still turns.
//!
//! Without `$NOTIFY_SOCKET` every call does nothing. The variable stays set, as unsetting it is unsound once there are
//! threads; it does not reach the runs, whose environment the runner makes anew, nor would systemd listen to them
//! (`NotifyAccess=main`). A message that cannot be sent is no reason to stop: if it mattered, systemd acts on its own.

use std::time::Duration;

use sd_notify::NotifyState;

/// The way to the service manager.
#[derive(Clone, Debug)]
pub struct Notify {
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment of this process says.
    #[must_use]
    pub fn from_env() -> Notify {
        Notify {
            watchdog: sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()),
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

    /// The daemon reads its configuration again. [`Notify::ready`] must follow.
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
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, what: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(what) {
            tracing::debug!(%error, "the service manager could not be told");
        }
    }
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
