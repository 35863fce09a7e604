//! `taskctl calendar`

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use taskd_core::calendar::{Calendar, DaySpan, Entry, EntryError, Rule};
use taskd_wire::client::{CalendarDetail, CalendarInfo, Request, Response};

use super::{done, say_done};
use crate::args::{CalendarAddArgs, CalendarArgs, CalendarVerb};
use crate::calendar::{self as files, FILE_MAX, Fault};
use crate::error::{Exit, Failure, Result};
use crate::json;
use crate::out::JsonArray;
use crate::render::{counted, one_line};
use crate::session::Session;
use crate::zones;

/// Does what is asked of calendars.
pub fn run(args: &CalendarArgs, session: &mut Session) -> Result<()> {
    match &args.verb {
        CalendarVerb::Add(args) => add(args, session),
        CalendarVerb::List => list(session),
        CalendarVerb::Show(args) => show(&args.name, session),
        CalendarVerb::Remove(args) => remove(&args.names, session),
    }
}

fn add(args: &CalendarAddArgs, session: &mut Session) -> Result<()> {
    let mut entries = Vec::new();
    for rule in &args.rule {
        entries.push(Entry::Rule(
            Rule::parse(rule).map_err(|error| bad_entry("rule", rule, &error))?,
        ));
    }
    for day in &args.day {
        entries.push(Entry::Days(
            DaySpan::parse(day).map_err(|error| bad_entry("day", day, &error))?,
        ));
    }
    if let Some(path) = &args.file {
        let reading =
            files::read(&contents(path)?, session.now(), &zones::named).map_err(|fault| bad_file(path, &fault))?;
        for note in &reading.notes {
            session.remark(&note.to_string());
        }
        entries.extend(reading.calendar.days().map(Entry::Days));
        entries.extend(reading.calendar.ranges().map(Entry::Range));
        entries.extend(reading.calendar.rules().iter().copied().map(Entry::Rule));
    }
    let calendar = Calendar::new(entries).map_err(|error| Failure::usage(error.to_string()))?;
    let body = serde_json::to_string(&calendar).map_err(|error| Failure::usage(error.to_string()))?;
    let mut client = session.connect()?;
    let response = client.request(&Request::CalendarAdd {
        name: args.name.clone(),
        body,
        tz: args.tz.clone(),
        freeze: args.freeze.clone(),
    })?;
    let names = done(&client, response)?;
    say_done(session, "name", "set calendar", &names)
}

fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One byte more tells that it is too long.
    let most = FILE_MAX as u64 + 1;
    let read = match path == Path::new("-") {
        true => io::stdin().lock().take(most).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Failure::file("read", path, &error))?;
    Ok(bytes)
}

fn bad_entry(field: &str, text: &str, error: &EntryError) -> Failure {
    let problem = error.kind.to_string();
    let at = super::definition::columns(error.span);
    Failure::field(field, text, Some(at), &problem, error.cure().as_deref())
}

fn bad_file(path: &Path, fault: &Fault) -> Failure {
    let place = fault.place.as_ref().map(|place| format!(", line {}", place.line));
    let message = format!("{}{}: {}", path.display(), place.unwrap_or_default(), fault.kind);
    let mut failure = Failure::new(Exit::Usage, "bad-calendar", message);
    if let Some(place) = &fault.place {
        let (column, width) = place.at;
        let mark = " ".repeat(column) + &"^".repeat(width.max(1));
        failure = failure.quoting([place.text.clone(), mark]);
    }
    match fault.kind.cure() {
        Some(cure) => failure.hint(cure),
        None => failure,
    }
}

fn list(session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let Response::Calendars(calendars) = client.request(&Request::CalendarList)? else {
        return Err(client.unexpected().into());
    };
    if session.json {
        let mut array = JsonArray::default();
        for calendar in &calendars {
            array.element(&mut session.out, &json::CalendarShape::of(calendar))?;
        }
        return array.close(&mut session.out);
    }
    for calendar in &calendars {
        session
            .out
            .line(&one_line(&format!("{}: {}", calendar.name, summary(calendar))))?;
    }
    Ok(())
}

/// What it has, in a line.
fn summary(calendar: &CalendarInfo) -> String {
    let mut parts = calendar.rules.clone();
    if calendar.days > 0 {
        parts.push(counted(calendar.days, "day"));
    }
    if calendar.ranges > 0 {
        parts.push(counted(calendar.ranges, "range"));
    }
    let freezes = match calendar.freeze.as_slice() {
        [] => String::new(),
        patterns => format!("; freezes {}", patterns.join(", ")),
    };
    format!(
        "{}; used by {}{freezes}",
        parts.join(", "),
        counted(calendar.tasks, "task")
    )
}

fn show(name: &str, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let request = Request::CalendarShow { name: name.to_owned() };
    let Response::Calendar(detail) = client.request(&request)? else {
        return Err(client.unexpected().into());
    };
    let CalendarDetail { info, body, users } = detail.0;
    let calendar: Calendar = serde_json::from_str(&body).map_err(|_| client.unexpected())?;
    if session.json {
        return session.out.json(&json::CalendarWhole::of(&info, &calendar, &users));
    }
    let times = session.times();
    session
        .out
        .line(&format!("calendar     {}  ({})", info.name, info.tz))?;
    if let (Some(ms), Some(by)) = (info.changed_ms, &info.by) {
        session.out.line(&format!("set          {}, by {by}", times.full(ms)))?;
    }
    if !info.freeze.is_empty() {
        session
            .out
            .line(&one_line(&format!("freezes      {}", info.freeze.join(", "))))?;
    }
    if !users.is_empty() {
        session
            .out
            .line(&one_line(&format!("used by      {}", users.join(", "))))?;
    }
    session.out.line("")?;
    session.out.line(calendar.to_string().trim_end())
}

fn remove(names: &[String], session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let response = client.request(&Request::CalendarRemove { names: names.to_vec() })?;
    let names = done(&client, response)?;
    say_done(session, "name", "removed calendar", &names)
}
