//! What a child is given, and how its strings are laid out in the memory from which a launcher starts it.

use std::ffi::{CString, c_char, c_int};
use std::fmt;
use std::io::Write as _;
use std::ptr;

/// A string for the system with a NUL inside.
#[derive(Debug)]
pub(crate) struct HasNul;

/// Strings for `execve`, in one piece of memory that is used again for the next child.
#[derive(Debug, Default)]
pub(crate) struct CStrings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl CStrings {
    /// Takes all strings out.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }

    /// Adds one string made of these parts.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> Result<(), HasNul> {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.end(start)
    }

    /// Adds `NAME=value`.
    pub(crate) fn push_variable(&mut self, name: &str, value: impl fmt::Display) -> Result<(), HasNul> {
        let start = self.bytes.len();
        // Writing to memory does not fail.
        let _ = write!(self.bytes, "{name}={value}");
        self.end(start)
    }

    fn end(&mut self, start: usize) -> Result<(), HasNul> {
        if super::find(0, &self.bytes[start..]).is_some() {
            self.bytes.truncate(start);
            return Err(HasNul);
        }
        self.bytes.push(0);
        self.starts.push(start);
        Ok(())
    }

    /// The strings without their NULs.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.starts.iter().skip(1).copied().chain([self.bytes.len()]);
        self.starts
            .iter()
            .zip(ends)
            .map(|(start, end)| &self.bytes[*start..end - 1])
    }
}

/// What a child is to execute, with what and where.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The file.
    pub(crate) program: CString,
    /// Its arguments, the first of which is its name.
    pub(crate) argv: CStrings,
    /// Its environment, `NAME=value` each.
    pub(crate) env: CStrings,
    /// Its working directory.
    pub(crate) cwd: CString,
    /// The file that it reads, which it opens itself; `None` for what its place has.
    pub(crate) stdin: Option<CString>,
    /// Whom it becomes before it enters and opens these; `None` where it stays who its launcher is.
    pub(crate) identity: Option<Identity>,
    /// What is set before that.
    pub(crate) settings: Settings,
}

/// Whom a child becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: libc::uid_t,
    pub(crate) gid: libc::gid_t,
    /// All that it is in beside that one.
    pub(crate) groups: Vec<libc::gid_t>,
}

/// What a child has otherwise than its launcher; `None` for the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) umask: Option<libc::mode_t>,
    pub(crate) nice: Option<c_int>,
    /// As `ioprio_set` takes it.
    pub(crate) ioprio: Option<c_int>,
    pub(crate) oom_score_adjust: Option<Decimal>,
    /// Soft and hard limits of [`RESOURCES`], each in its place.
    pub(crate) limits: [Option<(libc::rlim_t, libc::rlim_t)>; RESOURCES.len()],
    pub(crate) no_new_privileges: bool,
    pub(crate) private_tmp: bool,
}

impl Settings {
    /// Whether the kernel sets something of it for all who share the memory of the child, unless that is a vfork's.
    pub(crate) fn is_shared(&self) -> bool {
        self.oom_score_adjust.is_some()
    }
}

/// A number as it is written to a file of the kernel: a child cannot make a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal {
    digits: [u8; Decimal::ROOM],
    length: usize,
}

impl Decimal {
    /// Any i32 fits.
    const ROOM: usize = 11;

    pub(crate) fn new(number: i32) -> Self {
        let mut digits = [0; Self::ROOM];
        let mut rest = digits.as_mut_slice();
        // OK because there is room for every number.
        let _ = write!(rest, "{number}");
        let length = Self::ROOM - rest.len();
        Decimal { digits, length }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }
}

/// The limits of the system, by their names in [`taskd_wire::runner::ResourceLimit`].
pub(crate) const RESOURCES: [(&str, c_int); 16] = [
    ("as", libc::RLIMIT_AS as c_int),
    ("core", libc::RLIMIT_CORE as c_int),
    ("cpu", libc::RLIMIT_CPU as c_int),
    ("data", libc::RLIMIT_DATA as c_int),
    ("fsize", libc::RLIMIT_FSIZE as c_int),
    ("locks", libc::RLIMIT_LOCKS as c_int),
    ("memlock", libc::RLIMIT_MEMLOCK as c_int),
    ("msgqueue", libc::RLIMIT_MSGQUEUE as c_int),
    ("nice", libc::RLIMIT_NICE as c_int),
    ("nofile", libc::RLIMIT_NOFILE as c_int),
    ("nproc", libc::RLIMIT_NPROC as c_int),
    ("rss", libc::RLIMIT_RSS as c_int),
    ("rtprio", libc::RLIMIT_RTPRIO as c_int),
    ("rttime", libc::RLIMIT_RTTIME as c_int),
    ("sigpending", libc::RLIMIT_SIGPENDING as c_int),
    ("stack", libc::RLIMIT_STACK as c_int),
];

impl Plan {
    /// Copies all of it into `room`. Gives back where it is and how many bytes it takes; nothing if it does not fit.
    pub(super) fn lay_out(&self, room: &mut [u8]) -> Option<(Layout, usize)> {
        let length = room.len();
        let mut room = Room(room);
        let layout = Layout {
            program: room.put(self.program.as_bytes_with_nul())?,
            argv: room.put_all(&self.argv)?,
            env: room.put_all(&self.env)?,
            cwd: room.put(self.cwd.as_bytes_with_nul())?,
            stdin: match &self.stdin {
                Some(path) => room.put(path.as_bytes_with_nul())?,
                None => ptr::null(),
            },
            identity: match &self.identity {
                Some(identity) => Some(room.put_identity(identity)?),
                None => None,
            },
            settings: self.settings,
        };
        Some((layout, length - room.0.len()))
    }
}

/// Where the strings of a [`Plan`] are, as `execve` and `chdir` take them, and the rest of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) program: *const c_char,
    pub(super) argv: *const *const c_char,
    pub(super) env: *const *const c_char,
    pub(super) cwd: *const c_char,
    /// Null where there is none.
    pub(super) stdin: *const c_char,
    pub(super) identity: Option<LaidOut>,
    pub(super) settings: Settings,
}

/// Where an [`Identity`] is, as `setgroups` takes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaidOut {
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
    pub(super) groups: *const libc::gid_t,
    pub(super) count: usize,
}

/// What is left of the memory.
struct Room<'a>(&'a mut [u8]);

impl Room<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<*const c_char> {
        let place = self.take(bytes.len())?;
        place.copy_from_slice(bytes);
        Some(place.as_ptr().cast())
    }

    /// The strings and the array of pointers to them that ends with null.
    fn put_all(&mut self, strings: &CStrings) -> Option<*const *const c_char> {
        const POINTER: usize = size_of::<*const c_char>();

        let bytes = self.put(&strings.bytes)?;
        self.take(self.0.as_ptr().align_offset(align_of::<*const c_char>()))?;
        let array = self.take((strings.starts.len() + 1).checked_mul(POINTER)?)?;
        let pointers = strings.starts.iter().map(|start| bytes.wrapping_add(*start));
        for (place, pointer) in array.chunks_exact_mut(POINTER).zip(pointers.chain([ptr::null()])) {
            place.copy_from_slice(&pointer.expose_provenance().to_ne_bytes());
        }
        Some(array.as_ptr().cast())
    }

    fn put_identity(&mut self, identity: &Identity) -> Option<LaidOut> {
        const GROUP: usize = size_of::<libc::gid_t>();

        let Identity { uid, gid, ref groups } = *identity;
        self.take(self.0.as_ptr().align_offset(align_of::<libc::gid_t>()))?;
        let array = self.take(groups.len().checked_mul(GROUP)?)?;
        for (place, group) in array.chunks_exact_mut(GROUP).zip(groups) {
            place.copy_from_slice(&group.to_ne_bytes());
        }
        Some(LaidOut {
            uid,
            gid,
            groups: array.as_ptr().cast(),
            count: groups.len(),
        })
    }

    fn take(&mut self, length: usize) -> Option<&mut [u8]> {
        self.0.split_off_mut(..length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_room() {
        for number in [0, 7, -1000, i32::MAX, i32::MIN] {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn what_does_not_fit_is_not_laid_out() {
        let mut plan = Plan {
            program: c"/bin/ls".into(),
            cwd: c"/tmp".into(),
            ..Plan::default()
        };
        plan.argv.push(&[b"ls"]).expect("no NUL");
        plan.argv.push(&[b"-l"]).expect("no NUL");
        plan.env.push(&[b"A", b"=", b"1"]).expect("no NUL");
        // The strings, a pointer for each, the two nulls behind these.
        let least = b"/bin/ls\0ls\0-l\0A=1\0/tmp\0".len() + 5 * size_of::<usize>();
        let most = least + 2 * align_of::<usize>();
        let mut memory = [0_u8; 256];
        let fits: Vec<bool> = (0..=memory.len())
            .map(|length| plan.lay_out(&mut memory[..length]).is_some())
            .collect();
        let enough = fits.iter().position(|fits| *fits).expect("it fits at last");
        assert!((least..most).contains(&enough), "{enough}");
        assert!(fits[enough..].iter().all(|fits| *fits));

        let (layout, length) = plan.lay_out(&mut memory).expect("it fits");
        assert_eq!(length, enough);
        assert_eq!(layout.program, memory.as_ptr().cast());
        assert!(memory.starts_with(b"/bin/ls\0ls\0-l\0"));
        assert!(layout.argv.is_aligned() && layout.env.is_aligned());
        assert!(layout.stdin.is_null() && layout.identity.is_none());
    }

    #[test]
    fn groups_are_laid_out_as_the_system_takes_them() {
        let groups = vec![7, 70_000, 65_534];
        // Behind a text of any length they have to be put where numbers may stand.
        for text in [c"", c"/", c"/a", c"/ab", c"/abc"] {
            let identity = Identity {
                uid: 1,
                gid: 2,
                groups: groups.clone(),
            };
            let plan = Plan {
                stdin: Some(text.into()),
                identity: Some(identity),
                ..Plan::default()
            };
            let mut memory = [0_u8; 256];
            let (layout, length) = plan.lay_out(&mut memory).expect("it fits");
            let laid_out = layout.identity.expect("there is one");
            assert!(laid_out.groups.is_aligned() && laid_out.count == groups.len());
            let from = laid_out.groups.addr() - memory.as_ptr().addr();
            let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
            assert_eq!(memory[from..length], bytes);
            assert!(plan.lay_out(&mut memory[..length - 1]).is_none());
        }
    }
}
