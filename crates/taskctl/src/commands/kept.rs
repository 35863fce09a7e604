//! What was typed of what is kept of runs.

use taskd_wire::definition::OutputKind;

use crate::args::Output;
use crate::error::Failure;

/// The units of a size, in powers of 1024 only.
const UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// What becomes of what runs write.
pub fn output(typed: Output) -> OutputKind {
    match typed {
        Output::Lines => OutputKind::Lines,
        Output::File => OutputKind::File,
        Output::Discard => OutputKind::Discard,
    }
}

/// The masks that were typed: all that the task is to have, where any was typed.
pub fn masks(typed: &[String]) -> Option<Vec<String>> {
    (!typed.is_empty()).then(|| typed.iter().filter(|pattern| !pattern.is_empty()).cloned().collect())
}

/// A size that was typed, in bytes; the inner `None` takes it away.
pub fn size(field: &str, typed: Option<&str>) -> Result<Option<Option<u64>>, Failure> {
    or_none(typed, |text| {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let Ok(number) = number.parse::<u64>() else {
            return Err(bad(field, text, (0, digits.max(1)), "a size begins with a number"));
        };
        let factor = match unit.trim() {
            "" => Some(1),
            unit => UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, n)| *n),
        };
        let Some(factor) = factor else {
            let width = unit.chars().count();
            return Err(bad(field, text, (digits, width), "this is no unit of size"));
        };
        let whole = (0, text.chars().count());
        number
            .checked_mul(factor)
            .ok_or_else(|| bad(field, text, whole, "no disk has this size"))
    })
}

/// A number that was typed; the inner `None` takes it away.
pub fn number(field: &str, typed: Option<&str>) -> Result<Option<Option<u64>>, Failure> {
    or_none(typed, |text| {
        text.parse().map_err(|_| {
            let whole = Some((0, u32::try_from(text.chars().count()).unwrap_or(u32::MAX)));
            Failure::field(
                field,
                text,
                whole,
                "this is no number",
                Some("write a number such as 50"),
            )
        })
    })
}

fn or_none<T>(typed: Option<&str>, read: impl Fn(&str) -> Result<T, Failure>) -> Result<Option<Option<T>>, Failure> {
    typed
        .map(|text| (!text.is_empty()).then(|| read(text)).transpose())
        .transpose()
}

fn bad(field: &str, text: &str, (from, width): (usize, usize), problem: &str) -> Failure {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let cure = "write a size such as 4096, 64KiB or 1MiB (B, KiB, MiB, GiB, TiB)";
    Failure::field(field, text, Some((narrow(from), narrow(width))), problem, Some(cure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_pointed_at() {
        let read = |text: &str| size("output-max", Some(text)).map_err(|failure| failure.human(false));
        assert_eq!(read("4096"), Ok(Some(Some(4096))));
        assert_eq!(read("64 kib"), Ok(Some(Some(65_536))));
        assert_eq!(read("1MiB"), Ok(Some(Some(1 << 20))));
        assert_eq!(read(""), Ok(Some(None)));
        let said = read("10MB").expect_err("it is no unit");
        assert!(
            said.contains("\n  --output-max 10MB\n                 ^^\nhint: "),
            "{said}"
        );
        assert!(read("x").is_err() && read("-1").is_err() && read("99999999999999TiB").is_err());
    }
}
