//! Numbers of bytes as they are typed: `4096`, `64K`, `64KiB`, `64 KiB`.

/// The units of a size, each 1024 times the one before it, as both may be written. KB and MB are none of them: some mean
/// times 1000 by it.
const UNITS: [(&str, &str); 4] = [("K", "KiB"), ("M", "MiB"), ("G", "GiB"), ("T", "TiB")];

/// Why a text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSize {
    /// It does not begin with a number that can be read.
    Number,
    /// What stands behind the number is no unit.
    Unit {
        /// How many digits stand before it.
        digits: usize,
    },
    /// It is more than 64 bits hold.
    TooLarge,
}

/// Reads a number of bytes, with B, or with K, M, G, T or KiB, MiB, GiB, TiB behind it for times 1024. A blank may stand
/// before the unit, and case does not matter.
///
/// # Errors
/// [`NoSize`] says what it is not.
pub fn parse_size(text: &str) -> Result<u64, NoSize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| match number {
        "" => NoSize::Number,
        _ => NoSize::TooLarge,
    })?;
    let unit = unit.trim();
    let is_named = |name: &str| name.eq_ignore_ascii_case(unit);
    let power = match UNITS.iter().position(|(short, long)| is_named(short) || is_named(long)) {
        Some(at) => at + 1,
        None if unit.is_empty() || is_named("B") => 0,
        None => return Err(NoSize::Unit { digits }),
    };
    number.checked_mul(1 << (10 * power)).ok_or(NoSize::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_may_be_written_in_either_way() {
        for (power, names) in [
            (0, ["", "B", "b"]),
            (10, ["K", "KiB", " kib"]),
            (20, ["M", "MiB", "m"]),
            (30, ["G", "GiB", " g"]),
            (40, ["T", "TiB", "tIb"]),
        ] {
            for name in names {
                assert_eq!(parse_size(&format!("3{name}")), Ok(3 << power), "{name}");
            }
        }
        assert_eq!(parse_size("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn what_is_no_size_is_told_apart() {
        for text in ["", "G", "-1", "+1", " 1", "é"] {
            assert_eq!(parse_size(text), Err(NoSize::Number), "{text}");
        }
        for text in ["10MB", "10KB", "10P", "10.5G", "10é", "10KK"] {
            assert_eq!(parse_size(text), Err(NoSize::Unit { digits: 2 }), "{text}");
        }
        for text in ["18446744073709551616", "16777216T", "16777216TiB"] {
            assert_eq!(parse_size(text), Err(NoSize::TooLarge), "{text}");
        }
    }
}
