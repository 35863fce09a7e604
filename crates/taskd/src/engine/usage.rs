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
use super::runner::core_key;
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
    /// Whether the runner has been asked and has not answered.
    is_under_way: bool,
    /// What came of the answer so far.
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
        if self.link.is_none() || self.condition.can & can::USAGE == 0 {
            return asked.tell(None);
        }
        if !std::mem::replace(&mut asked.is_under_way, true) {
            self.tell_runner(&ToRunner::Look);
            self.flush_runner();
        }
    }

    /// A part of the runner's answer.
    pub(super) fn usage_said(&mut self, at_us: u64, used: Vec<Rec<Used>>, is_last: bool) {
        let asked = &mut self.asked;
        asked.part.at_us = at_us;
        let used = used.into_iter().map(|Rec(used)| (core_key(used.key), live(&used)));
        asked.part.used.extend(used);
        if is_last {
            asked.is_under_way = false;
            let sample = Arc::new(std::mem::take(&mut asked.part));
            asked.last = Some((clock::monotonic(), Arc::clone(&sample)));
            asked.tell(Some(&sample));
        }
    }

    /// The runner is gone: nobody answers any more.
    pub(super) fn usage_lost(&mut self) {
        self.asked.tell(None);
        self.asked = Asked::default();
    }
}

fn live(used: &Used) -> LiveUsage {
    LiveUsage {
        cpu_us: used.cpu_us,
        memory_bytes: used.memory_bytes,
        processes: used.processes,
    }
}
