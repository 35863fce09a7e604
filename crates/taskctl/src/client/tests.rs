//! How long a daemon that does not answer is waited for.

use std::os::unix::net::UnixListener;

use super::*;
use crate::testing::{FakeDaemon, Ran, Say, taskctl};

/// A daemon that is suspended: the system accepts for it, and nothing is said.
struct Suspended {
    dir: tempfile::TempDir,
    listener: UnixListener,
}

impl Suspended {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("s")).expect("a socket");
        Suspended { dir, listener }
    }

    fn places(&self) -> Places {
        Places::new(Some(&self.dir.path().join("s")), None, false)
    }
}

/// One that says its hello, and nothing after it.
fn mute() -> FakeDaemon {
    FakeDaemon::with(Hello::ours(), |_| Say::All(Vec::new()))
}

fn assert_unanswered(ran: &Ran) {
    let failure = ran.failure.as_ref().expect("it fails");
    assert!(failure.message.ends_with(" does not answer"), "{failure:?}");
    assert_eq!((ran.code, failure.code, ran.out.as_str()), (3, "timeout", ""));
}

#[test]
fn stop_and_start_end_in_time_with_a_daemon_that_does_not_answer() {
    let suspended = Suspended::new();
    for verb in ["stop", "start"] {
        assert_unanswered(&taskctl(suspended.places(), &[verb, "--timeout", "50ms"]));
        assert_unanswered(&mute().taskctl(&[verb, "--timeout", "0s"]));
    }
    assert_unanswered(&mute().taskctl(&["stop", "--timeout", "50ms"]));
}

#[test]
fn one_that_does_not_say_its_hello_is_given_up_soon() {
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
    let silence = |length| Patience::Silence(length).at_most(GREETING);
    assert_eq!(silence(long), Patience::Silence(GREETING));
    assert_eq!(silence(short), Patience::Silence(short));
    let until = Patience::Until(clock::monotonic() + long);
    assert_eq!(until.at_most(GREETING), until, "it was said how long");
}

#[test]
fn silence_ends_a_request() {
    let patience = Patience::Silence(Duration::from_millis(50));
    let daemon = mute();
    let mut client = Client::connect_with(&daemon.places(), patience).expect("it says its hello");
    let failure = client.request(&Request::Status).expect_err("it says nothing");
    assert!(is_silent(&failure) && is_lost(&failure), "{failure:?}");
}

#[test]
fn a_connection_that_is_not_accepted_is_given_up() {
    let suspended = Suspended::new();
    rustix::net::listen(&suspended.listener, 0).expect("it listens already");
    let patience = Patience::Until(clock::monotonic() + Duration::from_millis(200));
    let mut waiting = Vec::new();
    let error = loop {
        match reach(&suspended.dir.path().join("s"), patience) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
    };
    assert!(is_timeout(&error), "{error}");
    assert!(waiting.len() < 10, "{}", waiting.len());
}

#[test]
fn every_request_is_given_a_minute_unless_it_is_given_more() {
    let daemon = mute();
    let mut client = Client::connect(&daemon.places()).expect("it says its hello");
    let limits = |client: &Client| {
        let read = client.stream.read_timeout().expect("it is a socket");
        let write = client.stream.write_timeout().expect("it is a socket");
        (read, write)
    };
    let minute = Some(Duration::from_secs(60));
    assert_eq!(limits(&client), (minute, minute));
    let more = Duration::from_secs(600);
    client.set_patience(Patience::Silence(more)).expect("it is a socket");
    assert_eq!(limits(&client), (Some(more), Some(more)));
}

#[test]
fn a_refusal_said_just_before_the_end_is_heard() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(dir.path().join("s")).expect("a socket");
    let (connected, is_connected) = std::sync::mpsc::channel();
    let (left, has_left) = std::sync::mpsc::channel();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.write_all(&Hello::ours().encode()).expect("it reads");
        is_connected.recv().expect("the test goes on");
        let mut out = Vec::new();
        let refusal = taskd_wire::refusal::Refusal::NotAllowed {
            what: "this".to_owned(),
        };
        put_message(&mut out, &Response::Refused(refusal)).expect("it fits");
        stream.write_all(&out).expect("it reads");
        drop(stream);
        left.send(()).expect("the test waits");
    });
    let places = Places::new(Some(&dir.path().join("s")), None, false);
    let mut client = Client::connect(&places).expect("it says its hello");
    connected.send(()).expect("the daemon waits");
    has_left.recv().expect("it leaves");
    let failure = client.request(&Request::Status).expect_err("it is refused");
    assert_eq!(failure.code, "not-allowed", "{failure:?}");
    daemon.join().expect("no panic");
}

#[test]
fn what_gets_no_answer_prints_nothing() {
    let daemon = FakeDaemon::with(Hello::ours(), |_| Say::AndLeave(Vec::new()));
    for line in ["list --json", "runs --json", "show --json a b", "next --json"] {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = daemon.taskctl(&words);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{line}");
    }
}
