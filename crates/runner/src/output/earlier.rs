//! Output that was written under the same number before.
//!
//! After a backup was put back, runs have numbers that were used already, and what they wrote then may be in files of other
//! names, which would be taken for theirs. It is hardly ever there, so it is looked for once and not for each run.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::press;
use crate::reports::lock;

/// Tasks that are remembered at most. Of others it is looked for again.
const KNOWN_MAX: usize = 1 << 16;

/// The highest number of a run that may have output, by task.
#[derive(Clone, Debug, Default)]
pub(super) struct Earlier(Arc<Mutex<HashMap<u64, u64>>>);

impl Earlier {
    /// Removes what the attempt whose output is at `path` was called so before.
    pub(super) fn remove_others(&self, path: &Path) {
        if self.may_have(path) {
            let (lines, raw) = (path.with_extension("jsonl"), path.with_extension("out"));
            let others = [press::compressed(&lines), press::compressed(&raw), lines, raw];
            for other in others.iter().filter(|other| *other != path) {
                // It is hardly ever there.
                let _ = fs::remove_file(other);
            }
        }
    }

    /// Nothing is known any more.
    pub(super) fn look_again(&self) {
        lock(&self.0).clear();
    }

    /// Whether the run, or one after it, had output before.
    fn may_have(&self, path: &Path) -> bool {
        let Some(directory) = path.parent() else { return true };
        let (Some(task), Some(run)) = (number(directory), number(path)) else {
            return true;
        };
        let mut known = lock(&self.0);
        let highest = match known.get(&task) {
            Some(highest) => *highest,
            None => highest_in(directory, path),
        };
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(task, highest.max(run));
        run <= highest
    }
}

/// The highest number in a directory, but for what is at `path`.
fn highest_in(directory: &Path, path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return u64::MAX;
    };
    let others = entries.flatten().map(|entry| entry.path());
    let numbers = others.filter(|other| other != path).filter_map(|other| number(&other));
    numbers.max().unwrap_or(0)
}

/// The number that a name begins with.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_the_number_before_goes_and_nothing_else() {
        let directory = tempfile::tempdir().expect("room");
        let task = directory.path().join("7");
        fs::create_dir(&task).expect("room");
        let file = |name: &str| {
            let path = task.join(name);
            fs::write(&path, "x").expect("room");
            path
        };
        let (before, same, after) = (file("2.1.out"), file("3.1.jsonl.zst"), file("4.1.out.zst"));
        let earlier = Earlier::default();
        earlier.remove_others(&file("3.1.jsonl"));
        assert!(before.exists() && !same.exists() && after.exists());
        earlier.remove_others(&file("4.1.out"));
        assert!(!after.exists());
        // One that nobody had is not looked for, until numbers are used again.
        let press = file("5.1.jsonl.zst");
        earlier.remove_others(&file("5.1.jsonl"));
        assert!(press.exists());
        earlier.remove_others(&file("5.1.jsonl"));
        assert!(!press.exists());
    }
}
