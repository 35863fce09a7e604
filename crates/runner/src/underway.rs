//! What is under way, kept for the life that comes when this one is killed: only that can have been left behind. Who has
//! the mark of any other attempt got it in another way, such as from at(1), and is none of a runner's business.
//!
//! The file `runner.live` in the state directory is made of slots, one an attempt, all zero when they are free. It is
//! written and never synced, since a crash of the machine leaves no process behind. What begins and ends together is
//! written together, before any process of it is there. Where it cannot be written it is removed: without it nobody knows,
//! and the mark alone must do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use taskd_wire::runner::AttemptKey;

use crate::notify::complain;

/// Bytes of a slot: instance, task, run, attempt and whether it is taken, all in little-endian order.
const SLOT: usize = 32;

/// An attempt of some life of the runner.
pub(crate) type Known = (u64, AttemptKey);

/// The file.
#[derive(Debug)]
pub(crate) struct Underway {
    path: PathBuf,
    instance: u64,
    /// Nothing once it could not be written.
    file: Option<File>,
    /// What is in it, or will be.
    slots: Vec<[u8; SLOT]>,
    /// Those of which it is not there yet, with some between them.
    unwritten: Range<usize>,
    /// The first of them is taken, so that those that change are close together.
    free: BinaryHeap<Reverse<usize>>,
}

impl Underway {
    /// Opens it for this life, and tells what was under way when the last one ended; nothing where nobody knows.
    pub(crate) fn open(path: PathBuf, instance: u64) -> (Self, Option<Vec<Known>>) {
        let mut underway = Underway {
            path,
            instance,
            file: None,
            slots: Vec::new(),
            unwritten: 0..0,
            free: BinaryHeap::new(),
        };
        let mut options = OpenOptions::new();
        let options = options
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let opened = match options.open(&underway.path) {
            Ok(mut file) => underway.read(&mut file).map(|known| (file, Some(known))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                options.create_new(true).open(&underway.path).map(|file| (file, None))
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok((file, earlier)) => {
                underway.file = Some(file);
                (underway, earlier)
            }
            Err(error) => {
                underway.give_up(&error);
                (underway, None)
            }
        }
    }

    fn read(&mut self, file: &mut File) -> io::Result<Vec<Known>> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (slots, _) = bytes.as_chunks::<SLOT>();
        self.slots = slots.to_vec();
        let mut known = Vec::new();
        for (at, slot) in slots.iter().enumerate() {
            match decode(slot) {
                Some(earlier) => known.push(earlier),
                None => self.free.push(Reverse(at)),
            }
        }
        Ok(known)
    }

    /// Nothing of earlier lives is left. To be called before anything of this one begins.
    pub(crate) fn forget_earlier(&mut self) {
        self.slots.clear();
        self.free.clear();
        self.unwritten = 0..0;
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.set_len(0)) {
            self.give_up(&error);
        }
    }

    /// An attempt begins. Gives back its slot, which is to be [kept](Self::keep) before there is a process.
    pub(crate) fn begin(&mut self, key: AttemptKey) -> usize {
        let at = match self.free.pop() {
            Some(Reverse(at)) => at,
            None => {
                self.slots.push([0; SLOT]);
                self.slots.len() - 1
            }
        };
        self.set(at, encode(self.instance, key));
        at
    }

    /// The attempt in this slot has ended, and nothing is left of it.
    pub(crate) fn end(&mut self, at: usize) {
        self.set(at, [0; SLOT]);
        self.free.push(Reverse(at));
    }

    fn set(&mut self, at: usize, bytes: [u8; SLOT]) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = bytes;
            let Range { start, end } = self.unwritten;
            self.unwritten = if start == end {
                at..at + 1
            } else {
                start.min(at)..end.max(at + 1)
            };
        }
    }

    /// Writes what has changed.
    pub(crate) fn keep(&mut self) {
        let unwritten = std::mem::take(&mut self.unwritten);
        let begin = unwritten.start as u64 * SLOT as u64;
        let slots = self.slots.get(unwritten).unwrap_or_default().as_flattened();
        if slots.is_empty() {
            return;
        }
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.write_all_at(slots, begin)) {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        complain(format_args!(
            "cannot keep {}, so the next runner will go by marks alone: {error}",
            self.path.display()
        ));
        self.file = None;
        // Where even that fails, the next one will know of fewer than there were.
        let _ = fs::remove_file(&self.path);
    }
}

fn encode(instance: u64, key: AttemptKey) -> [u8; SLOT] {
    let AttemptKey { task, run, attempt } = key;
    let mut slot = [0; SLOT];
    for (at, number) in [instance, task, run, u64::from(attempt) << 32 | 1]
        .into_iter()
        .enumerate()
    {
        slot[at * 8..][..8].copy_from_slice(&number.to_le_bytes());
    }
    slot
}

fn decode(slot: &[u8; SLOT]) -> Option<Known> {
    let (numbers, _) = slot.as_chunks::<8>();
    let [instance, task, run, last] = numbers else {
        return None;
    };
    let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let attempt = u32::try_from(number(last) >> 32).ok()?;
    let key = AttemptKey {
        task: number(task),
        run: number(run),
        attempt,
    };
    (number(last) & 1 == 1).then_some((number(instance), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(run: u64) -> AttemptKey {
        AttemptKey {
            task: u64::MAX - 1,
            run,
            attempt: u32::MAX,
        }
    }

    #[test]
    fn the_next_life_knows_what_was_under_way() {
        let directory = tempfile::tempdir().expect("room");
        let open = |instance| Underway::open(directory.path().join("runner.live"), instance);
        let (mut first, earlier) = open(1);
        assert_eq!(earlier, None, "nobody was there");
        let slots = [1, 2, 3].map(|run| first.begin(key(run)));
        first.keep();
        first.end(slots[1]);
        first.keep();
        let (mut second, earlier) = open(2);
        assert_eq!(earlier, Some(vec![(1, key(1)), (1, key(3))]));
        // As long as they are not known to be gone, they stay.
        second.begin(key(4));
        second.begin(key(5));
        second.keep();
        let (mut third, earlier) = open(3);
        let known = vec![(1, key(1)), (2, key(4)), (1, key(3)), (2, key(5))];
        assert_eq!(earlier, Some(known));
        third.forget_earlier();
        let last = third.begin(key(6));
        third.keep();
        assert_eq!(open(4).1, Some(vec![(3, key(6))]));
        third.end(last);
        third.keep();
        assert_eq!(open(5).1, Some(Vec::new()));
    }

    #[test]
    fn whatever_begins_and_ends_is_kept_as_it_is_then() {
        let directory = tempfile::tempdir().expect("room");
        let path = || directory.path().join("runner.live");
        let (mut underway, _) = Underway::open(path(), 1);
        let mut taken: Vec<(usize, u64)> = Vec::new();
        for run in 0..200 {
            // Some end between the others, in another order than they began.
            for _ in 0..run % 4 {
                let some = (run as usize * 7) % taken.len().max(1);
                if some < taken.len() {
                    underway.end(taken.swap_remove(some).0);
                }
            }
            (0..3).for_each(|number| taken.push((underway.begin(key(run * 3 + number)), run * 3 + number)));
            underway.keep();
            let mut expected: Vec<Known> = taken.iter().map(|(_, run)| (1, key(*run))).collect();
            let mut found = Underway::open(path(), 2).1.expect("it is there");
            expected.sort();
            found.sort();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_cannot_be_kept_is_not_half_known() {
        let directory = tempfile::tempdir().expect("room");
        let path = directory.path().join("runner.live");
        // A file that takes nothing, as on a full disk.
        std::os::unix::fs::symlink("/dev/full", &path).expect("room");
        let (mut underway, earlier) = Underway::open(directory.path().join("runner.live"), 1);
        assert_eq!(earlier, None, "it is not followed");
        assert!(!path.exists());
        let slot = underway.begin(key(1));
        underway.keep();
        underway.end(slot);
        underway.keep();
        let (mut underway, _) = Underway::open(directory.path().join("runner.live"), 1);
        underway.file = Some(OpenOptions::new().write(true).open("/dev/full").expect("a system"));
        underway.begin(key(1));
        underway.keep();
        assert!(!path.exists());
    }
}
