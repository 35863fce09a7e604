//! The file system of control groups: where it is, what is in it, how its directories go.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use crate::notify::complain;
use crate::{clock, sweep};

/// Far more than any of those that are read whole has.
const RECORD: usize = 4096;

/// The directory of this process's own group. Nothing where there is no such file system, or this process has its group
/// outside of what can be seen of it.
pub(super) fn own() -> Option<PathBuf> {
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    let groups = fs::read("/proc/self/cgroup").ok()?;
    place(&mounts, &groups)
}

fn place(mounts: &[u8], groups: &[u8]) -> Option<PathBuf> {
    let mut groups = groups.split(|byte| *byte == b'\n');
    let path = groups.find_map(|line| line.strip_prefix(b"0::"))?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
    if path.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let end = fields.iter().position(|field| *field == b"-")?;
        if *fields.get(end + 1)? != b"cgroup2" {
            return None;
        }
        let below = path.strip_prefix(unescape(fields.get(3)?)).ok()?;
        Some(unescape(fields.get(4)?).join(below))
    })
}

/// Blanks and the like are written as three octal digits there.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            Some(_) | None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Has the groups below this one counted by as many of the controllers as it has itself. It can have none while it holds
/// processes, so this one, which must be the only one in it, moves to a group of its own.
pub(super) fn hand_on(dir: &Path, controllers: &[&str]) {
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let offered = read("cgroup.controllers");
    let offered: Vec<&str> = offered
        .split_whitespace()
        .filter(|offered| controllers.contains(offered))
        .collect();
    // The root of all groups has no type; it belongs to the machine.
    let is_ours = dir.join("cgroup.type").exists() && read("cgroup.procs").trim_end() == std::process::id().to_string();
    if !is_ours || offered.is_empty() {
        return;
    }
    let own = dir.join("runner");
    // One of an earlier runner may have been killed, and what such a group clones into another one is killed as well. It is
    // not there, or is in use.
    let _ = fs::remove_dir(&own);
    let moved = match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => write(&own.join("cgroup.procs"), "0"),
    };
    if moved.is_err() {
        return;
    }
    for controller in offered {
        // One that cannot be had counts nothing.
        let _ = write(&dir.join("cgroup.subtree_control"), &format!("+{controller}"));
    }
}

/// Opens a file that the kernel writes as one record, such as `cpu.stat`, and reads it with one call, since that is done
/// for each attempt. What is longer than [`RECORD`] bytes is cut.
pub(super) fn record(path: &Path) -> io::Result<(File, String)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let text = again(&file)?;
    Ok((file, text))
}

/// Reads such a file as it is now.
pub(super) fn again(file: &File) -> io::Result<String> {
    let mut room = [MaybeUninit::uninit(); RECORD];
    let (bytes, _) = rustix::io::pread(file, &mut room, 0)?;
    let text = str::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(text.to_owned())
}

pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}

pub(super) fn kill(dir: &Path) {
    // It fails where it is gone.
    let _ = write(&dir.join("cgroup.kill"), "1");
}

/// This group and all below it, each before those below it.
pub(super) fn below(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(dir) = all.get(next) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let dirs: Vec<PathBuf> = dirs.map(|entry| entry.path()).collect();
        all.extend(dirs);
        next += 1;
    }
    all
}

/// Removes a group with all below. Says whether it is gone.
pub(super) fn remove(dir: &Path) -> bool {
    let is_gone = |result: io::Result<()>| match result {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_gone(fs::remove_dir(dir)) {
        return true;
    }
    below(dir)
        .iter()
        .rev()
        .fold(false, |_, dir| is_gone(fs::remove_dir(dir)))
}

/// Kills and removes the groups in this directory that were made for this life of a runner.
pub(crate) fn clear_life(dir: &Path, life: u64) {
    let ours = format!("-{life:016x}-");
    clear(dir, |name| name.starts_with("taskd-") && name.contains(&ours));
}

/// Kills what is in the groups of these names in a directory, and removes them when it has ended. One that this process
/// is in itself is spared.
pub(crate) fn clear(dir: &Path, is_left: impl Fn(&str) -> bool) {
    let own = own();
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let left: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(&is_left))
        .map(|entry| entry.path())
        .filter(|dir| !own.as_ref().is_some_and(|own| own.starts_with(dir)))
        .collect();
    for dir in &left {
        kill(dir);
    }
    let deadline = clock::steady() + sweep::PATIENCE;
    let mut kept = 0;
    for dir in left {
        // Looked at first: what ends between the two cannot be what keeps it from being removed.
        while let Some(events) = populated(&dir) {
            let patience = deadline.saturating_duration_since(clock::steady());
            if patience.is_zero() {
                break;
            }
            let timeout = Timespec::try_from(patience).ok();
            let mut fds = [PollFd::new(&events, PollFlags::PRI)];
            // Whether it is empty or the time is up is seen above.
            let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        }
        if !remove(&dir) {
            kept += 1;
        }
    }
    if kept > 0 {
        complain(format_args!(
            "{kept} control groups in {} cannot be removed",
            dir.display()
        ));
    }
}

/// The file that tells when nothing lives in a group any more, if something does.
fn populated(dir: &Path) -> Option<File> {
    let (file, text) = record(&dir.join("cgroup.events")).ok()?;
    text.lines().any(|line| line == "populated 1").then_some(file)
}

/// The number behind a name at the beginning of a line.
pub(super) fn value(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The sum of the numbers behind a name, wherever it is.
pub(super) fn sum(text: &str, name: &str) -> u64 {
    let numbers = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
    numbers.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_wherever_the_file_system_is() {
        let hybrid: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                              32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                              41 31 0:38 / /mnt/two\\040words rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
        let at = |mounts: &[u8], groups: &[u8]| place(mounts, groups).map(|path| path.display().to_string());
        assert_eq!(at(hybrid, b"1:cpu:/x\n0::/\n").as_deref(), Some("/mnt/two words/"));
        assert_eq!(
            at(hybrid, b"0::/system.slice/a.service\n").as_deref(),
            Some("/mnt/two words/system.slice/a.service")
        );
        // Of a part only: a container's.
        let part: &[u8] = b"9 8 0:38 /box/7 /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(at(part, b"0::/box/7/job\n").as_deref(), Some("/sys/fs/cgroup/job"));
        assert_eq!(at(part, b"0::/elsewhere\n"), None);
        assert_eq!(at(hybrid, b"0::/../outside\n"), None);
        assert_eq!(at(hybrid, b"1:cpu:/x\n"), None, "none but of version 1");
        assert_eq!(at(b"31 23 0:28 / / rw - tmpfs tmpfs rw\n", b"0::/\n"), None);
    }

    #[test]
    fn what_groups_count_is_read() {
        let stat = "usage_usec 7\nuser_usec 5\nsystem_usec 2\n";
        assert_eq!((value(stat, "user_usec"), value(stat, "none")), (Some(5), None));
        let io = "8:0 rbytes=10 wbytes=1 rios=3\n8:16 rbytes=5 wbytes=0 rios=1\n";
        assert_eq!((sum(io, "rbytes="), sum(io, "wbytes="), sum("", "rbytes=")), (15, 1, 0));
    }
}
