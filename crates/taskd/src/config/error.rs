//! What can be wrong with a configuration file, and how it is shown.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// The most letters that a misspelt key may differ by, of those it has, to be taken for another.
const LIKENESS: f64 = 0.6;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is longer than any configuration.
    #[error("the configuration {} is longer than {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most bytes there may be.
        limit: u64,
    },
    /// Something in the file is wrong.
    #[error("{}:{fault}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What, and where.
        fault: Box<Fault>,
    },
}

/// What is wrong in the text of a configuration file, and where.
///
/// Its `Display` is `LINE:COLUMN: message`, the line with a mark below, and a hint when there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The text of the line.
    excerpt: String,
    /// How many characters of it are meant.
    width: usize,
}

impl std::error::Error for Fault {}

impl Fault {
    /// A fault at the bytes `span` of `text`.
    pub(super) fn at(text: &str, span: Range<usize>, message: String) -> Fault {
        let start = (0..=span.start.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let meant = text.get(start..span.end.min(line_end)).unwrap_or("");
        Fault {
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            // It may quote what the file says.
            message: printable(&message),
            hint: None,
            excerpt: text[line_start..line_end].trim_end_matches('\r').to_owned(),
            width: meant.chars().count().max(1),
        }
    }

    /// What the TOML reader found.
    pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Fault {
        let fault = Fault::at(text, error.span().unwrap_or(0..0), error.message().to_owned());
        match misspelt(error.message()) {
            Some((unknown, known)) => Fault {
                message: printable(&format!("there is no key `{unknown}` here")),
                hint: Some(match nearest(unknown, &known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys here are {}", listed(&known)),
                }),
                ..fault
            },
            None => fault,
        }
    }

    pub(super) fn hinted(self, hint: impl Into<String>) -> Fault {
        Fault {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        // A tab stays one above the mark and below, so that both lines are as wide wherever tabs stop.
        let indent: String = self
            .excerpt
            .chars()
            .take(self.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", printable(&self.excerpt))?;
        write!(f, "{gutter} | {indent}{}", "^".repeat(self.width))?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The line with nothing in it that a terminal would obey.
fn printable(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

/// Of serde's "unknown field `a`, expected one of `b`, `c`": `a`, and the rest.
fn misspelt(message: &str) -> Option<(&str, Vec<&str>)> {
    let quoted = message.strip_prefix("unknown field ")?;
    let mut names = quoted.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    Some((unknown, names.collect()))
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let unknown = unknown.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&unknown, name), *name))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
