//! What a user is told when something was not done: a sentence, the place in what was typed, and what to do about it;
//! with `--json` the same as an object. A refusal of the daemon comes as a code with data, and its sentence is made here.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Serialize;
use taskd_core::pattern::is_pattern;
use taskd_wire::hello::{Mismatch, Side};
use taskd_wire::refusal::{LineRefusal, Refusal};
use unicode_width::UnicodeWidthStr as _;

use crate::render::table::cut;
use crate::render::{one_line, plain};

/// The kinds of failure a script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Refused or failed.
    Failed = 1,
    /// What was typed is wrong.
    Usage = 2,
    /// No daemon answers.
    NoDaemon = 3,
    /// There is no such task or run.
    NotFound = 4,
    /// The user may not do this.
    NotAllowed = 5,
    /// The daemon speaks no protocol of ours.
    Versions = 6,
}

/// Text that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// What stands before it, such as `--cron`.
    pub label: String,
    /// The text.
    pub text: String,
    /// Column in characters from 0, and how many characters.
    pub at: (usize, usize),
}

/// Why a verb was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// A stable word for scripts.
    pub code: &'static str,
    /// A sentence without its end mark.
    pub message: String,
    /// Lines that belong to the message: of a file, or of what a program said.
    pub quoted: Vec<String>,
    /// Where it is wrong.
    pub excerpt: Option<Box<Excerpt>>,
    /// What to do.
    pub hint: Option<String>,
}

/// The code of a failure while the daemon ends, for another life of its perhaps.
pub const STOPPING: &str = "stopping";

/// The code of a failure for want of a runner.
pub const NO_RUNNER: &str = "runner-unavailable";

/// Why a verb ended early.
#[derive(Debug)]
pub enum Error {
    /// It was not done.
    Failure(Box<Failure>),
    /// Whoever read our output has gone, which is none of our business.
    ReaderGone,
}

/// What a verb gives back.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Failure {
    /// Most columns of a text that is said again within a sentence.
    const TEXT: usize = 200;

    /// A failure with neither excerpt nor hint.
    pub fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Failure {
            exit,
            code,
            message: message.into(),
            quoted: Vec::new(),
            excerpt: None,
            hint: None,
        }
    }

    /// What was typed is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure::new(Exit::Usage, "usage", message)
    }

    /// The system refused something about a file.
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        let failure = |exit, code| {
            Failure::new(
                exit,
                code,
                format!("cannot {doing} {}: {}", path.display(), said(error)),
            )
        };
        match error.kind() {
            io::ErrorKind::PermissionDenied => failure(Exit::NotAllowed, "not-allowed"),
            _ => failure(Exit::Failed, "io"),
        }
    }

    /// The system refused something else.
    pub fn system(doing: &str, error: &io::Error) -> Self {
        Failure::new(Exit::Failed, "io", format!("cannot {doing}: {}", said(error)))
    }

    /// A field of a definition is wrong.
    pub fn field(field: &str, text: &str, at: Option<(u32, u32)>, problem: &str, cure: Option<&str>) -> Self {
        Failure {
            exit: Exit::Usage,
            code: "bad-field",
            message: match at {
                Some(_) => problem.to_owned(),
                None if text.is_empty() => format!("{}: {problem}", option_of(field)),
                None => format!("{} {}: {problem}", option_of(field), cut(text, Self::TEXT)),
            },
            quoted: Vec::new(),
            excerpt: at.map(|(column, len)| {
                Box::new(Excerpt {
                    label: option_of(field),
                    text: text.to_owned(),
                    at: (column as usize, len as usize),
                })
            }),
            hint: cure.map(str::to_owned),
        }
    }

    /// Adds lines to the message.
    pub fn quoting(mut self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.quoted.extend(lines.into_iter().map(Into::into));
        self
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What people read, each line ended. Message and hint are a line each, and what is quoted is indented, so that no text
    /// from elsewhere can pass for a hint of ours.
    pub fn human(&self, colour: bool) -> String {
        let (bold, red, reset) = if colour {
            ("\x1b[1m", "\x1b[1;31m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        let mut text = format!("{red}taskctl:{reset} {bold}{}{reset}\n", one_line(&self.message));
        for line in &self.quoted {
            text.push_str("  ");
            text.extend(line.chars().map(plain));
            text.push('\n');
        }
        if let Some(excerpt) = &self.excerpt {
            text.push_str(&excerpt.render(red, reset));
        }
        if let Some(hint) = &self.hint {
            // OK because writing to a string cannot fail.
            let _ = writeln!(text, "{bold}hint:{reset} {}", one_line(hint));
        }
        text
    }

    /// What scripts read, on one line.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Shape<'a> {
            code: &'a str,
            message: &'a str,
            hint: Option<&'a str>,
        }
        let quoted = self.quoted.iter().map(|line| format!("\n  {line}"));
        let message: String = std::iter::once(self.message.clone()).chain(quoted).collect();
        let shape = Shape {
            code: self.code,
            message: &message,
            hint: self.hint.as_deref(),
        };
        serde_json::to_string(&shape).expect("a struct of strings is always JSON")
    }
}

impl Excerpt {
    /// Most characters of the text that are shown.
    const WINDOW: usize = 100;

    fn render(&self, mark: &str, reset: &str) -> String {
        let total = self.text.chars().count();
        let (column, len) = self.at;
        let start = if total <= Self::WINDOW {
            0
        } else {
            column.saturating_sub(Self::WINDOW / 2).min(total - Self::WINDOW)
        };
        let shown: String = self.text.chars().skip(start).take(Self::WINDOW).map(plain).collect();
        let before = if start > 0 { "…" } else { "" };
        let after = if start + Self::WINDOW < total { "…" } else { "" };
        let label: String = self.label.chars().map(plain).collect();
        let ahead: String = shown.chars().take(column - start).collect();
        let marked: String = shown.chars().skip(column - start).take(len).collect();
        format!(
            "  {label} {before}{shown}{after}\n{}{mark}{}{reset}\n",
            " ".repeat(2 + label.width() + 1 + before.width() + ahead.width()),
            "^".repeat(marked.width().max(1))
        )
    }
}

/// What the system says, without its number.
pub fn said(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A field in the words of the command line.
fn option_of(field: &str) -> String {
    match field {
        "command" | "line" => field.to_owned(),
        // What stands without an option is named as in the usage.
        place if place.chars().all(|c| c.is_ascii_uppercase()) => place.to_owned(),
        _ => format!("--{field}"),
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Failure(Box::new(failure))
    }
}

/// The name of a verb that takes one task or run, if it is no pattern.
pub fn one_only(name: &str) -> std::result::Result<&str, Failure> {
    if !is_pattern(name) {
        return Ok(name);
    }
    let message = format!("{name} is a pattern, and this takes one task or run");
    Err(Failure::new(Exit::Usage, "bad-field", message)
        .hint(format!("`taskctl list '{name}'` shows the tasks it stands for")))
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Failure::from(refusal).into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        let failed = |message: String| Failure::new(Exit::Failed, code, message);
        match refusal {
            Refusal::UnknownTask { name, near } => {
                let message = if is_pattern(&name) {
                    format!("no task matches {name}")
                } else {
                    format!("there is no task {name}")
                };
                let hint = match near.as_slice() {
                    [] => "`taskctl list` shows the tasks there are".to_owned(),
                    near => format!("did you mean {}?", either(near)),
                };
                Failure::new(Exit::NotFound, code, message).hint(hint)
            }
            Refusal::UnknownRun { run } => {
                let (message, hint) = match run.rsplit_once('/') {
                    Some((task, _)) => (
                        format!("there is no run {run}"),
                        format!("`taskctl runs {task}` lists the runs there are"),
                    ),
                    None => (
                        format!("no run of {run} has started yet"),
                        format!("`taskctl runs {run}` lists those there are, `taskctl run {run}` runs it now"),
                    ),
                };
                Failure::new(Exit::NotFound, code, message).hint(hint)
            }
            Refusal::NameTaken { name } => failed(format!("there is a task {name} already")).hint(format!(
                "change it with `taskctl edit {name}`, or choose another --name"
            )),
            Refusal::BadField {
                field,
                text,
                at,
                problem,
                cure,
            } => Failure::field(&field, &text, at, &problem, cure.as_deref()),
            Refusal::Limit { what, limit, actual } => {
                let failure = failed(over_limit(&what, limit, actual));
                match what.as_str() {
                    "tasks at once" | "runs at once" => {
                        failure.hint("do it in several steps, with patterns that each stand for fewer")
                    }
                    "arguments" => failure.hint("put what is long into a file, and tell the command its path"),
                    _ => failure,
                }
            }
            Refusal::StillRunning { name, run } => {
                let hint = format!("wait for it, or stop it with `taskctl cancel {run}`");
                failed(format!("task {name} is still running, as {run}")).hint(hint)
            }
            Refusal::NotRunning { run } => failed(format!("{run} is not running")),
            Refusal::ImportLine { line, refusal } => line_refusal(code, line, *refusal),
            Refusal::StoreUnavailable { reason } => failed(format!("the store takes no changes now: {reason}"))
                .hint("nothing was changed; `taskctl status` says when it does again"),
            Refusal::RunnerUnavailable { reason } => failed(format!("nothing can be run now: {reason}"))
                .hint("`taskctl status` shows the runner, `taskctl logs --daemon` what happened to it"),
            Refusal::Stopping => failed("the daemon is stopping".to_owned()),
            Refusal::UnknownRequest => {
                let message = "the daemon does not know this request, it is older than this taskctl";
                Failure::new(Exit::Versions, code, message).hint("upgrade taskd, then restart it")
            }
            Refusal::NotAllowed { what } => {
                Failure::new(Exit::NotAllowed, code, format!("you may not do this: {what}"))
            }
            Refusal::Internal { what } => {
                failed(format!("the daemon met a fault of its own: {what}")).hint("`taskctl logs --daemon` has more")
            }
            Refusal::UnknownCalendar { name, near } => {
                let failure = Failure::new(Exit::NotFound, code, format!("there is no calendar {name}"));
                match near.as_slice() {
                    [] => failure.hint("`taskctl calendar list` shows which there are"),
                    near => failure.hint(format!("did you mean {}?", near.join(" or "))),
                }
            }
            Refusal::StillNamed { name, by, more } => {
                let more = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                let come = if by.len() == 1 && more.is_empty() {
                    format!("comes after {name} or requires it")
                } else {
                    format!("come after {name} or require it")
                };
                failed(format!("{}{more} {come}", by.join(", "))).hint(
                    "`taskctl edit` with another --after or --require changes that; with `remove`, name all of them in one command",
                )
            }
            Refusal::UnknownPool { pool } => Failure::new(Exit::NotFound, code, format!("no limit of {pool} was set")),
            Refusal::CannotRestart { program, reason } => failed(format!(
                "the daemon cannot become {program} and goes on as it is: {reason}"
            ))
            .hint("install a taskd there that works, and say it again"),
            Refusal::CalendarInUse { name, task } => failed(format!("task {task} uses calendar {name}"))
                .hint(format!("`taskctl calendar show {name}` shows all that do")),
            Refusal::BacklogFull { room } => failed(format!(
                "more runs would wait to make up for fire times than there is room for, which is {room}"
            ))
            .hint("choose a shorter span; --dry-run shows its fire times"),
        }
    }
}

fn line_refusal(code: &'static str, line: u64, refusal: LineRefusal) -> Failure {
    let failure = |why: String| Failure::new(Exit::Failed, code, format!("line {line}: {why}; nothing was imported"));
    match refusal {
        LineRefusal::NameTaken { name } => failure(format!("there is a task {name} already")),
        LineRefusal::NameTwice { name, line: earlier } => {
            failure(format!("the name {name} is on line {earlier} already"))
        }
        LineRefusal::BadField {
            field,
            text,
            at,
            problem,
            cure,
        } => {
            let why = match at {
                Some(_) => problem,
                None if text.is_empty() => format!("{field}: {problem}"),
                None => format!("{field} {}: {problem}", cut(&text, Failure::TEXT)),
            };
            Failure {
                excerpt: at.map(|(column, len)| {
                    Box::new(Excerpt {
                        label: format!("{field}:"),
                        text,
                        at: (column as usize, len as usize),
                    })
                }),
                hint: cure,
                ..failure(why)
            }
        }
        LineRefusal::Limit { what, limit, actual } => failure(over_limit(&what, limit, actual)),
    }
}

fn over_limit(what: &str, limit: u64, actual: u64) -> String {
    match what {
        "definition" => format!("the definition has {actual} bytes, at most {limit} are kept"),
        "arguments" => format!("arguments and environment have {actual} bytes, at most {limit} can be given"),
        "tasks" => format!("there may be {limit} tasks of yours, and this would be more"),
        "connections" => format!("you have {limit} connections to the daemon, which is the most there may be"),
        "frame" => format!("the message has {actual} bytes, at most {limit} can be sent"),
        other => format!("{actual} is over the limit of {limit} for {other}"),
    }
}

/// "a", "a or b", "a, b or c".
pub fn either(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

impl From<Mismatch> for Failure {
    fn from(mismatch: Mismatch) -> Self {
        let Mismatch { older, ours, theirs } = mismatch;
        let message = format!(
            "taskctl {} and taskd {} have no protocol in common: taskctl speaks {}, taskd {}",
            ours.version,
            theirs.version,
            range(ours.min, ours.max),
            range(theirs.min, theirs.max)
        );
        let hint = match older {
            Side::Ours => format!("upgrade taskctl to {}", theirs.version),
            Side::Theirs => format!(
                "upgrade taskd to {}; `taskctl stop` and `taskctl status` still work",
                ours.version
            ),
        };
        Failure::new(Exit::Versions, "versions", message).hint(hint)
    }
}

fn range(min: u16, max: u16) -> String {
    if min == max {
        min.to_string()
    } else {
        format!("{min} to {max}")
    }
}

#[cfg(test)]
mod tests;
