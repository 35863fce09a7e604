//! Results that the daemon has not yet acknowledged.
//!
//! They are held in memory, and in a spool file, `spool/<instance>.jsonl` below the state directory, from the moment
//! that no daemon is there to take them: then only the disk may lose them. Each line of a file is one result; a file is
//! removed when all of its results are acknowledged. A new life of the runner takes over what it finds where it is, so
//! that it needs no room for that; a result may then be handed over again that was acknowledged in the life before, and
//! the daemon knows it by its key.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use taskd_wire::codec::Tail;
use taskd_wire::runner::{AttemptKey, End, Ended, Origin, TimeUp, TreeUsage};

use crate::notify::complain;

/// A result and the spool file it is in.
#[derive(Debug)]
struct Kept {
    ended: Ended,
    file: Option<PathBuf>,
    /// Where it is said to have begun, if that was in this life: as long as the daemon has no word of its end, for a file may
    /// be lost or damaged.
    slot: Option<usize>,
}

/// A spool file.
#[derive(Clone, Copy, Debug, Default)]
struct Spooled {
    /// How many results in it are not acknowledged.
    kept: usize,
    /// Whether it holds lines that are no results.
    is_broken: bool,
}

/// All results not yet acknowledged.
#[derive(Debug)]
pub(crate) struct Results {
    kept: BTreeMap<AttemptKey, Kept>,
    /// How many of them are in no file.
    loose: usize,
    /// Where such are said to have begun as need not be any more.
    freed: Vec<usize>,
    directory: PathBuf,
    /// Where this life writes.
    path: PathBuf,
    spool: Option<File>,
    files: BTreeMap<PathBuf, Spooled>,
    /// Whether something was written that may not be on the disk yet.
    unsynced: bool,
    /// Whether the name of the file may not be on the disk yet.
    nameless: bool,
}

impl Results {
    /// Takes over what earlier lives left in `directory`, which is made if need be.
    pub(crate) fn open(directory: &Path, instance: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut results = Results {
            kept: BTreeMap::new(),
            loose: 0,
            freed: Vec::new(),
            directory: directory.to_owned(),
            path: directory.join(format!("{instance:016x}.jsonl")),
            spool: None,
            files: BTreeMap::new(),
            unsynced: false,
            nameless: false,
        };
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                results.take_over(&path)?;
            }
        }
        Ok(results)
    }

    /// Moves what a runner left that is gone for good into `directory`, for [`open`](Self::open) to find. What cannot be
    /// moved stays for the next one that looks.
    pub(crate) fn inherit(directory: &Path, from: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let left = match fs::read_dir(from) {
            Ok(left) => left,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in left {
            // Named by the life that wrote it, so no other has the name.
            let entry = entry?;
            fs::rename(entry.path(), directory.join(entry.file_name()))?;
        }
        fs::remove_dir(from)
    }

    /// Reads a spool of an earlier life. A last line without its end was being written when that life ended. Any other
    /// line that cannot be read means that somebody else wrote here; the file is kept aside for people to look at.
    fn take_over(&mut self, path: &Path) -> io::Result<()> {
        let text = fs::read(path)?;
        let mut spooled = Spooled::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match serde_json::from_slice::<Line>(line) {
                Ok(line) => {
                    let ended = Ended::from(line);
                    let key = ended.origin.key;
                    let file = Some(path.to_owned());
                    spooled.kept += 1;
                    match self
                        .kept
                        .insert(
                            key,
                            Kept {
                                ended,
                                file,
                                slot: None,
                            },
                        )
                        .and_then(|earlier| earlier.file)
                    {
                        Some(earlier) if earlier == path => spooled.kept -= 1,
                        Some(earlier) => self.release(&earlier),
                        None => {}
                    }
                }
                Err(_) if !line.ends_with(b"\n") => {}
                Err(_) => spooled.is_broken = true,
            }
        }
        if spooled.is_broken {
            complain(format_args!(
                "{} holds lines that are no results; when its results are acknowledged it is kept as {}",
                path.display(),
                aside(path).display()
            ));
        }
        // One more, so that a file without any goes now.
        spooled.kept += 1;
        self.files.insert(path.to_owned(), spooled);
        self.release(path);
        Ok(())
    }

    /// One of a file's results is no longer kept there.
    fn release(&mut self, path: &Path) {
        let Some(spooled) = self.files.get_mut(path) else {
            return;
        };
        spooled.kept -= 1;
        if spooled.kept > 0 {
            return;
        }
        // If it stays, a later life hands over results that the daemon knows.
        let _ = if spooled.is_broken {
            fs::rename(path, aside(path))
        } else {
            fs::remove_file(path)
        };
        self.files.remove(path);
        if path == self.path {
            self.spool = None;
            self.unsynced = false;
        }
    }

    pub(crate) fn contains(&self, key: &AttemptKey) -> bool {
        self.kept.contains_key(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Ended> {
        self.kept.values().map(|kept| &kept.ended)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps a result until it is acknowledged, and with it the slot where it is said to have begun.
    pub(crate) fn keep(&mut self, ended: Ended, slot: Option<usize>) {
        self.forget(&ended.origin.key);
        let file = None;
        // Whoever does not know that a gate was closed looks again, and that is the same attempt.
        let slot = if ended.gate.0.is_some() {
            self.freed.extend(slot);
            None
        } else {
            slot
        };
        self.kept.insert(ended.origin.key, Kept { ended, file, slot });
        self.loose += 1;
    }

    /// The daemon has it.
    pub(crate) fn forget(&mut self, key: &AttemptKey) {
        let Some(kept) = self.kept.remove(key) else { return };
        self.freed.extend(kept.slot);
        match kept.file {
            Some(file) => self.release(&file),
            None => self.loose -= 1,
        }
    }

    /// This attempt had begun after a gate of its was closed, if it was: that it was is no news, and not its end.
    pub(crate) fn forget_look(&mut self, key: &AttemptKey) {
        if self.kept.get(key).is_some_and(|kept| kept.ended.gate.0.is_some()) {
            self.forget(key);
        }
    }

    /// The slots that are no longer needed.
    pub(crate) fn freed(&mut self) -> impl Iterator<Item = usize> {
        self.freed.drain(..)
    }

    /// Nobody is there to take them: writes what is in no spool. What cannot be written stays in memory and is tried
    /// again with the next call.
    pub(crate) fn spool(&mut self) -> io::Result<()> {
        if self.loose == 0 {
            return Ok(());
        }
        let file = match &mut self.spool {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                let file = options.append(true).create(true).mode(0o600).open(&self.path)?;
                self.nameless = true;
                self.spool.insert(file)
            }
        };
        for kept in self.kept.values_mut().filter(|kept| kept.file.is_none()) {
            let mut line = serde_json::to_vec(&Line::from(&kept.ended))?;
            line.push(b'\n');
            let length = file.metadata()?.len();
            if let Err(error) = file.write_all(&line) {
                // Half a line in the middle would be taken for damage.
                file.set_len(length)?;
                return Err(error);
            }
            kept.file = Some(self.path.clone());
            self.loose -= 1;
            self.files.entry(self.path.clone()).or_default().kept += 1;
            self.unsynced = true;
        }
        Ok(())
    }

    /// Makes what was spooled durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = self.spool.as_ref().filter(|_| self.unsynced) {
            file.sync_data()?;
            self.unsynced = false;
        }
        if self.nameless && self.spool.is_some() {
            File::open(&self.directory)?.sync_all()?;
            self.nameless = false;
        }
        Ok(())
    }
}

/// Where a file goes that holds more than results.
fn aside(path: &Path) -> PathBuf {
    path.with_extension("broken")
}

/// A result as the spool holds it. Fields only append, each with a default; without its key and its end it is none.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    task_id: u64,
    run: u64,
    attempt: u32,
    #[serde(default)]
    task: String,
    #[serde(default)]
    trigger: String,
    #[serde(default)]
    fire_time_ms: Option<i64>,
    #[serde(default)]
    created_ms: i64,
    /// 32 hex digits.
    #[serde(default)]
    trace_id: String,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    started_ms: i64,
    #[serde(default)]
    finished_ms: i64,
    end: LineEnd,
    #[serde(default)]
    stopped: bool,
    #[serde(default)]
    max_rss_kib: u64,
    #[serde(default)]
    user_us: u64,
    #[serde(default)]
    system_us: u64,
    #[serde(default)]
    output_bytes: u64,
    #[serde(default)]
    output_lost: u64,
    #[serde(default)]
    time_up: Option<LineTimeUp>,
    #[serde(default)]
    memory_peak_kib: Option<u64>,
    #[serde(default)]
    read_bytes: Option<u64>,
    #[serde(default)]
    written_bytes: Option<u64>,
    #[serde(default)]
    peak_pids: Option<u64>,
    #[serde(default)]
    gate: Option<String>,
    #[serde(default)]
    over_memory: Option<u64>,
    #[serde(default)]
    output_kept: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LineTimeUp {
    Timeout,
    Deadline,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LineEnd {
    Exited(i32),
    Signalled(i32),
    SpawnFailed { errno: i32, what: String },
}

impl From<&Ended> for Line {
    fn from(ended: &Ended) -> Self {
        let Origin {
            key,
            task,
            trigger,
            fire_time_ms,
            created_ms,
            trace_id,
        } = &ended.origin;
        Line {
            task_id: key.task,
            run: key.run,
            attempt: key.attempt,
            task: task.clone(),
            trigger: trigger.clone(),
            fire_time_ms: *fire_time_ms,
            created_ms: *created_ms,
            trace_id: format!("{trace_id:032x}"),
            pid: ended.pid,
            started_ms: ended.started_ms,
            finished_ms: ended.finished_ms,
            end: match &ended.end {
                End::Exited(code) => LineEnd::Exited(*code),
                End::Signalled(signal) => LineEnd::Signalled(*signal),
                End::SpawnFailed { errno, what } => LineEnd::SpawnFailed {
                    errno: *errno,
                    what: what.clone(),
                },
            },
            stopped: ended.stopped,
            max_rss_kib: ended.max_rss_kib,
            user_us: ended.user_us,
            system_us: ended.system_us,
            output_bytes: ended.output_bytes,
            output_lost: ended.output_lost,
            time_up: ended.time_up.0.map(|up| match up {
                TimeUp::Timeout => LineTimeUp::Timeout,
                TimeUp::Deadline => LineTimeUp::Deadline,
            }),
            memory_peak_kib: ended.counted.0.memory_peak_kib,
            read_bytes: ended.counted.0.read_bytes,
            written_bytes: ended.counted.0.written_bytes,
            peak_pids: ended.counted.0.peak_pids,
            gate: ended.gate.0.clone(),
            over_memory: ended.over_memory.0,
            output_kept: ended.output_kept.0,
        }
    }
}

impl From<Line> for Ended {
    fn from(line: Line) -> Self {
        Ended {
            origin: Origin {
                key: AttemptKey {
                    task: line.task_id,
                    run: line.run,
                    attempt: line.attempt,
                },
                task: line.task,
                trigger: line.trigger,
                fire_time_ms: line.fire_time_ms,
                created_ms: line.created_ms,
                trace_id: u128::from_str_radix(&line.trace_id, 16).unwrap_or(0),
            },
            pid: line.pid,
            started_ms: line.started_ms,
            finished_ms: line.finished_ms,
            end: match line.end {
                LineEnd::Exited(code) => End::Exited(code),
                LineEnd::Signalled(signal) => End::Signalled(signal),
                LineEnd::SpawnFailed { errno, what } => End::SpawnFailed { errno, what },
            },
            stopped: line.stopped,
            max_rss_kib: line.max_rss_kib,
            user_us: line.user_us,
            system_us: line.system_us,
            output_bytes: line.output_bytes,
            output_lost: line.output_lost,
            time_up: Tail(line.time_up.map(|up| match up {
                LineTimeUp::Timeout => TimeUp::Timeout,
                LineTimeUp::Deadline => TimeUp::Deadline,
            })),
            counted: Tail(TreeUsage {
                memory_peak_kib: line.memory_peak_kib,
                read_bytes: line.read_bytes,
                written_bytes: line.written_bytes,
                peak_pids: line.peak_pids,
            }),
            gate: Tail(line.gate),
            over_memory: Tail(line.over_memory),
            output_kept: Tail(line.output_kept),
        }
    }
}

#[cfg(test)]
mod tests;
