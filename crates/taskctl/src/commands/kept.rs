//! What was typed of what is kept of runs.

use taskd_core::size::{NoSize, parse_size};
use taskd_wire::definition::OutputKind;

use crate::args::Output;
use crate::error::Failure;

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
        parse_size(text).map_err(|error| {
            let whole = text.chars().count();
            match error {
                NoSize::Number => bad(field, text, (0, 1), "a size begins with a number"),
                NoSize::Unit { digits } => bad(field, text, (digits, whole - digits), "this is no unit of size"),
                NoSize::TooLarge => bad(field, text, (0, whole), "no disk has this size"),
            }
        })
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
    let cure = "write a size such as 4096, 64K or 1MiB (K, M, G, T or KiB, MiB, GiB, TiB, for times 1024)";
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
        assert_eq!(read("64K"), Ok(Some(Some(65_536))));
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
