//! What the processes of a task are given beside arguments, variables and a directory: a user, files of variables, a mask for new
//! files, priorities, limits of the system, fewer rights.
//!
//! It is read from what was typed here, and nothing is decided by it: the runner sees to it.

pub mod caps;
mod user;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::schedule::nearest::nearest;
use crate::size::parse_size;
use crate::words::words;
use caps::Caps;

pub use user::{USER_MAX, nearest_user, parse_user};

/// The highest mask for new files.
pub const UMASK_MAX: u32 = 0o777;

/// The least and the most that may be chosen of `nice`: the higher, the more others come first.
pub const NICE: (i32, i32) = (-20, 19);

/// The least and the most that may be chosen of the OOM score adjustment: the higher, the sooner it is killed for memory.
pub const OOM_SCORE_ADJUST: (i32, i32) = (-1000, 1000);

/// The lowest priority within a class of I/O; 0 is the highest.
pub const IO_LEVEL_MAX: u8 = 7;

/// Most files of variables of one task.
pub const ENV_FILES_MAX: usize = 16;

/// Most bytes of a text that is read from standard input. What is longer is better kept in a file.
pub const STDIN_MAX: usize = 32 << 10;

/// What its processes are given. `None` leaves what the runner has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The permissions that files it makes do not get, at most [`UMASK_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Its priority for the processor, within [`NICE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
    /// Its priority for disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<IoPriority>,
    /// Within [`OOM_SCORE_ADJUST`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adjust: Option<i32>,
    /// Limits of the system, each resource once, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// Whether no program it executes gets more rights than it has, as by set-user-id.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_new_privileges: bool,
    /// Whether it has no variables but those of the task and of the run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clear_env: bool,
    /// Files of variables that are read at each start, at most [`ENV_FILES_MAX`]; of two that set the same the later counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_files: Vec<EnvFile>,
    /// What it reads; `None` for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Stdin>,
    /// Whether it has `/tmp` and `/var/tmp` for itself, empty when it begins and gone when it has ended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub private_tmp: bool,
    /// The user it runs as, by name or number, as [`parse_user`] reads it; `None` for the runner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What all of them may use together.
    #[serde(default, skip_serializing_if = "Caps::is_none")]
    pub caps: Caps,
}

/// What a process reads from its standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Stdin {
    /// A text of at most [`STDIN_MAX`] bytes.
    Text {
        /// It.
        text: String,
    },
    /// A file, opened at each start.
    File {
        /// Where it is, absolute.
        path: String,
    },
}

impl Stdin {
    /// Reads a text, or a path behind `@`; `@@` begins a text that begins with `@`. `None` for a path that is not absolute.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        match typed.strip_prefix('@') {
            Some(rest) if !rest.starts_with('@') => {
                (rest.starts_with('/') && !rest.contains('\0')).then(|| Stdin::File { path: rest.to_owned() })
            }
            Some(text) => Some(Stdin::Text { text: text.to_owned() }),
            None => Some(Stdin::Text { text: typed.to_owned() }),
        }
    }
}

impl fmt::Display for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stdin::Text { text } if text.starts_with('@') => write!(f, "@{text}"),
            Stdin::Text { text } => f.write_str(text),
            Stdin::File { path } => write!(f, "@{path}"),
        }
    }
}

/// A file of variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvFile {
    /// Where it is, absolute.
    pub path: String,
    /// Whether it need not be there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

impl EnvFile {
    /// Reads a path, with `-` before it where the file need not be there. `None` for a path that is not absolute.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (path, optional) = match text.strip_prefix('-') {
            Some(path) => (path, true),
            None => (text, false),
        };
        (path.starts_with('/') && !path.contains('\0')).then(|| EnvFile {
            path: path.to_owned(),
            optional,
        })
    }
}

impl fmt::Display for EnvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.optional { "-" } else { "" };
        write!(f, "{sign}{}", self.path)
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Process {
    /// Whether nothing was chosen.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Process::default()
    }

    /// Sets a limit, in the place of one for the same resource.
    pub fn set_limit(&mut self, limit: Limit) {
        self.unset_limit(limit.resource);
        self.limits.push(limit);
        self.limits.sort_unstable_by_key(|limit| limit.resource);
    }

    /// Takes the limit of a resource away.
    pub fn unset_limit(&mut self, resource: Resource) {
        self.limits.retain(|limit| limit.resource != resource);
    }
}

words! {
    /// Whose I/O comes first.
    IoClass {
        /// Before all others.
        Realtime = "realtime",
        /// As it is shared out by default.
        BestEffort = "best-effort",
        /// When nobody else has any.
        Idle = "idle",
    }
}

/// A priority for disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IoPriority {
    /// The class.
    pub class: IoClass,
    /// The priority within it, from 0 to [`IO_LEVEL_MAX`]; 0 of [`IoClass::Idle`], which has but one.
    #[serde(default)]
    pub level: u8,
}

/// The level of a class where none is said, as `ionice` has it.
const IO_LEVEL: u8 = 4;

impl IoPriority {
    /// Reads `idle`, `best-effort`, `best-effort:0` to `:7`, `realtime`.
    ///
    /// # Errors
    /// [`Unreadable`] says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let (word, level) = match text.split_once(':') {
            Some((word, level)) => (word, Some(level)),
            None => (text, None),
        };
        let Some(class) = IoClass::from_word(word) else {
            let cure = match nearest(word, IoClass::ALL.iter().map(|class| class.word())) {
                Some(near) => format!("did you mean {near}?"),
                None => {
                    "write idle, best-effort, best-effort:0 to best-effort:7, or realtime:0 to realtime:7".to_owned()
                }
            };
            return Err(Unreadable::new(text, word, "this is no class of I/O", cure));
        };
        let level = match (class, level) {
            (IoClass::Idle, None) => 0,
            (IoClass::Idle, Some(level)) => {
                return Err(Unreadable::new(
                    text,
                    level,
                    "the class idle has no levels",
                    "write idle",
                ));
            }
            (IoClass::Realtime | IoClass::BestEffort, None) => IO_LEVEL,
            (IoClass::Realtime | IoClass::BestEffort, Some(typed)) => typed
                .parse()
                .ok()
                .filter(|level| *level <= IO_LEVEL_MAX && typed.len() == 1)
                .ok_or_else(|| {
                    let cure = "write a number from 0, which comes first, to 7";
                    Unreadable::new(text, typed, "this is no level of a class of I/O", cure)
                })?,
        };
        Ok(IoPriority { class, level })
    }
}

impl fmt::Display for IoPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class {
            IoClass::Idle => f.write_str(self.class.word()),
            IoClass::Realtime | IoClass::BestEffort => write!(f, "{}:{}", self.class, self.level),
        }
    }
}

words! {
    /// What the system limits, by the names that systemd, `prlimit` and `limits.conf` have for it.
    Resource {
        /// Bytes of address space.
        As = "as",
        /// Bytes of a core file.
        Core = "core",
        /// Seconds of processor time.
        Cpu = "cpu",
        /// Bytes of data.
        Data = "data",
        /// Bytes of a file it writes.
        Fsize = "fsize",
        /// Locks of files.
        Locks = "locks",
        /// Bytes of memory that is kept from being swapped.
        Memlock = "memlock",
        /// Bytes of message queues.
        Msgqueue = "msgqueue",
        /// 20 less the lowest `nice` it may give itself.
        Nice = "nice",
        /// Files open at once.
        Nofile = "nofile",
        /// Processes of its user.
        Nproc = "nproc",
        /// Bytes of resident memory; Linux does not hold to it.
        Rss = "rss",
        /// The highest real-time priority it may give itself.
        Rtprio = "rtprio",
        /// Microseconds of processor time in real-time classes between two waits.
        Rttime = "rttime",
        /// Signals that wait.
        Sigpending = "sigpending",
        /// Bytes of a stack.
        Stack = "stack",
    }
}

/// A limit of the system. `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// What holds.
    pub soft: Option<u64>,
    /// Up to where the process may raise that; not lower.
    pub hard: Option<u64>,
}

/// What stands for a limit that is none.
const UNLIMITED: &str = "unlimited";

impl Limit {
    /// Reads `NAME=SOFT` or `NAME=SOFT:HARD`, each a number as [`parse_size`] reads it, or `unlimited`.
    ///
    /// # Errors
    /// [`Unreadable`] says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let Some((name, value)) = text.split_once('=') else {
            let cure = "write it as nofile=1024, or nofile=1024:4096 with a hard limit";
            return Err(Unreadable::new(text, text, "this sets no limit", cure));
        };
        let resource = Self::resource(text, name)?;
        let (soft, hard) = match value.split_once(':') {
            Some((soft, hard)) => (amount(text, soft)?, amount(text, hard)?),
            None => (amount(text, value)?, amount(text, value)?),
        };
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            let cure = "write the soft limit first: SOFT:HARD";
            return Err(Unreadable::new(
                text,
                value,
                "the soft limit is above the hard one",
                cure,
            ));
        }
        Ok(Limit { resource, soft, hard })
    }

    /// Reads the name of a resource, with or without `RLIMIT_` before it; `text` is all that was typed.
    ///
    /// # Errors
    /// [`Unreadable`] says which it may have been meant to be.
    pub fn resource(text: &str, name: &str) -> Result<Resource, Unreadable> {
        let lower = name.to_ascii_lowercase();
        let word = lower.strip_prefix("rlimit_").unwrap_or(&lower);
        Resource::from_word(word).ok_or_else(|| {
            let all = Resource::ALL.iter().map(|resource| resource.word());
            let cure = match nearest(word, all.clone()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("write one of {}", all.collect::<Vec<_>>().join(", ")),
            };
            Unreadable::new(text, name, "this is no limit of the system", cure)
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |amount: Option<u64>| amount.map_or_else(|| UNLIMITED.to_owned(), |amount| amount.to_string());
        write!(f, "{}={}", self.resource, word(self.soft))?;
        if self.hard != self.soft {
            write!(f, ":{}", word(self.hard))?;
        }
        Ok(())
    }
}

/// Reads one side of a limit, a part of `text`.
fn amount(text: &str, part: &str) -> Result<Option<u64>, Unreadable> {
    if part == UNLIMITED || part == "infinity" {
        return Ok(None);
    }
    // The highest number is what the system has for unlimited.
    let scaled = parse_size(part).ok().filter(|number| *number < u64::MAX);
    scaled.map(Some).ok_or_else(|| {
        let cure = "write a number, with K, M, G or T behind it for times 1024, or unlimited";
        Unreadable::new(text, part, "this is no amount", cure)
    })
}

/// Reads a mask for new files, in octal digits.
///
/// # Errors
/// [`Unreadable`] says what is wrong, and where.
pub fn parse_umask(text: &str) -> Result<u32, Unreadable> {
    let is_octal = (1..=5).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mask = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mask.filter(|mask| *mask <= UMASK_MAX).ok_or_else(|| {
        let cure = "write three octal digits, such as 027";
        Unreadable::new(text, text, "this is no mask for new files", cure)
    })
}

/// Why what was typed cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Unreadable {
    /// The columns of what is wrong, from and to, in characters.
    pub span: (usize, usize),
    /// What is wrong.
    pub problem: &'static str,
    /// What to do.
    pub cure: String,
}

impl Unreadable {
    /// Of a part of a text.
    fn new(text: &str, part: &str, problem: &'static str, cure: impl Into<String>) -> Self {
        // OK because a part of a text begins within it.
        let before = part
            .as_ptr()
            .addr()
            .saturating_sub(text.as_ptr().addr())
            .min(text.len());
        let from = text.get(..before).map_or(0, |text| text.chars().count());
        Unreadable {
            span: (from, from + part.chars().count().max(1)),
            problem,
            cure: cure.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(resource: Resource, soft: Option<u64>, hard: Option<u64>) -> Limit {
        Limit { resource, soft, hard }
    }

    #[test]
    fn limits_are_read_and_written() {
        for (text, meant, written) in [
            (
                "nofile=1024",
                limit(Resource::Nofile, Some(1024), Some(1024)),
                "nofile=1024",
            ),
            (
                "RLIMIT_CORE=0:unlimited",
                limit(Resource::Core, Some(0), None),
                "core=0:unlimited",
            ),
            (
                "as=2GiB",
                limit(Resource::As, Some(2 << 30), Some(2 << 30)),
                "as=2147483648",
            ),
            ("nproc=infinity", limit(Resource::Nproc, None, None), "nproc=unlimited"),
        ] {
            assert_eq!(Limit::parse(text), Ok(meant), "{text}");
            assert_eq!(meant.to_string(), written);
            assert_eq!(Limit::parse(written), Ok(meant));
        }
    }

    #[test]
    fn what_is_no_limit_is_pointed_at_with_the_cure() {
        for (text, span, cure) in [
            ("nofiel=1", (0, 6), "did you mean nofile?"),
            ("disk=1", (0, 4), "write one of as, core, cpu"),
            ("nofile", (0, 6), "nofile=1024"),
            ("nofile=", (7, 8), "write a number"),
            ("nofile=-1", (7, 9), "write a number"),
            ("nofile=1:ü", (9, 10), "write a number"),
            ("nofile=2:1", (7, 10), "SOFT:HARD"),
            ("cpu=18446744073709551615", (4, 24), "unlimited"),
            ("as=99999999999T", (3, 15), "unlimited"),
        ] {
            let error = Limit::parse(text).expect_err(text);
            assert_eq!(error.span, span, "{text}");
            assert!(error.cure.contains(cure), "{text}: {error:?}");
        }
    }

    #[test]
    fn priorities_of_disks_are_read_and_written() {
        for (text, written) in [
            ("idle", "idle"),
            ("best-effort", "best-effort:4"),
            ("realtime:0", "realtime:0"),
            ("best-effort:7", "best-effort:7"),
        ] {
            assert_eq!(IoPriority::parse(text).map(|io| io.to_string()).as_deref(), Ok(written));
        }
        for (text, span) in [
            ("idel", (0, 4)),
            ("idle:1", (5, 6)),
            ("best-effort:8", (12, 13)),
            ("realtime:", (9, 10)),
            ("realtime:+1", (9, 11)),
        ] {
            assert_eq!(IoPriority::parse(text).expect_err(text).span, span, "{text}");
        }
    }

    #[test]
    fn a_mask_is_octal() {
        assert_eq!(parse_umask("027"), Ok(0o027));
        assert_eq!(parse_umask("0777"), Ok(0o777));
        for wrong in ["", "8", "1777", "0o27", "+22", "u=rwx"] {
            assert!(parse_umask(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn standard_input_is_a_text_or_a_file() {
        let text = |text: &str| Some(Stdin::Text { text: text.to_owned() });
        let file = Stdin::File { path: "/in".to_owned() };
        for (typed, meant) in [
            ("a @b", text("a @b")),
            ("", text("")),
            ("@@b", text("@b")),
            ("@/in", Some(file)),
            ("@in", None),
            ("@", None),
        ] {
            assert_eq!(Stdin::parse(typed), meant, "{typed}");
            assert!(meant.is_none_or(|meant| meant.to_string() == typed));
        }
    }

    #[test]
    fn a_resource_has_one_limit() {
        let mut process = Process::default();
        for text in ["stack=1", "as=1", "stack=2"] {
            process.set_limit(Limit::parse(text).expect("it is one"));
        }
        let texts: Vec<String> = process.limits.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["as=1", "stack=2"]);
        process.unset_limit(Resource::As);
        process.unset_limit(Resource::Cpu);
        assert_eq!(process.limits.len(), 1);
    }
}
