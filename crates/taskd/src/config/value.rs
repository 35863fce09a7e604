//! The values of configuration keys: sizes, durations, levels, and the ranges they must lie in.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use taskd_core::size::parse_size;
use toml::Spanned;
use tracing_subscriber::filter::LevelFilter;

use super::error::Fault;

/// The units a size is said in. Powers of 1024 only: a limit that means two things is no limit.
const UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A number of bytes: `65536`, or `"64 KiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl Size {
    fn of_text(text: &str) -> Option<Size> {
        parse_size(text.trim()).ok().map(Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = UNITS
            .iter()
            .rev()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit))
            .unwrap_or(&UNITS[0]);
        write!(f, "{} {name}", self.0 / unit)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        struct Seen;
        impl Visitor<'_> for Seen {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 4096 or \"16 MiB\" (B, KiB, MiB, GiB, TiB)")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
                u64::try_from(number)
                    .map(Size)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                Size::of_text(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

/// A length of time: `"10s"`, `"1m 30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period(Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
        struct Seen;
        impl Visitor<'_> for Seen {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"10s\" or \"1m 30s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
                jiff::SignedDuration::from_str(text.trim())
                    .ok()
                    .and_then(|length| Duration::try_from(length).ok())
                    .map(Period)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

/// A level of the daemon log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(pub(super) LevelFilter);

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "error" => Ok(Level(LevelFilter::ERROR)),
            "warn" => Ok(Level(LevelFilter::WARN)),
            "info" => Ok(Level(LevelFilter::INFO)),
            "debug" => Ok(Level(LevelFilter::DEBUG)),
            "trace" => Ok(Level(LevelFilter::TRACE)),
            _ => Err(de::Error::invalid_value(
                Unexpected::Str(&text),
                &"one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
            )),
        }
    }
}

/// Holds values against their ranges, and says where in the text a wrong one stands.
pub(super) struct Checker<'a> {
    pub(super) text: &'a str,
}

impl Checker<'_> {
    pub(super) fn bytes(
        &self,
        key: &str,
        typed: Option<Spanned<Size>>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, Fault> {
        let Some(typed) = typed else { return Ok(default) };
        let (span, size) = (typed.span(), typed.into_inner());
        if range.contains(&size.0) {
            return Ok(size.0);
        }
        let (least, most) = (Size(*range.start()), Size(*range.end()));
        Err(self.outside(key, span, &size, &least, &most))
    }

    pub(super) fn count<T: TryFrom<i64>>(
        &self,
        key: &str,
        typed: Option<Spanned<i64>>,
        default: T,
        range: RangeInclusive<i64>,
    ) -> Result<T, Fault> {
        let Some(typed) = typed else { return Ok(default) };
        let (span, number) = (typed.span(), typed.into_inner());
        match T::try_from(number) {
            Ok(value) if range.contains(&number) => Ok(value),
            _ => Err(self.outside(key, span, &number, range.start(), range.end())),
        }
    }

    pub(super) fn period(
        &self,
        key: &str,
        typed: Option<Spanned<Period>>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, Fault> {
        let Some(typed) = typed else { return Ok(default) };
        let (span, Period(length)) = (typed.span(), typed.into_inner());
        if range.contains(&length) {
            return Ok(length);
        }
        let seconds = |length: &Duration| format!("{}s", length.as_secs_f64());
        Err(self.outside(
            key,
            span,
            &seconds(&length),
            &seconds(range.start()),
            &seconds(range.end()),
        ))
    }

    pub(super) fn absolute(&self, key: &str, typed: Option<Spanned<PathBuf>>) -> Result<Option<PathBuf>, Fault> {
        match typed {
            Some(path) if !path.get_ref().is_absolute() => {
                Err(
                    Fault::at(self.text, path.span(), format!("`{key}` must be an absolute path"))
                        .hinted("the daemon and its runner need not have the same working directory"),
                )
            }
            typed => Ok(typed.map(Spanned::into_inner)),
        }
    }

    fn outside(
        &self,
        key: &str,
        span: std::ops::Range<usize>,
        found: &dyn fmt::Display,
        least: &dyn fmt::Display,
        most: &dyn fmt::Display,
    ) -> Fault {
        let message = format!("`{key}` must lie between {least} and {most}; {found} does not");
        Fault::at(self.text, span, message)
    }
}
