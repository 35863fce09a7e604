//! Trace ids: random numbers from a seed, so that a run of the core can be repeated.

use crate::run::TraceId;

/// A stream of trace ids.
pub(super) struct Traces {
    state: [u64; 2],
}

impl Traces {
    pub(super) fn new(seed: [u64; 2]) -> Self {
        Traces { state: seed }
    }

    /// The next one, never zero.
    pub(super) fn draw(&mut self) -> TraceId {
        loop {
            let id = u128::from(self.word(0)) << 64 | u128::from(self.word(1));
            if id != 0 {
                return TraceId(id);
            }
        }
    }

    /// SplitMix64: both halves of the seed walk on their own.
    fn word(&mut self, half: usize) -> u64 {
        let state = self.state[half].wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state[half] = state;
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_the_seed_and_differ() {
        let draw = |seed| {
            let mut traces = Traces::new(seed);
            (0..1000).map(|_| traces.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw([1, 2]), draw([1, 2]));
        let mut all: Vec<_> = draw([0, 0]).into_iter().chain(draw([7, 9])).map(|id| id.0).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2000);
        assert!(!all.contains(&0));
    }
}
