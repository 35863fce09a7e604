//! The timer that wakes the engine: absolute on the real-time clock, so that suspend and clock steps are seen at once.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use taskd_core::Timestamp;
use tokio::io::unix::AsyncFd;

/// Where the timer is set when nothing is planned: far enough never to come, so that it only tells of clock steps.
const FAR: Timestamp = Timestamp::from_second(7_258_118_400);

/// Why the engine was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The instant has come.
    Due,
    /// The clock was set, or the machine resumed.
    ClockStepped,
}

/// A timer on `CLOCK_REALTIME` that is cancelled when the clock is set.
pub(super) struct Wakeup {
    fd: AsyncFd<OwnedFd>,
    armed: Option<Timestamp>,
    /// The clock was set since the timer was armed, and arming it anew has told so: reading it will not.
    stepped: bool,
}

impl Wakeup {
    /// A timer that tells of clock steps only, until armed.
    pub(super) fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "an owned descriptor that nobody replaces; the successor is an unsafe function"
        )]
        let fd = AsyncFd::new(fd)?;
        let mut wakeup = Wakeup {
            fd,
            armed: None,
            stepped: false,
        };
        wakeup.set(FAR)?;
        Ok(wakeup)
    }

    /// Arms the timer for `at`; `None` leaves only clock steps. Costs nothing when it is armed so already.
    pub(super) fn arm(&mut self, at: Option<Timestamp>) -> io::Result<()> {
        let at = at.unwrap_or(FAR).min(FAR);
        if self.armed != Some(at) {
            self.set(at)?;
        }
        Ok(())
    }

    fn set(&mut self, at: Timestamp) -> io::Result<()> {
        // Zero would disarm it; an instant before the epoch is as due as the first millisecond after it.
        let millis = at.as_millis().max(1);
        let value = Timespec {
            tv_sec: millis / 1000,
            tv_nsec: (millis % 1000) * 1_000_000,
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let armed = timerfd_settime(
            &self.fd,
            TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
            &Itimerspec {
                it_interval: never,
                it_value: value,
            },
        );
        match armed {
            Ok(_) => {}
            // The timer is armed all the same; the kernel tells of a step once, by whichever call comes first.
            Err(rustix::io::Errno::CANCELED) => self.stepped = true,
            Err(error) => return Err(error.into()),
        }
        self.armed = Some(at);
        Ok(())
    }

    /// Waits until the armed instant has come or the clock was set. The timer must be armed again after.
    pub(super) async fn woken(&mut self) -> io::Result<Woken> {
        if std::mem::take(&mut self.stepped) {
            self.armed = None;
            return Ok(Woken::ClockStepped);
        }
        loop {
            let mut guard = self.fd.readable().await?;
            let mut expirations = [0_u8; 8];
            match rustix::io::read(self.fd.get_ref(), &mut expirations) {
                Ok(_) => {
                    // There is nothing more to read until it is armed again.
                    guard.clear_ready();
                    self.armed = None;
                    return Ok(Woken::Due);
                }
                Err(rustix::io::Errno::CANCELED) => {
                    self.armed = None;
                    return Ok(Woken::ClockStepped);
                }
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_arming_has_told_of_is_not_lost() {
        let mut wakeup = Wakeup::new().expect("a timer");
        wakeup.arm(Some(FAR)).expect("it is armed");
        // As the kernel answers when the clock was set since; no test may set it.
        wakeup.stepped = true;
        assert_eq!(wakeup.woken().await.expect("it is told"), Woken::ClockStepped);
        wakeup.arm(Some(Timestamp::from_second(1))).expect("it is armed");
        assert_eq!(wakeup.woken().await.expect("it is told"), Woken::Due);
    }
}
