//! How many connections a user may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections over the limit that are told so, per user; further ones are closed without a word.
const TOLD: usize = 16;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    admitted: usize,
    told: usize,
}

/// Counts connections by user.
#[derive(Clone, Default)]
pub(super) struct Admission {
    counts: Arc<Mutex<HashMap<u32, Count>>>,
}

/// What becomes of a new connection.
pub(super) enum Entry {
    /// It has a place until this is dropped.
    Admitted(Place),
    /// There is none; it is told so while it holds this.
    Full(Place),
    /// Even those who are told are too many.
    Flooded,
}

/// A counted connection.
pub(super) struct Place {
    admission: Admission,
    uid: u32,
    admitted: bool,
}

impl Admission {
    /// Counts a connection of `uid`, of whom `limit` are served at once.
    pub(super) fn enter(&self, uid: u32, limit: usize) -> Entry {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(uid).or_default();
        let admitted = count.admitted < limit;
        if admitted {
            count.admitted += 1;
        } else if count.told < TOLD {
            count.told += 1;
        } else {
            return Entry::Flooded;
        }
        let place = Place {
            admission: self.clone(),
            uid,
            admitted,
        };
        if admitted {
            Entry::Admitted(place)
        } else {
            Entry::Full(place)
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.uid) {
            if self.admitted {
                count.admitted -= 1;
            } else {
                count.told -= 1;
            }
            if count.admitted == 0 && count.told == 0 {
                counts.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_for_each_user_and_places_come_back() {
        let admission = Admission::default();
        let first: Vec<Entry> = (0..3).map(|_| admission.enter(1000, 3)).collect();
        assert!(first.iter().all(|entry| matches!(entry, Entry::Admitted(_))));
        assert!(matches!(admission.enter(1000, 3), Entry::Full(_)));
        assert!(matches!(admission.enter(1001, 3), Entry::Admitted(_)));
        drop(first);
        assert!(matches!(admission.enter(1000, 3), Entry::Admitted(_)));
        assert!(admission.counts.lock().expect("no thread panicked").is_empty());
    }

    #[test]
    fn a_flood_is_not_told() {
        let admission = Admission::default();
        let told: Vec<Entry> = (0..TOLD).map(|_| admission.enter(7, 0)).collect();
        assert!(told.iter().all(|entry| matches!(entry, Entry::Full(_))));
        assert!(matches!(admission.enter(7, 0), Entry::Flooded));
    }
}
