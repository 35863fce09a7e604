//! What the processes of an attempt may use together, set on its group before anything is in it.

use std::io;
use std::path::Path;

use taskd_wire::runner::Caps;

use super::files;

/// Over how long processor time is counted, in microseconds: what the system has where nobody says anything.
const PERIOD_US: u64 = 100_000;

/// Microseconds of each period that are a hundredth of a core.
const PERCENT_US: u64 = PERIOD_US / 100;

/// A cap that cannot be held to.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct NotCapped {
    /// Its option.
    pub(crate) cap: &'static str,
    problem: String,
    /// The system's error number.
    pub(crate) errno: i32,
}

impl NotCapped {
    /// Of a runner without groups.
    pub(crate) fn ungrouped(cap: &'static str) -> Self {
        NotCapped {
            cap,
            problem: "the runner has no control groups to hold it".to_owned(),
            errno: libc::EOPNOTSUPP,
        }
    }
}

/// The option of the first cap, where there is one.
pub(crate) fn first(caps: &Caps) -> Option<&'static str> {
    settings(caps).into_iter().next().map(|setting| setting.cap)
}

/// What is written for a cap.
struct Setting {
    cap: &'static str,
    controller: &'static str,
    file: &'static str,
    text: String,
    /// Whether a system without the file needs no such setting.
    may_lack: bool,
}

fn settings(caps: &Caps) -> Vec<Setting> {
    let Caps {
        memory_bytes,
        cpu_percent,
        pids,
    } = *caps;
    let of = |cap, controller, file, text| Setting {
        cap,
        controller,
        file,
        text,
        may_lack: false,
    };
    let memory = |file, text| of("memory-max", "memory", file, text);
    let mut settings = Vec::new();
    if let Some(bytes) = memory_bytes {
        // Who goes over it ends, whole: without its other half, and in place of creeping on by swapping.
        settings.push(memory("memory.oom.group", "1".to_owned()));
        settings.push(Setting {
            // It is not there where nothing can be swapped.
            may_lack: true,
            ..memory("memory.swap.max", "0".to_owned())
        });
        settings.push(memory("memory.max", bytes.to_string()));
    }
    if let Some(percent) = cpu_percent {
        let quota = u64::from(percent) * PERCENT_US;
        settings.push(of("cpu-max", "cpu", "cpu.max", format!("{quota} {PERIOD_US}")));
    }
    if let Some(pids) = pids {
        settings.push(of("pids-max", "pids", "pids.max", pids.to_string()));
    }
    settings
}

/// Sets caps on a group that has these controllers.
pub(super) fn set(dir: &Path, caps: &Caps, controllers: &[&str]) -> Result<(), NotCapped> {
    for setting in settings(caps) {
        let Setting {
            cap,
            controller,
            file,
            text,
            may_lack,
        } = setting;
        if !controllers.contains(&controller) {
            let problem = format!("the runner's control groups have no controller {controller}");
            let errno = libc::EOPNOTSUPP;
            return Err(NotCapped { cap, problem, errno });
        }
        match files::write(&dir.join(file), &text) {
            Err(error) if may_lack && error.kind() == io::ErrorKind::NotFound => {}
            Ok(()) => {}
            Err(error) => {
                return Err(NotCapped {
                    cap,
                    problem: format!("{file} cannot be set"),
                    errno: error.raw_os_error().unwrap_or(libc::EIO),
                });
            }
        }
    }
    Ok(())
}

/// Whether something in a group was killed since the group had no memory left.
pub(super) fn killed_for_memory(events: &str) -> bool {
    let count = |name: &str| files::value(events, name).unwrap_or(0);
    // A kill alone may be for a limit above it, or for want of memory on the machine.
    count("oom") > 0 && count("oom_kill") > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_written_as_the_system_reads_them() {
        let caps = Caps {
            memory_bytes: Some(512 << 20),
            cpu_percent: Some(150),
            pids: Some(32),
        };
        let dir = tempfile::tempdir().expect("room");
        let files = ["memory.oom.group", "memory.max", "cpu.max", "pids.max"];
        for file in files {
            std::fs::write(dir.path().join(file), "").expect("room");
        }
        set(dir.path(), &caps, &["cpu", "memory", "pids"]).expect("all can be written");
        let texts = files.map(|file| std::fs::read_to_string(dir.path().join(file)).expect("it is there"));
        assert_eq!(texts, ["1", "536870912", "150000 100000", "32"]);
        assert!(!dir.path().join("memory.swap.max").exists());
    }

    #[test]
    fn a_cap_that_cannot_be_held_to_is_an_error() {
        let dir = tempfile::tempdir().expect("room");
        let caps = Caps {
            pids: Some(32),
            ..Caps::default()
        };
        let error = set(dir.path(), &caps, &["memory"]).expect_err("it has no such controller");
        assert_eq!((error.cap, error.errno), ("pids-max", libc::EOPNOTSUPP));
        assert!(error.to_string().contains("no controller pids"), "{error}");
        let error = set(dir.path(), &caps, &["pids"]).expect_err("there is no such file");
        assert_eq!((error.cap, error.errno), ("pids-max", libc::ENOENT));
        assert!(set(dir.path(), &Caps::default(), &[]).is_ok());
        assert_eq!((first(&caps), first(&Caps::default())), (Some("pids-max"), None));
    }

    #[test]
    fn a_kill_for_its_own_cap_is_told_from_others() {
        assert!(killed_for_memory(
            "low 0\nhigh 0\nmax 9\noom 1\noom_kill 3\noom_group_kill 1\n"
        ));
        // That of the machine.
        assert!(!killed_for_memory("low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n"));
        // What only had to give up cached files, or was refused.
        assert!(!killed_for_memory("low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\n"));
        assert!(!killed_for_memory(""));
    }
}
