//! Time zones for showing instants, read straight from their files. jiff's database would first look through the whole
//! tree of zones, which takes longer than everything else a call does; it is still asked where this does not suffice.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

const TREE: &str = "/usr/share/zoneinfo";

/// The zone of this process: `$TZ`, else the system's.
pub fn system() -> TimeZone {
    let variable = std::env::var_os("TZ");
    let quick = match variable.as_deref() {
        None => of_link(Path::new("/etc/localtime")),
        Some(text) => text
            .to_str()
            .map(|text| text.strip_prefix(':').unwrap_or(text))
            .and_then(named_in_tree),
    };
    quick.unwrap_or_else(TimeZone::system)
}

/// The zone of that name.
pub fn named(name: &str) -> Option<TimeZone> {
    named_in_tree(name).or_else(|| TimeZone::get(name).ok())
}

/// Where a link points into the tree of zones, the name is what the link says.
fn of_link(link: &Path) -> Option<TimeZone> {
    let target = std::fs::read_link(link).ok()?;
    let text = target.to_str()?;
    let (_, name) = text.split_once("/zoneinfo/")?;
    named_in_tree(name)
}

fn named_in_tree(name: &str) -> Option<TimeZone> {
    let harmless = |part: &OsStr| part != ".." && part != "." && part != "right" && part != "posix";
    let path = Path::new(name);
    if name.is_empty() || path.is_absolute() || !path.iter().all(harmless) {
        return None;
    }
    let tree = std::env::var_os("TZDIR").map_or_else(|| PathBuf::from(TREE), PathBuf::from);
    let data = std::fs::read(tree.join(path)).ok()?;
    TimeZone::tzif(name, &data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_from_its_file_is_the_one_of_the_database() {
        for name in ["Europe/Berlin", "Asia/Tokyo", "America/New_York", "UTC"] {
            let (ours, theirs) = (named(name).expect(name), TimeZone::get(name).expect(name));
            assert_eq!(ours.iana_name(), Some(name));
            for second in (0..2_000_000_000).step_by(9_876_543) {
                let at = jiff::Timestamp::from_second(second).expect("it is in range");
                assert_eq!(ours.to_offset(at), theirs.to_offset(at), "{name} {at}");
            }
        }
    }

    #[test]
    fn what_is_no_name_of_a_zone_is_none() {
        for name in [
            "",
            "../../../etc/passwd",
            "/etc/passwd",
            "right/UTC",
            "zone.tab",
            "Europe",
            "No/Where",
        ] {
            assert!(named_in_tree(name).is_none(), "{name}");
        }
    }
}
