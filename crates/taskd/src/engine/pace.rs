//! How often the engine wakes for what is due.
//!
//! A task starts at its instant. Where hundreds start each second that is hundreds of wakes, of the engine, the runner and
//! all who take part in a start; taken in together, a few milliseconds late, they cost a good deal less.

use std::time::Duration;

use taskd_core::Timestamp;

/// So long starts are counted.
const SPAN: Duration = Duration::from_millis(50);

/// So many in that time are many: four hundred a second.
const MANY: u32 = 20;

/// How long the engine rests then, at least, between two wakes.
const REST: Duration = Duration::from_millis(10);

/// Whether there are so many starts that they are made together.
#[derive(Debug)]
pub(super) struct Pace {
    is_busy: bool,
    since: Timestamp,
    starts: u32,
    woken: Timestamp,
}

impl Pace {
    pub(super) fn new(now: Timestamp) -> Self {
        Pace {
            is_busy: false,
            since: now,
            starts: 0,
            woken: now,
        }
    }

    /// Something is due.
    pub(super) fn woken(&mut self, now: Timestamp) {
        let (past, is_back) = (now.since(self.since), now < self.since);
        if past >= SPAN || is_back {
            self.is_busy = self.starts >= MANY && past < 2 * SPAN && !is_back;
            self.since = now;
            self.starts = 0;
        }
        self.woken = now;
    }

    /// A run is started.
    pub(super) fn started(&mut self) {
        self.starts = self.starts.saturating_add(1);
    }

    /// Until when to rest although something is due `at`, before that. What is due already waits for nothing.
    pub(super) fn rest_until(&self, at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let until = self.woken.plus(REST);
        let is_back = now < self.woken;
        (self.is_busy && !is_back && now < at && at < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn many_starts_are_made_together_until_they_are_few() {
        let mut pace = Pace::new(at(0));
        // One is due each millisecond.
        let (mut started, mut wake) = (0, 1);
        let mut wakes = 0;
        while wake < 1_000 {
            wakes += 1;
            pace.woken(at(wake));
            (started..wake).for_each(|_| pace.started());
            started = wake;
            let next = pace.rest_until(at(wake + 1), at(wake)).unwrap_or(at(wake + 1));
            wake = next.as_millis() - at(0).as_millis();
            assert!(wake <= started + 10, "none is later than that");
        }
        assert!((100..200).contains(&wakes), "{wakes}");
        // The first after a silence, and each that follows slowly, starts at its instant.
        for ms in [2_000, 2_100, 2_102, 2_200] {
            pace.woken(at(ms));
            pace.started();
            assert_eq!(pace.rest_until(at(ms + 1), at(ms)), None);
        }
    }

    #[test]
    fn what_is_due_waits_for_nothing_and_no_clock_makes_it_late() {
        let mut pace = Pace::new(at(0));
        (0..MANY).for_each(|_| pace.started());
        pace.woken(at(50));
        assert_eq!(pace.rest_until(at(51), at(50)), Some(at(60)));
        assert_eq!(pace.rest_until(at(51), at(51)), None, "it is due");
        assert_eq!(pace.rest_until(at(63), at(52)), None, "it comes after the rest");
        // It was set back by a minute.
        assert_eq!(pace.rest_until(at(-59_999), at(-60_000)), None);
        pace.woken(at(-60_000));
        assert_eq!(pace.rest_until(at(-59_999), at(-60_000)), None);
    }
}
