//! What every verb has at hand: where to write, whom to ask, what time it is and in whose zone.

use std::cell::OnceCell;

use jiff::tz::TimeZone;
use taskd_core::Timestamp;

use crate::client::Client;
use crate::error::{Exit, Failure};
use crate::out::Out;
use crate::places::Places;
use crate::render::time::Times;
use crate::zones;

/// One call of `taskctl`.
pub struct Session {
    /// Standard output.
    pub out: Out,
    /// Standard error.
    pub err: Out,
    /// Whether `--json` was given.
    pub json: bool,
    /// Where daemons may be.
    pub places: Places,
    now: fn() -> Timestamp,
    zone: OnceCell<TimeZone>,
}

impl Session {
    /// Of this process.
    pub fn of_process(json: bool, places: Places) -> Self {
        Session {
            out: Out::stdout(),
            err: Out::stderr(),
            json,
            places,
            now: crate::clock::now,
            zone: OnceCell::new(),
        }
    }

    /// Of a test.
    #[cfg(test)]
    pub fn of_test(json: bool, places: Places, out: Out, err: Out, now: fn() -> Timestamp, zone: TimeZone) -> Self {
        Session {
            out,
            err,
            json,
            places,
            now,
            zone: OnceCell::from(zone),
        }
    }

    /// A connection to the daemon.
    pub fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&self.places)
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// The reader's time zone, read when it is first needed.
    pub fn zone(&self) -> &TimeZone {
        self.zone.get_or_init(zones::system)
    }

    /// How instants are shown to this reader.
    pub fn times(&self) -> Times {
        Times::new(self.now(), self.zone().clone())
    }

    /// Tells people something beside the output, at once; scripts nothing.
    pub fn remark(&mut self, text: &str) {
        if self.json {
            return;
        }
        // OK because a remark nobody can read any more is no reason to stop.
        let _ = self
            .err
            .said(&format!("taskctl: {text}"))
            .and_then(|()| self.err.flush());
    }

    /// Tells people and scripts that the output is not all there is.
    pub fn warn(&mut self, code: &'static str, text: &str, hint: &str) {
        let warning = Failure::new(Exit::Failed, code, text).hint(hint);
        let text = if self.json {
            warning.json() + "\n"
        } else {
            warning.human(self.err.colour)
        };
        // OK for the same reason.
        let _ = self.err.text(&text).and_then(|()| self.err.flush());
    }
}
