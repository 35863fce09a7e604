//! What tests share: output that can be looked at, and a daemon that answers as it is told.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use jiff::tz::TimeZone;
use taskd_core::Timestamp;
use taskd_wire::basic::{Answer, Ask, Basic};
use taskd_wire::client::{Request, Response};
use taskd_wire::codec::decode;
use taskd_wire::frame::{FrameReader, Payload, put_basic, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader};

use crate::args::Cli;
use crate::error::{Error, Failure};
use crate::out::Out;
use crate::places::Places;
use crate::session::Session;

/// A sink whose content can be read while it is in use.
#[derive(Clone, Default)]
pub struct Captured(Rc<RefCell<Vec<u8>>>);

impl Captured {
    /// The bytes so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }

    /// The bytes so far as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a fake daemon says to a request: its answers, after which it closes the connection or waits for more.
pub enum Say {
    /// These answers.
    All(Vec<Response>),
    /// These answers, then the end.
    AndLeave(Vec<Response>),
}

/// A daemon that answers as it is told.
pub struct FakeDaemon {
    dir: tempfile::TempDir,
}

impl FakeDaemon {
    /// One that answers each request with one response.
    pub fn new(answer: impl Fn(Request) -> Response + Send + Sync + 'static) -> Self {
        Self::with(Hello::ours(), move |request| Say::All(vec![answer(request)]))
    }

    /// One with a hello and a conversation of its own.
    pub fn with(hello: Hello, answer: impl Fn(Request) -> Say + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("s")).expect("a socket");
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (hello, answer) = (hello.clone(), Arc::clone(&answer));
                // OK because a client that goes away is part of some tests.
                std::thread::spawn(move || drop(serve(stream, &hello, &*answer)));
            }
        });
        FakeDaemon { dir }
    }

    /// Where a test may put files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where it answers.
    pub fn places(&self) -> Places {
        Places::new(Some(&self.dir.path().join("s")), None, false)
    }

    /// Runs a command line against it.
    pub fn taskctl(&self, line: &[&str]) -> Ran {
        taskctl(self.places(), line)
    }

    /// Runs a command line against it, on a terminal of so many columns.
    pub fn taskctl_at(&self, columns: usize, line: &[&str]) -> Ran {
        taskctl_at(self.places(), Some(columns), line)
    }
}

/// What became of a command line.
pub struct Ran {
    /// The exit code.
    pub code: u8,
    /// What it printed.
    pub out: String,
    /// What it remarked.
    pub err: String,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// Runs a command line in this process, on 2026-11-23 at 10:00 UTC, for a reader in Berlin.
pub fn taskctl(places: Places, line: &[&str]) -> Ran {
    taskctl_at(places, None, line)
}

fn taskctl_at(places: Places, columns: Option<usize>, line: &[&str]) -> Ran {
    let cli = Cli::read(std::iter::once("taskctl").chain(line.iter().copied())).expect("it can be parsed");
    let (out, err) = (Captured::default(), Captured::default());
    let zone = TimeZone::get("Europe/Berlin").expect("a zone of every system");
    let now = || Timestamp::from_jiff("2026-11-23T10:00:00Z".parse().expect("an instant"));
    let mut session = Session::of_test(
        cli.global.json,
        places,
        Out::to(out.clone()),
        Out::to(err.clone()),
        now,
        zone,
    );
    (session.out.width, session.err.width) = (columns, columns);
    let done = crate::commands::run(cli.verb, &mut session);
    let _ = session.out.flush();
    let _ = session.err.flush();
    let (code, failure) = match done {
        Ok(code) => (code, None),
        Err(Error::ReaderGone) => (0, None),
        Err(Error::Failure(failure)) => (failure.exit as u8, Some(*failure)),
    };
    Ran {
        code,
        out: out.text(),
        err: err.text(),
        failure,
    }
}

fn serve(mut stream: UnixStream, hello: &Hello, answer: &dyn Fn(Request) -> Say) -> io::Result<()> {
    stream.write_all(&hello.encode())?;
    let mut chunk = [0; 65536];
    let mut hellos = HelloReader::new();
    while hellos.next().map_err(io::Error::other)?.is_none() {
        let n = stream.read(&mut chunk)?;
        hellos.push(&chunk[..n]);
    }
    let mut frames = FrameReader::new();
    frames.push(&hellos.into_rest());
    loop {
        while let Some(payload) = frames.next().map_err(io::Error::other)? {
            let mut out = Vec::new();
            let mut leave = false;
            match read_payload(&payload).map_err(io::Error::other)? {
                Payload::Basic(Basic::Ask(Ask::StatusBrief)) => {
                    let brief = Answer::StatusBrief {
                        pid: 77,
                        started_ms: 0,
                        tasks: 3,
                        running: 1,
                    };
                    put_basic(&mut out, &Basic::Answer(brief));
                }
                Payload::Basic(_) => put_basic(&mut out, &Basic::Answer(Answer::Unsupported)),
                Payload::Message(bytes) => {
                    let said = answer(decode(bytes).map_err(io::Error::other)?);
                    let (Say::All(responses) | Say::AndLeave(responses)) = &said;
                    for response in responses {
                        put_message(&mut out, response).map_err(io::Error::other)?;
                    }
                    leave = matches!(said, Say::AndLeave(_));
                }
            }
            stream.write_all(&out)?;
            if leave {
                return Ok(());
            }
        }
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        frames.push(&chunk[..n]);
    }
}
