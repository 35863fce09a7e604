//! What is under way, and what has ended and is not acknowledged, kept for the life that comes when this one is killed.
//!
//! It ends what is under way, for only that can have been left behind: who has the mark of any other attempt got it in another
//! way, such as from at(1), and is none of a runner's business. And it tells the daemon, that would know nothing of it where it
//! was killed as well.
//!
//! The file `runner.live` in the state directory is made of slots: the first says whose it is, then comes one an attempt, all
//! zero when they are free. It is written and never synced, since a crash of the machine leaves no process behind, and says
//! nothing in another boot. What begins and ends together is written together, before any process of it is there. Where it
//! cannot be written it is removed: without it nobody knows, and the mark alone must do.
//!
//! What earlier lives have left stays until something begins, which is when the daemon has taken it in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use taskd_wire::runner::{AttemptKey, Origin, TRIGGERS};

use crate::notify::complain;
use crate::place;

/// Bytes of a slot. As many of them fill a page of memory, none is written by half.
const SLOT: usize = 64;

/// Begins the first slot, before the boot and the instances of the lives of which it says all, the last one first.
const MAGIC: [u8; 8] = *b"tskdlive";

/// As many lives at most, of which all but the first to begin have begun nothing.
const LIVES: usize = 5;

/// In place of a fire time where there is none.
const NO_TIME: i64 = i64::MIN;

/// The slot is taken.
const TAKEN: u8 = 1;
/// The attempt has ended.
const ENDED: u8 = 1 << 1;

/// An attempt of some life of the runner.
pub(crate) type Known = (u64, AttemptKey);

/// What a life had begun that was killed, as far as its end was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    pub(crate) instance: u64,
    /// Tasks have no names here.
    pub(crate) begun: BTreeMap<AttemptKey, Origin>,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Underway {
    path: PathBuf,
    instance: u64,
    boot: u128,
    /// Nothing once it could not be written.
    file: Option<File>,
    /// What is in it, or will be.
    slots: Vec<[u8; SLOT]>,
    /// Those of which it is not there yet, with some between them.
    unwritten: Range<usize>,
    /// The first of them is taken, so that those that change are close together.
    free: BinaryHeap<Reverse<usize>>,
    /// The lives of which it says all, this one first.
    lives: Vec<u64>,
    /// Whether something has begun.
    has_begun: bool,
    /// Whether what is left of earlier lives goes when something begins.
    forgets: bool,
    /// What earlier lives had begun, until something begins.
    before: Vec<Before>,
    /// Where it says that an attempt had begun in an earlier life, in this boot.
    earlier: HashMap<AttemptKey, usize>,
    /// Files of other slots of the directory, which say the same of such as worked there, and the locks of those.
    inherited: Vec<(Underway, PathBuf)>,
}

impl Underway {
    /// Opens it, and tells what was under way when the last life ended; nothing where nobody knows. It stays as it is until
    /// it is [claimed](Self::claim).
    pub(crate) fn open(path: PathBuf, instance: u64, boot: Option<u128>) -> (Self, Option<Vec<Known>>) {
        let mut underway = Underway {
            path,
            instance,
            boot: boot.unwrap_or(0),
            file: None,
            slots: vec![[0; SLOT]],
            unwritten: 0..0,
            free: BinaryHeap::new(),
            lives: vec![instance],
            has_begun: false,
            forgets: false,
            before: Vec::new(),
            earlier: HashMap::new(),
            inherited: Vec::new(),
        };
        let mut options = OpenOptions::new();
        let options = options
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let opened = match options.open(&underway.path) {
            Ok(mut file) => underway.read(&mut file).map(|known| (file, known)),
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

    fn read(&mut self, file: &mut File) -> io::Result<Option<Vec<Known>>> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let begin = bytes.len().min(SLOT);
        self.slots[0][..begin].copy_from_slice(&bytes[..begin]);
        if !bytes.starts_with(&MAGIC) {
            // Where it names nobody, whoever made it did not come to say a word, or took all back.
            return Ok(Some(self.read_earlier(&bytes)).filter(|known| !known.is_empty()));
        }
        let (slots, _) = bytes.as_chunks::<SLOT>();
        let Some((head, slots)) = slots.split_first() else {
            return Ok(None);
        };
        self.slots.extend_from_slice(slots);
        let is_of_this_boot = id(head, 8) == self.boot && self.boot != 0;
        let lives = (0..LIVES).map(|life| number(head, 24 + 8 * life));
        let lives = lives.filter(|life| *life != 0 && is_of_this_boot);
        self.before = lives
            .map(|instance| Before {
                instance,
                begun: BTreeMap::new(),
            })
            .collect();
        let earlier = self.before.iter().map(|before| before.instance);
        self.lives.extend(earlier.take(LIVES - 1));
        let mut known = Vec::new();
        for (at, slot) in slots.iter().enumerate() {
            let Some((instance, origin)) = decode(slot) else {
                self.free.push(Reverse(at + 1));
                continue;
            };
            if slot[28] & ENDED == 0 {
                known.push((instance, origin.key));
            }
            if is_of_this_boot {
                self.earlier.insert(origin.key, at + 1);
            }
            let of = self.before.iter_mut().find(|before| before.instance == instance);
            if let Some(before) = of {
                before.begun.insert(origin.key, origin);
            }
        }
        Ok(Some(known))
    }

    /// Of a runner that knew no more than what was under way: slots of half the length, without a first one.
    fn read_earlier(&mut self, bytes: &[u8]) -> Vec<Known> {
        let (slots, _) = bytes.as_chunks::<{ SLOT / 2 }>();
        let mut known = Vec::new();
        for slot in slots {
            let half = |at| u64::from_le_bytes(std::array::from_fn(|byte| slot[at + byte]));
            let key = AttemptKey {
                task: half(8),
                run: half(16),
                attempt: (half(24) >> 32) as u32,
            };
            if half(24) & 1 == 1 {
                let origin = Origin {
                    key,
                    ..Origin::default()
                };
                known.push((half(0), key));
                self.slots.push(encode(half(0), &origin));
            }
        }
        known
    }

    /// Nothing of earlier lives is left. To be called before anything of this one begins.
    pub(crate) fn forget_earlier(&mut self) {
        self.forgets = true;
    }

    /// What earlier lives had begun, where that is known to be all; nothing once something has begun.
    pub(crate) fn before(&self) -> &[Before] {
        &self.before
    }

    /// The attempts of which it says that they had begun in earlier lives, whether or not it says all of those.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = &AttemptKey> {
        let inherited = self.inherited.iter().flat_map(|(other, _)| other.earlier.keys());
        self.earlier.keys().chain(inherited)
    }

    /// The daemon has the end of this attempt, so nobody need be told that it had begun in an earlier life.
    pub(crate) fn forget(&mut self, key: &AttemptKey) {
        for before in &mut self.before {
            before.begun.remove(key);
        }
        if let Some(at) = self.earlier.remove(key) {
            self.free(at);
        }
        // In the files of other slots, where others may work by now, it stays: that is said again, and known.
    }

    /// Takes over what that of another slot says, with this lock, which nobody claims any more.
    pub(crate) fn inherit(&mut self, mut other: Underway, lock: PathBuf) {
        self.before.append(&mut other.before);
        self.inherited.push((other, lock));
    }

    /// This life works in it, once what earlier ones had under way is ended: should it end before that, the next one sees to
    /// it, and one that never served is none of those to be told of.
    pub(crate) fn claim(&mut self) {
        self.set_head();
        self.keep();
    }

    /// From now on it is of this life alone.
    fn take(&mut self) {
        self.has_begun = true;
        self.before.clear();
        self.lives.truncate(1);
        for (other, lock) in std::mem::take(&mut self.inherited) {
            // Somebody may work there by now, or be about to. Should it stay, what it says is said again, and known.
            if let Some(_held) = place::held(&lock)
                && other.is_unclaimed()
            {
                let _ = fs::remove_file(other.path);
            }
        }
        if std::mem::take(&mut self.forgets) {
            self.slots.truncate(1);
            self.free.clear();
            self.earlier.clear();
            if let Some(Err(error)) = self.file.as_ref().map(|file| file.set_len(0)) {
                self.give_up(&error);
            }
        }
        self.set_head();
    }

    /// Whether nobody has claimed it since it was opened.
    fn is_unclaimed(&self) -> bool {
        let mut head = [0; SLOT];
        let read = self.file.as_ref().map(|file| file.read_at(&mut head, 0));
        matches!(read, Some(Ok(_))) && head == self.slots[0]
    }

    fn set_head(&mut self) {
        let mut head = [0; SLOT];
        head[..8].copy_from_slice(&MAGIC);
        head[8..24].copy_from_slice(&self.boot.to_le_bytes());
        for (place, life) in self.lives.iter().enumerate() {
            head[24 + 8 * place..][..8].copy_from_slice(&life.to_le_bytes());
        }
        self.slots[0] = head;
        self.unwritten = 0..self.slots.len();
    }

    /// An attempt begins. Gives back its slot, which is to be [kept](Self::keep) before there is a process.
    pub(crate) fn begin(&mut self, origin: &Origin) -> usize {
        if !self.has_begun {
            self.take();
        }
        let at = match self.free.pop() {
            Some(Reverse(at)) => at,
            None => {
                self.slots.push([0; SLOT]);
                self.slots.len() - 1
            }
        };
        self.set(at, encode(self.instance, origin));
        at
    }

    /// The attempt in this slot has ended, and nothing is left of it.
    pub(crate) fn end(&mut self, at: usize) {
        if let Some(mut slot) = self.slots.get(at).copied() {
            slot[28] |= ENDED;
            self.set(at, slot);
        }
    }

    /// Its end is acknowledged, or kept otherwise.
    pub(crate) fn free(&mut self, at: usize) {
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
        // Should the name stay, it does not say that this is all.
        if let Some(file) = self.file.take() {
            let _ = file.write_all_at(&[0; SLOT], 0);
            let _ = file.set_len(0);
        }
        // Where even that fails, the next one will know of fewer than there were.
        let _ = fs::remove_file(&self.path);
    }
}

/// A slot: instance, task, run, attempt, whether it is taken and ended, trigger, two bytes of nothing, fire time, creation and
/// trace id, in little-endian order.
fn encode(instance: u64, origin: &Origin) -> [u8; SLOT] {
    let AttemptKey { task, run, attempt } = origin.key;
    let mut slot = [0; SLOT];
    for (at, number) in [instance, task, run].into_iter().enumerate() {
        slot[at * 8..][..8].copy_from_slice(&number.to_le_bytes());
    }
    slot[24..28].copy_from_slice(&attempt.to_le_bytes());
    slot[28] = TAKEN;
    let trigger = TRIGGERS.iter().position(|word| *word == origin.trigger);
    slot[29] = trigger.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(0);
    let fire_time = origin.fire_time_ms.unwrap_or(NO_TIME);
    slot[32..40].copy_from_slice(&fire_time.to_le_bytes());
    slot[40..48].copy_from_slice(&origin.created_ms.to_le_bytes());
    slot[48..].copy_from_slice(&origin.trace_id.to_le_bytes());
    slot
}

/// A trigger that is not known has no word: a daemon understands none of it.
fn decode(slot: &[u8; SLOT]) -> Option<(u64, Origin)> {
    let trigger = usize::from(slot[29]).checked_sub(1).and_then(|at| TRIGGERS.get(at));
    let origin = Origin {
        key: AttemptKey {
            task: number(slot, 8),
            run: number(slot, 16),
            attempt: number(slot, 24) as u32,
        },
        task: String::new(),
        trigger: trigger.copied().unwrap_or_default().to_owned(),
        fire_time_ms: Some(number(slot, 32).cast_signed()).filter(|at| *at != NO_TIME),
        created_ms: number(slot, 40).cast_signed(),
        trace_id: id(slot, 48),
    };
    (slot[28] & TAKEN != 0).then_some((number(slot, 0), origin))
}

fn number(slot: &[u8; SLOT], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| slot[at + byte]))
}

fn id(slot: &[u8; SLOT], at: usize) -> u128 {
    u128::from_le_bytes(std::array::from_fn(|byte| slot[at + byte]))
}

#[cfg(test)]
mod tests;
