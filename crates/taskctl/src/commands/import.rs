//! `taskctl import`

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use taskd_wire::client::{Request, Response};
use taskd_wire::codec::{Rec, encoded_len};
use taskd_wire::definition::TaskSpec;

use super::done;
use crate::args::ImportArgs;
use crate::client::{Client, Patience};
use crate::clock;
use crate::error::{Error, Exit, Failure, Result};
use crate::render::counted;
use crate::session::Session;

/// Most bytes of definitions in one request, well under what a frame holds.
const BATCH_BYTES: usize = 256 << 10;

/// Most definitions in one request.
const BATCH: usize = 1_000;

/// Longest line; a definition may have a quarter of it.
const LINE_MAX: usize = 256 << 10;

/// How long the daemon may take to accept all definitions, after which it has them all on disk.
const LAST_STEP: Duration = Duration::from_secs(600);

/// Begins files of editors that mark them as UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Adds all tasks of a file, or none.
pub fn run(args: &ImportArgs, session: &mut Session) -> Result<()> {
    let from = open(&args.file)?;
    let mut import = Import {
        client: session.connect()?,
        tasks: Vec::new(),
        lines: Vec::new(),
        bytes: 0,
        sent: 0,
    };
    let mut progress = Progress::new(session);
    // Lines before the one that cannot be read are the daemon's to judge first: the first error is the one named.
    let read = read(from, &args.file, &mut import, |sent| progress.show(session, sent));
    let judged = import.send();
    progress.clear(session);
    judged?;
    read?;
    import.client.set_patience(Patience::Silence(LAST_STEP))?;
    let imported = match import.client.request(&Request::ImportEnd)? {
        Response::Imported(n) => n,
        _ => return Err(import.client.unexpected().into()),
    };
    if session.json {
        return session.out.json(&serde_json::json!({ "imported": imported }));
    }
    session.out.line(&format!("imported {}", counted(imported, "task")))
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    Ok(Box::new(BufReader::with_capacity(BATCH_BYTES, file)))
}

/// Definitions on their way.
struct Import {
    client: Client,
    tasks: Vec<Rec<TaskSpec>>,
    lines: Vec<u64>,
    bytes: usize,
    sent: u64,
}

impl Import {
    fn add(&mut self, line: u64, task: TaskSpec) -> Result<()> {
        let task = Rec(task);
        let bytes = encoded_len(&task);
        if self.bytes + bytes > BATCH_BYTES || self.tasks.len() == BATCH {
            self.send()?;
        }
        self.bytes += bytes;
        self.tasks.push(task);
        self.lines.push(line);
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        if self.tasks.is_empty() {
            return Ok(());
        }
        self.sent += self.tasks.len() as u64;
        self.bytes = 0;
        let (tasks, lines) = (std::mem::take(&mut self.tasks), std::mem::take(&mut self.lines));
        let response = self.client.request(&Request::ImportMore { tasks, lines })?;
        done(&self.client, response)?;
        Ok(())
    }
}

fn read(mut from: Box<dyn BufRead>, path: &Path, import: &mut Import, mut progress: impl FnMut(u64)) -> Result<()> {
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        number += 1;
        let n = io::Read::take(&mut from, LINE_MAX as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::file("read", path, &error))?;
        if n == 0 {
            return Ok(());
        }
        if line.len() > LINE_MAX {
            return Err(bad_line(number, &format!("it is longer than {LINE_MAX} bytes")).into());
        }
        if let Some(task) = definition(&line, number)? {
            import.add(number, task)?;
            progress(import.sent);
        }
    }
}

/// What a line says; nothing, if it is blank or a comment.
fn definition(line: &[u8], number: u64) -> Result<Option<TaskSpec>, Error> {
    if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
        let hint = "save it as UTF-8 without one";
        return Err(bad_line(number, "the file begins with a byte order mark")
            .hint(hint)
            .into());
    }
    // Columns count from the beginning of the line, and its end is no place to point at.
    let line = line.trim_ascii_end();
    if matches!(line.trim_ascii_start().first(), None | Some(b'#')) {
        return Ok(None);
    }
    serde_json::from_slice(line).map(Some).map_err(|error| {
        let text = error.to_string();
        // There is but one line, and its number is another.
        let (what, column) = match text.split_once(" at line ") {
            Some((what, _)) if error.column() > 0 => (what.to_owned(), format!(", column {}", error.column())),
            _ => (text, String::new()),
        };
        let hint = "`taskctl export` shows how a definition is written";
        bad_line(number, &format!("{what}{column}")).hint(hint).into()
    })
}

fn bad_line(number: u64, why: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        "import-line",
        format!("line {number}: {why}; nothing was imported"),
    )
}

/// On a terminal, how far it is.
struct Progress {
    shown: bool,
    next: Instant,
    wanted: bool,
}

impl Progress {
    fn new(session: &Session) -> Self {
        Progress {
            shown: false,
            next: clock::monotonic() + SHOW_EVERY,
            wanted: session.err.is_terminal() && !session.json,
        }
    }

    fn show(&mut self, session: &mut Session, sent: u64) {
        if !self.wanted || clock::monotonic() < self.next {
            return;
        }
        self.shown = true;
        self.next = clock::monotonic() + SHOW_EVERY;
        // OK because progress that cannot be shown is no reason to stop.
        let _ = session
            .err
            .text(&format!("\rread {}", counted(sent, "task")))
            .and_then(|()| session.err.flush());
    }

    fn clear(&self, session: &mut Session) {
        if self.shown {
            // OK for the same reason.
            let _ = session.err.text("\r\x1b[K").and_then(|()| session.err.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> String {
        match definition(line.as_bytes(), 7) {
            Err(Error::Failure(failure)) => failure.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn blank_lines_and_comments_are_skipped() {
        for line in ["", "  \n", "# a comment\n", "\t# another"] {
            assert!(
                definition(line.as_bytes(), 1).expect("it is fine").is_none(),
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_line_is_a_definition() {
        let line = br#" {"name":"a","schedule":{"kind":"manual"},"action":{"kind":"shell","line":"x"}} "#;
        let task = definition(line, 1).expect("it is fine").expect("it is one");
        assert!(task.name == "a" && task.enabled);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_column() {
        assert_eq!(
            failure("{"),
            "line 7: EOF while parsing an object, column 1; nothing was imported"
        );
        assert!(
            failure(r#"{"nam":"a"}"#).starts_with("line 7: unknown field `nam`, expected one of `name`,"),
            "{}",
            failure(r#"{"nam":"a"}"#)
        );
        assert_eq!(
            failure("  {\n"),
            "line 7: EOF while parsing an object, column 3; nothing was imported"
        );
    }

    #[test]
    fn a_byte_order_mark_is_named() {
        let Err(Error::Failure(failure)) = definition("\u{feff}{}\n".as_bytes(), 1) else {
            panic!("it is no definition")
        };
        assert!(failure.message.contains("byte order mark"), "{failure:?}");
    }
}
