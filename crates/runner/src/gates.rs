//! What of the machine is read before a start: its load, its memory, what it runs on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use taskd_wire::runner::Gates;

/// Memory is short where something waited for it more than this, in hundredths of a percent of the last ten seconds.
const PRESSURE_MAX: u64 = 1_000;

/// Where that is read.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) load: PathBuf,
    pub(crate) memory: PathBuf,
    /// It need not be there: not every kernel tells of pressure.
    pub(crate) pressure: PathBuf,
    /// A directory with one for each supply of power.
    pub(crate) power: PathBuf,
}

impl Default for Sources {
    fn default() -> Self {
        Sources {
            load: "/proc/loadavg".into(),
            memory: "/proc/meminfo".into(),
            pressure: "/proc/pressure/memory".into(),
            power: "/sys/class/power_supply".into(),
        }
    }
}

/// What could not be read.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) path: PathBuf,
    pub(crate) errno: i32,
}

impl Unread {
    fn new(path: &Path, error: &io::Error) -> Self {
        Unread {
            path: path.to_owned(),
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// It has not what it should have.
    fn other(path: &Path) -> Self {
        Unread {
            path: path.to_owned(),
            errno: libc::EPROTO,
        }
    }
}

/// Looks at all gates but those that are a command. Gives back the first that is closed, and what was read, as a sentence.
pub(crate) fn closed(gates: &Gates, sources: &Sources) -> Result<Option<String>, Unread> {
    if let Some(most) = gates.max_load {
        let load = load(&sources.load)?;
        if load > u64::from(most) {
            return Ok(Some(format!(
                "load {} is over {}",
                hundredths(load),
                hundredths(most.into())
            )));
        }
    }
    if let Some(least) = gates.min_memory {
        let available = available(&sources.memory)?;
        if available < least {
            let (available, least) = (size(available), size(least));
            return Ok(Some(format!("{available} of memory are available, less than {least}")));
        }
        if let Some(pressure) = pressure(&sources.pressure).filter(|pressure| *pressure > PRESSURE_MAX) {
            let (pressure, most) = (hundredths(pressure), hundredths(PRESSURE_MAX));
            return Ok(Some(format!("memory pressure {pressure} is over {most}")));
        }
    }
    if gates.on_ac_power && on_battery(&sources.power)? {
        return Ok(Some("the machine runs on battery".to_owned()));
    }
    Ok(None)
}

/// The load average of the last minute, in hundredths.
fn load(path: &Path) -> Result<u64, Unread> {
    let text = fs::read_to_string(path).map_err(|error| Unread::new(path, &error))?;
    let first = text.split_whitespace().next();
    first.and_then(in_hundredths).ok_or_else(|| Unread::other(path))
}

/// Bytes of memory that programs can have without swapping.
fn available(path: &Path) -> Result<u64, Unread> {
    let text = fs::read_to_string(path).map_err(|error| Unread::new(path, &error))?;
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = value.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib.saturating_mul(1024))
        .ok_or_else(|| Unread::other(path))
}

/// How much of the last ten seconds something waited for memory, in hundredths of a percent; `None` where nobody tells.
fn pressure(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    in_hundredths(some.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?)
}

/// Whether no mains feed the machine and a battery of its own does. One without either, as most, is fed by mains that
/// nobody tells of.
fn on_battery(path: &Path) -> Result<bool, Unread> {
    let supplies = match fs::read_dir(path) {
        Ok(supplies) => supplies,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Unread::new(path, &error)),
    };
    let mut discharges = false;
    for supply in supplies {
        let supply = supply.map_err(|error| Unread::new(path, &error))?.path();
        // One that was taken out meanwhile tells nothing any more.
        let says = |name: &str| fs::read_to_string(supply.join(name)).unwrap_or_default();
        match says("type").trim() {
            "Mains" | "USB" if says("online").trim() == "1" => return Ok(false),
            // That of a mouse says so.
            "Battery" if says("scope").trim() != "Device" => discharges |= says("status").trim() == "Discharging",
            _ => {}
        }
    }
    Ok(discharges)
}

fn in_hundredths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "00"));
    let part: u64 = match part.len() {
        2 => part.parse().ok()?,
        1 => part.parse::<u64>().ok()? * 10,
        _ => return None,
    };
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(part)
}

fn hundredths(number: u64) -> String {
    match number % 100 {
        0 => (number / 100).to_string(),
        part => format!("{}.{part:02}", number / 100),
    }
}

fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", tenths(1 << 20)),
        0x4000_0000.. => format!("{} GiB", tenths(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Machine(tempfile::tempdir().expect("room"));
            machine.says("load", "12.34 3.00 1.00 1/100 4711\n");
            machine.says("memory", "MemTotal:  4000000 kB\nMemAvailable:    2097152 kB\n");
            machine
        }

        fn says(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().expect("it is in one")).expect("room");
            fs::write(path, text).expect("room");
        }

        fn sources(&self) -> Sources {
            let at = |name| self.0.path().join(name);
            Sources {
                load: at("load"),
                memory: at("memory"),
                pressure: at("pressure"),
                power: at("power"),
            }
        }

        fn closed(&self, gates: Gates) -> Option<String> {
            closed(&gates, &self.sources()).expect("all of it is there")
        }

        fn fails(&self, gates: Gates) -> (PathBuf, i32) {
            let Unread { path, errno } = closed(&gates, &self.sources()).expect_err("it cannot be read");
            (path, errno)
        }
    }

    fn load_at_most(most: u32) -> Gates {
        Gates {
            max_load: Some(most),
            ..Gates::default()
        }
    }

    fn memory(least: u64) -> Gates {
        Gates {
            min_memory: Some(least),
            ..Gates::default()
        }
    }

    fn mains() -> Gates {
        Gates {
            on_ac_power: true,
            ..Gates::default()
        }
    }

    #[test]
    fn a_load_over_what_it_may_be_closes() {
        let machine = Machine::new();
        assert_eq!(machine.closed(load_at_most(1_234)), None);
        assert_eq!(
            machine.closed(load_at_most(1_233)).as_deref(),
            Some("load 12.34 is over 12.33")
        );
        assert_eq!(
            machine.closed(load_at_most(400)).as_deref(),
            Some("load 12.34 is over 4")
        );
        machine.says("load", "no number");
        assert_eq!(machine.fails(load_at_most(1)), (machine.sources().load, libc::EPROTO));
        fs::remove_file(machine.sources().load).expect("it is there");
        assert_eq!(machine.fails(load_at_most(1)), (machine.sources().load, libc::ENOENT));
        assert_eq!(machine.closed(Gates::default()), None, "it is not asked for");
    }

    #[test]
    fn little_memory_closes_and_so_does_pressure_on_it() {
        let machine = Machine::new();
        assert_eq!(machine.closed(memory(2 << 30)), None);
        let little = machine.closed(memory((2 << 30) + 1));
        assert_eq!(
            little.as_deref(),
            Some("2.0 GiB of memory are available, less than 2.0 GiB")
        );
        machine.says(
            "pressure",
            "some avg10=10.00 avg60=50.00 avg300=9.00 total=1\nfull avg10=99.00 avg60=0.00\n",
        );
        assert_eq!(machine.closed(memory(1)), None);
        machine.says(
            "pressure",
            "some avg10=15.20 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00\n",
        );
        assert_eq!(
            machine.closed(memory(1)).as_deref(),
            Some("memory pressure 15.20 is over 10")
        );
        machine.says("pressure", "");
        assert_eq!(machine.closed(memory(1)), None, "a kernel may not tell");
        machine.says("memory", "MemTotal: 5 kB\n");
        assert_eq!(machine.fails(memory(1)).1, libc::EPROTO);
    }

    #[test]
    fn a_battery_that_feeds_the_machine_closes() {
        let machine = Machine::new();
        assert_eq!(machine.closed(mains()), None, "there is nothing to tell of it");
        machine.says("power/BAT0/type", "Battery\n");
        machine.says("power/BAT0/status", "Discharging\n");
        assert_eq!(machine.closed(mains()).as_deref(), Some("the machine runs on battery"));
        machine.says("power/AC/type", "Mains\n");
        machine.says("power/AC/online", "0\n");
        assert!(machine.closed(mains()).is_some());
        machine.says("power/AC/online", "1\n");
        assert_eq!(machine.closed(mains()), None);
        machine.says("power/AC/online", "0\n");
        machine.says("power/BAT0/scope", "Device\n");
        assert_eq!(machine.closed(mains()), None, "it is that of a mouse");
        machine.says("power/BAT0/scope", "System\n");
        machine.says("power/BAT0/status", "Full\n");
        assert_eq!(machine.closed(mains()), None);
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([5 << 10, 3 << 19, 5 << 29].map(size), ["5 KiB", "1.5 MiB", "2.5 GiB"]);
    }
}
