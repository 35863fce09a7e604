//! What runs in progress use. The runner is asked when somebody wants to know, once for all who do, and never else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use taskd_core::run::AttemptKey;
use taskd_wire::client::LiveUsage;
use taskd_wire::codec::Rec;
use taskd_wire::runner::{ToRunner, Used, can};
use tokio::sync::oneshot;

use super::Driver;
use super::runners::Which;
use super::spoken::core_key;
use crate::clock;

/// An answer as young as this serves who asks next, so that nobody keeps the runner at it.
const FRESH: Duration = Duration::from_millis(200);

/// What was used up to an instant.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// By the runner's clock, in microseconds.
    pub(crate) at_us: u64,
    /// By attempts in progress.
    pub(crate) used: HashMap<AttemptKey, LiveUsage>,
}

/// Who is told; nothing where there is no runner that tells.
pub(crate) type Asker = oneshot::Sender<Option<Arc<Sample>>>;

/// Who wants to know, and what is known.
#[derive(Debug, Default)]
pub(super) struct Asked {
    askers: Vec<Asker>,
    /// Whether runners have been asked and have not all answered.
    is_under_way: bool,
    /// What came of their answers so far.
    part: Sample,
    last: Option<(Instant, Arc<Sample>)>,
}

impl Asked {
    /// Tells all who wait.
    fn tell(&mut self, sample: Option<&Arc<Sample>>) {
        for asker in self.askers.drain(..) {
            // It may not wait any more.
            let _ = asker.send(sample.map(Arc::clone));
        }
    }
}

impl Driver {
    /// Tells somebody what runs use, as soon as that is known.
    pub(super) fn ask_usage(&mut self, asker: Asker) {
        let asked = &mut self.asked;
        // Who has given up is not told any more.
        asked.askers.retain(|asker| !asker.is_closed());
        asked.askers.push(asker);
        let now = clock::monotonic();
        let fresh = asked
            .last
            .as_ref()
            .filter(|(at, _)| now.saturating_duration_since(*at) < FRESH);
        if let Some(sample) = fresh.map(|(_, sample)| Arc::clone(sample)) {
            return asked.tell(Some(&sample));
        }
        if !std::mem::replace(&mut asked.is_under_way, true) {
            for runner in self.draining.iter_mut().chain(&mut self.runner) {
                // One that cannot be told is lost, which the flush finds.
                runner.is_asked = runner.can & can::USAGE != 0 && runner.link.send(&ToRunner::Look).is_ok();
            }
            self.flush_runners();
        }
        self.usage_settled();
    }

    /// A part of a runner's answer.
    pub(super) fn usage_said(&mut self, which: Which, at_us: u64, used: Vec<Rec<Used>>, is_last: bool) {
        let part = &mut self.asked.part;
        // All runners of a machine have one clock.
        part.at_us = part.at_us.max(at_us);
        let used = used.into_iter().map(|Rec(used)| (core_key(used.key), live(&used)));
        part.used.extend(used);
        if let Some(runner) = self.runner_at(which).filter(|_| is_last) {
            runner.is_asked = false;
        }
        self.usage_settled();
    }

    /// Tells those who wait, once no runner is left that has not answered.
    pub(super) fn usage_settled(&mut self) {
        let mut runners = self.draining.iter().chain(&self.runner);
        if !self.asked.is_under_way || runners.any(|runner| runner.is_asked) {
            return;
        }
        let asked = &mut self.asked;
        asked.is_under_way = false;
        let sample = std::mem::take(&mut asked.part);
        let sample = (sample.at_us != 0).then(|| Arc::new(sample));
        asked.last = sample.clone().map(|sample| (clock::monotonic(), sample));
        asked.tell(sample.as_ref());
    }
}

fn live(used: &Used) -> LiveUsage {
    LiveUsage {
        cpu_us: used.cpu_us,
        memory_bytes: used.memory_bytes,
        processes: used.processes,
    }
}
