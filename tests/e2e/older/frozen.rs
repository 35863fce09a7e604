//! What programs of version 0.1.0 understood of each other: the fields that they had, in their order. Whatever follows in a
//! record is of a later version and skipped. Never changes.

/// Task, run, attempt.
pub type Key = (u64, u64, u64);

/// What a daemon hears.
#[derive(Debug)]
pub enum Heard {
    Inventory { live: Vec<Live>, ended: Vec<Ended> },
    InventoryEnd { pid: u64, version: String },
    Started { key: Key, pid: u32 },
    Ended(Ended),
}

/// What a runner is told.
#[derive(Debug)]
pub enum Told {
    Attach,
    Start { key: Key, task: String, argv: Vec<String> },
    Stop { key: Key },
    Forget { key: Key },
    Shutdown,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Live {
    pub key: Key,
    pub pid: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub key: Key,
    pub task: String,
    pub pid: u32,
    /// The exit code, unless a signal ended it.
    pub exited: Option<i64>,
    pub stopped: bool,
}

/// Takes a hello off the front, if it is whole: one that speaks protocol 1.
pub fn take_hello(bytes: &mut Vec<u8>) -> bool {
    let Some(length) = bytes.get(16).map(|length| 17 + usize::from(*length)) else {
        return false;
    };
    if bytes.len() < length {
        return false;
    }
    assert_eq!(&bytes[..4], b"TSKD");
    let (lowest, highest) = (bytes[4], bytes[6]);
    assert!(
        bytes[5] == 0 && lowest <= 1 && (1 <= highest || bytes[7] > 0),
        "it does not speak protocol 1 any more"
    );
    bytes.drain(..length);
    true
}

/// Takes a frame off the front, if it is whole: its message.
pub fn take_frame(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?);
    let end = 4 + usize::try_from(length).expect("it fits");
    if bytes.len() < end {
        return None;
    }
    assert_eq!(bytes[4], 1, "it is no message");
    let message = bytes[5..end].to_vec();
    bytes.drain(..end);
    Some(message)
}

pub fn of_runner(message: &[u8]) -> Heard {
    let mut bytes = Bytes(message);
    match bytes.number() {
        0 => Heard::Inventory {
            live: bytes.list(|bytes| live(bytes.record())),
            ended: bytes.list(|bytes| ended(bytes.record())),
        },
        1 => {
            let mut info = bytes.record();
            let (_instance, pid) = (info.number(), info.number());
            Heard::InventoryEnd {
                pid,
                version: info.text(),
            }
        }
        2 => Heard::Started {
            key: bytes.key(),
            pid: bytes.pid(),
        },
        3 => Heard::Ended(ended(bytes.record())),
        other => panic!("a daemon of version 0.1.0 does not understand message {other}"),
    }
}

pub fn of_daemon(message: &[u8]) -> Told {
    let mut bytes = Bytes(message);
    match bytes.number() {
        0 => Told::Attach,
        1 => {
            let mut start = bytes.record();
            let (key, task, _trigger) = (start.key(), start.text(), start.text());
            let (_fire_time, _created) = (start.option(Bytes::number), start.number());
            start.skip_wide(16);
            let argv = match start.number() {
                0 => start.list(Bytes::text),
                other => panic!("a runner of version 0.1.0 does not know action {other}, or as a shell's"),
            };
            Told::Start { key, task, argv }
        }
        2 => Told::Stop { key: bytes.key() },
        3 => Told::Forget { key: bytes.key() },
        4 => Told::Shutdown,
        other => panic!("a runner of version 0.1.0 does not understand message {other}"),
    }
}

/// What stands first in both, but for its end.
fn origin(bytes: &mut Bytes<'_>) -> (Key, String) {
    let mut origin = bytes.record();
    (origin.key(), origin.text())
}

fn live(mut bytes: Bytes<'_>) -> Live {
    let (key, _task) = origin(&mut bytes);
    Live { key, pid: bytes.pid() }
}

fn ended(mut bytes: Bytes<'_>) -> Ended {
    let (key, task) = origin(&mut bytes);
    let pid = bytes.pid();
    let (_started, _finished) = (bytes.number(), bytes.number());
    let exited = match bytes.number() {
        0 => Some(bytes.signed()),
        1 => {
            bytes.signed();
            None
        }
        other => panic!("a daemon of version 0.1.0 does not know end {other}, or as a failed start"),
    };
    Ended {
        key,
        task,
        pid,
        exited,
        stopped: bytes.number() == 1,
    }
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// So many bytes, the lowest first.
    fn wide(&mut self, bytes: usize) -> u64 {
        self.take(bytes)
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn number(&mut self) -> u64 {
        match self.take(1)[0] {
            0xfb => self.wide(2),
            0xfc => self.wide(4),
            0xfd => self.wide(8),
            small => small.into(),
        }
    }

    /// One of up to 16 bytes, whose value does not matter.
    fn skip_wide(&mut self, bytes: usize) {
        match self.0[0] {
            0xfe => drop(self.take(1 + bytes)),
            _ => drop(self.number()),
        }
    }

    fn signed(&mut self) -> i64 {
        let number = self.number();
        let half = i64::try_from(number >> 1).expect("it fits");
        if number & 1 == 0 { half } else { -half - 1 }
    }

    fn pid(&mut self) -> u32 {
        self.number().try_into().expect("a process id")
    }

    fn length(&mut self) -> usize {
        self.number().try_into().expect("it fits")
    }

    fn text(&mut self) -> String {
        let length = self.length();
        String::from_utf8(self.take(length).to_vec()).expect("text")
    }

    fn key(&mut self) -> Key {
        (self.number(), self.number(), self.number())
    }

    fn option<T>(&mut self, read: impl Fn(&mut Self) -> T) -> Option<T> {
        (self.number() == 1).then(|| read(self))
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.length()).map(|_| read(self)).collect()
    }

    /// A record: its length, and its fields, those of later versions last.
    fn record(&mut self) -> Bytes<'a> {
        let length = self.length();
        Bytes(self.take(length))
    }
}
