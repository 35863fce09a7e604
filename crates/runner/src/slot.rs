//! Several runners in one state directory: while one of an earlier version ends what it has, one of this version takes what
//! comes. Each has a *slot*, and below it its own lock, its own socket, its own list of what is under way, and its own
//! number in the marks of its processes and the names of their control groups; so none takes what another holds for what
//! was left behind. Only `output/` is common: no attempt is with two of them.
//!
//! The files of the first slot are called as they were before there were slots: `runner.lock`, `spool/`. Those of the second
//! are `runner.2.lock`, `spool.2/`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Most runners in one state directory.
const SLOTS: u8 = 8;

/// The place of one runner among those of a state directory: 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u8);

/// There is no such slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a slot is a number from 1 to {SLOTS}")]
pub struct NoSlot;

impl Slot {
    /// The one that is taken where no other runner lives.
    pub const FIRST: Slot = Slot(1);

    /// All of them, the first one first.
    pub fn all() -> impl Iterator<Item = Slot> {
        (1..=SLOTS).map(Slot)
    }

    /// The socket of the runner in this slot, where that of the first one is `first`: no longer than that, which may be as
    /// long as a socket's name may be.
    #[must_use]
    pub fn socket(self, first: &Path) -> PathBuf {
        match self {
            Slot::FIRST => first.to_owned(),
            Slot(number) => first.with_extension(number.to_string()),
        }
    }

    /// Its own file of this kind.
    pub(crate) fn file(self, state_dir: &Path, kind: &str) -> PathBuf {
        state_dir.join(match self {
            Slot::FIRST => format!("runner.{kind}"),
            Slot(number) => format!("runner.{number}.{kind}"),
        })
    }

    /// Its own directory of results.
    pub(crate) fn spool(self, state_dir: &Path) -> PathBuf {
        state_dir.join(match self {
            Slot::FIRST => "spool".to_owned(),
            Slot(number) => format!("spool.{number}"),
        })
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Slot {
    type Err = NoSlot;

    fn from_str(text: &str) -> Result<Self, NoSlot> {
        let number: u8 = text.parse().map_err(|_| NoSlot)?;
        Slot::all().find(|slot| slot.0 == number).ok_or(NoSlot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slot_has_the_names_of_old_and_no_two_have_the_same() {
        let dir = Path::new("/s");
        assert_eq!(Slot::FIRST.file(dir, "lock"), Path::new("/s/runner.lock"));
        assert_eq!(Slot::FIRST.spool(dir), Path::new("/s/spool"));
        assert_eq!(
            Slot::FIRST.socket(Path::new("/s/runner.sock")),
            Path::new("/s/runner.sock")
        );
        let mut names: Vec<PathBuf> = Slot::all()
            .flat_map(|slot| {
                let socket = slot.socket(Path::new("/s/runner.sock"));
                [socket, slot.spool(dir), slot.file(dir, "lock"), slot.file(dir, "live")]
            })
            .collect();
        assert!(
            names
                .iter()
                .all(|name| name.as_os_str().len() <= "/s/runner.2.cgroups".len())
        );
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 4 * usize::from(SLOTS));
    }

    #[test]
    fn only_slots_are_slots() {
        assert_eq!("2".parse(), Ok(Slot(2)));
        assert!(
            ["0", "9", "-1", "", "x", "257"]
                .iter()
                .all(|text| text.parse::<Slot>() == Err(NoSlot))
        );
    }
}
