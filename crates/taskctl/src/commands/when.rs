//! Instants as options give them: `--since 10m`, `--from 2027-03-27`.

use std::sync::Arc;

use taskd_core::Timestamp;
use taskd_core::schedule::{Zone, Zones, parse_duration, resolve_at};

use super::definition::columns;
use crate::error::Failure;
use crate::session::Session;

/// An instant in the past: so long ago, or a time. A time of day alone is one of today.
pub fn past(field: &str, text: &str, session: &Session) -> Result<i64, Failure> {
    if let Ok(length) = parse_duration(text) {
        return Ok(session.now().minus(length).as_millis());
    }
    let is_time_of_day = text.contains(':') && text.chars().all(|c| c.is_ascii_digit() || c == ':' || c == '.');
    if is_time_of_day {
        let failure = |_| Failure::field(field, text, None, "there is no such time of day", None);
        return resolve(field, &format!("today {text}"), session)
            .map(Timestamp::as_millis)
            .map_err(failure);
    }
    resolve(field, text, session).map(Timestamp::as_millis)
}

/// An instant to come: so long from now, or a time.
pub fn coming(field: &str, text: &str, session: &Session) -> Result<i64, Failure> {
    if let Ok(length) = parse_duration(text) {
        return Ok(session.now().plus(length).as_millis());
    }
    resolve(field, text, session).map(Timestamp::as_millis)
}

/// The instants that a time in the past or to come may mean: all of its minute where it is written without seconds, and
/// all of its second where it has no fraction of one.
pub fn window(field: &str, text: &str, session: &Session) -> Result<(i64, i64), Failure> {
    let from = past(field, text, session)?;
    let time = text.rsplit(['T', 't', ' ']).next().unwrap_or(text);
    let time = time.split(['+', '-', 'Z', 'z', '[']).next().unwrap_or(time);
    let length = match time.matches(':').count() {
        1 => 60_000,
        _ if time.contains('.') || parse_duration(text).is_ok() => 1,
        _ => 1_000,
    };
    Ok((from, from + length - 1))
}

/// An instant, or a local time of the reader.
pub fn resolve(field: &str, text: &str, session: &Session) -> Result<Timestamp, Failure> {
    let mut zones = Zones::new(jiff::tz::db().clone());
    let zone = zone_name(session);
    let resolved = resolve_at(text, &zone, session.now(), &mut zones);
    resolved.map(|resolved| resolved.at).map_err(|error| {
        let whole = error.span.0 == error.span.1;
        let span = if whole {
            (0, text.chars().count() as u32)
        } else {
            columns(error.span)
        };
        Failure::field(field, text, Some(span), &error.problem(), error.cure().as_deref())
    })
}

/// The zone that an expression is read in: the one that was typed, else the reader's.
pub fn zone(typed: Option<&str>, session: &mut Session) -> Result<Arc<Zone>, Failure> {
    let mut known = Zones::new(jiff::tz::db().clone());
    let name = typed.map(str::to_owned).or_else(|| own_zone(session));
    let name = name.unwrap_or_else(|| {
        session.remark("your time zone has no name in the tz database: UTC is taken; --tz names another");
        "UTC".to_owned()
    });
    known.get(&name).map_err(|unknown| {
        let failure = Failure::field("tz", &unknown.name, None, "there is no such time zone", None);
        match unknown.near {
            Some(near) => failure.hint(format!("did you mean {near}?")),
            None => failure.hint("names are those of the tz database, such as Europe/Berlin or UTC"),
        }
    })
}

/// The reader's zone by name; UTC where it has none.
pub fn zone_name(session: &Session) -> String {
    own_zone(session).unwrap_or_else(|| "UTC".to_owned())
}

/// The same, or nothing where the reader's zone has no name in the tz database.
pub fn own_zone(session: &Session) -> Option<String> {
    let zone = session.zone();
    let name = zone.iana_name().filter(|name| *name != "Etc/Unknown");
    name.map(str::to_owned)
}
