//! Files of variables, as `--env-file` names them.
//!
//! A line is `NAME=VALUE`. Blank lines, and lines that begin with `#` or `;`, say nothing. Blanks around a line do not
//! count. A value is as it stands, unless it begins with a quote: what `'` quotes is taken as it is, and between `"` a
//! backslash takes the meaning from `"`, `\`, `$` and a backquote. What is quoted may have several lines, and nothing
//! follows it on its last. Nothing is expanded. Of a name given twice the last counts.

use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use taskd_wire::definition::EnvVar;

/// Most bytes of a file of variables. All that a command is given has room for little more.
pub const ENV_FILE_MAX: usize = 128 << 10;

/// Why there are no variables of a file. It tells none of their values.
#[derive(Debug, thiserror::Error)]
pub enum EnvFileError {
    /// The system does not let it be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is a directory, a device, a pipe.
    #[error("it is no regular file")]
    NoFile,
    /// It has more than [`ENV_FILE_MAX`] bytes.
    #[error("it has more than {ENV_FILE_MAX} bytes")]
    TooLong,
    /// A line says nothing that it could mean.
    #[error("line {line} {problem}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

impl EnvFileError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, EnvFileError::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// The system's number for what is wrong.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            EnvFileError::Unreadable(error) => error.raw_os_error().unwrap_or(libc::EIO),
            EnvFileError::NoFile | EnvFileError::Line { .. } => libc::EINVAL,
            EnvFileError::TooLong => libc::EFBIG,
        }
    }
}

/// Reads the variables of a file. It may block where the file system does.
///
/// # Errors
/// [`EnvFileError`] says why there are none, and on which line.
pub fn read_env_file(path: &Path) -> Result<Vec<EnvVar>, EnvFileError> {
    // Not to wait for somebody to write to a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let unreadable = |error: io::Error| EnvFileError::Unreadable(error);
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| unreadable(errno.into()))?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(EnvFileError::NoFile);
    }
    let mut bytes = Vec::new();
    let most = ENV_FILE_MAX as u64 + 1;
    std::fs::File::from(file)
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > ENV_FILE_MAX {
        return Err(EnvFileError::TooLong);
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Vec<EnvVar>, EnvFileError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        let problem = "is not written in UTF-8";
        EnvFileError::Line { line, problem }
    })?;
    let mut vars = Vec::new();
    let mut rest = text;
    let mut line = 0;
    while !rest.is_empty() {
        line += 1;
        let here = line;
        let bad = |problem| EnvFileError::Line { line: here, problem };
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let said = first.trim();
        if said.is_empty() || said.starts_with(['#', ';']) {
            rest = after;
            continue;
        }
        let (name, value) = said.split_once('=').ok_or_else(|| bad("has no ="))?;
        if !is_name(name) {
            return Err(bad("does not begin with the name of a variable"));
        }
        if name.starts_with("TASKD_") || name == "TRACEPARENT" {
            return Err(bad("sets a variable that taskd sets for every run"));
        }
        let value = match value.chars().next() {
            Some(quote @ ('\'' | '"')) => {
                // From behind the quote, which is the first one on the line, to as many lines as it takes.
                let (_, quoted) = rest.split_once(quote).unwrap_or(("", ""));
                let (value, behind) = unquote(quoted, quote).ok_or_else(|| bad("has a quote that does not end"))?;
                let (tail, after) = behind.split_once('\n').unwrap_or((behind, ""));
                if !tail.trim().is_empty() {
                    return Err(bad("goes on behind a quote"));
                }
                line += value.lines;
                rest = after;
                value.text
            }
            Some(_) | None if value.ends_with('\\') => {
                return Err(bad(
                    "ends with \\, which continues nothing here: put the value in quotes",
                ));
            }
            Some(_) | None => {
                rest = after;
                value.to_owned()
            }
        };
        if value.contains('\0') {
            return Err(bad("has a NUL character"));
        }
        let name = name.to_owned();
        vars.push(EnvVar { name, value });
    }
    Ok(vars)
}

fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

struct Unquoted {
    text: String,
    /// How many ends of lines it has.
    lines: usize,
}

/// What stands before the quote that ends it, and what behind that.
fn unquote(quoted: &str, quote: char) -> Option<(Unquoted, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => {
                let lines = text.matches('\n').count();
                return Some((Unquoted { text, lines }, quoted.get(at + 1..)?));
            }
            '\\' if quote == '"' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\' | '$' | '`')) {
                Some((_, next)) => text.push(next),
                None => text.push(c),
            },
            _ => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let vars = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        vars.into_iter().map(|var| (var.name, var.value)).collect()
    }

    #[test]
    fn lines_are_read_as_the_head_of_this_file_says() {
        let text = "# a note\n; another\n\n  A=1  \r\nB=\nC=a b # c\nD='x $y \\' \nE=\"q\\\"\\$z\\n\"\nF=\"two\nlines\"\nG=$A=${B}\nH=it's\nA=2";
        let meant = [
            ("A", "1"),
            ("B", ""),
            ("C", "a b # c"),
            ("D", "x $y \\"),
            ("E", "q\"$z\\n"),
            ("F", "two\nlines"),
            ("G", "$A=${B}"),
            ("H", "it's"),
            ("A", "2"),
        ];
        assert_eq!(
            pairs(text),
            meant.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn what_says_nothing_is_refused_with_its_line_and_without_its_value() {
        for (text, line, problem) in [
            ("A=1\nsecret", 2, "has no ="),
            ("\n\nexport A=secret", 3, "name of a variable"),
            ("1A=secret", 1, "name of a variable"),
            ("A =secret", 1, "name of a variable"),
            ("TASKD_RUN=secret", 1, "taskd sets"),
            ("TRACEPARENT=secret", 1, "taskd sets"),
            ("A='1\n2'\nB='secret\n", 3, "does not end"),
            ("A='secret' b", 1, "behind a quote"),
            ("A=secret\\", 1, "continues nothing"),
            ("A=\0", 1, "NUL"),
        ] {
            let said = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(
                said.starts_with(&format!("line {line} ")) && said.contains(problem),
                "{text}: {said}"
            );
            assert!(!said.contains("secret"), "{said}");
        }
        let said = parse(b"A=1\nB=\xff").expect_err("it is no text").to_string();
        assert_eq!(said, "line 2 is not written in UTF-8");
    }

    #[test]
    fn only_a_regular_file_of_bounded_size_is_read() {
        let directory = tempfile::tempdir().expect("room");
        let file = directory.path().join("env");
        let read = |path: &Path| read_env_file(path);
        assert!(read(&file).is_err_and(|error| error.is_absence()));
        let line = |bytes: usize| format!("A={}", "x".repeat(bytes - 2));
        std::fs::write(&file, line(ENV_FILE_MAX)).expect("room");
        assert_eq!(read(&file).expect("it fits").len(), 1);
        std::fs::write(&file, line(ENV_FILE_MAX + 1)).expect("room");
        assert!(matches!(read(&file), Err(EnvFileError::TooLong)));
        assert!(matches!(read(directory.path()), Err(EnvFileError::NoFile)));
        assert!(matches!(read(Path::new("/dev/zero")), Err(EnvFileError::NoFile)));
    }
}
