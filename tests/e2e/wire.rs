//! Promise: bad input is an answer. A client that sends garbage, half a frame or nothing, or reads nothing, harms nobody.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use taskd_wire::basic::{Answer, Ask, Basic};
use taskd_wire::client::{Request, Response};
use taskd_wire::codec::{self, Rec};
use taskd_wire::definition::{ActionSpec, TaskSpec};
use taskd_wire::frame::{FrameReader, Payload, put_basic, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader};
use taskd_wire::refusal::Refusal;

use crate::harness::{World, wait_for};

fn connect(world: &World) -> UnixStream {
    let stream = UnixStream::connect(world.socket()).expect("the daemon listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
}

/// A client that says what it likes.
struct Client {
    stream: UnixStream,
    frames: FrameReader,
}

impl Client {
    /// One that has said its hello and heard the daemon's.
    fn connected(world: &World) -> Self {
        Client::with_hello(world, &Hello::ours())
    }

    fn with_hello(world: &World, hello: &Hello) -> Self {
        let mut stream = connect(world);
        stream.write_all(&hello.encode()).expect("a hello");
        let mut theirs = HelloReader::new();
        let mut byte = [0];
        while theirs.next().expect("a hello").is_none() {
            stream.read_exact(&mut byte).expect("its hello");
            theirs.push(&byte);
        }
        Client {
            stream,
            frames: FrameReader::new(),
        }
    }

    fn say(&mut self, requests: &[Request]) {
        let mut bytes = Vec::new();
        for request in requests {
            put_message(&mut bytes, request).expect("a message that fits");
        }
        self.stream.write_all(&bytes).expect("it is read");
    }

    /// The next payload.
    #[track_caller]
    fn payload(&mut self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(payload) = self.frames.next().expect("a frame") {
                return payload;
            }
            let length = self.stream.read(&mut buffer).expect("an answer");
            assert!(length > 0, "the daemon hung up");
            self.frames.push(&buffer[..length]);
        }
    }

    /// The next answer.
    #[track_caller]
    fn hear(&mut self) -> Response {
        let payload = self.payload();
        let Payload::Message(message) = read_payload(&payload).expect("a payload") else {
            panic!("not a message");
        };
        codec::decode(message).expect("a response")
    }
}

/// Reads until the daemon hangs up; `None` when it does not.
fn read_to_hangup(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => Some(all),
        // Closed with something of ours unread.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Some(all),
        Err(_) => None,
    }
}

fn still_serves(world: &World) {
    world.ctl(&["status"]).ok();
}

#[test]
fn garbage_closes_that_connection_alone() {
    let world = World::served();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], b"TSKX", &[0; 2000]] {
        let mut stream = connect(&world);
        // It may hang up before all is written.
        let _ = stream.write_all(garbage);
        assert!(
            read_to_hangup(&mut stream).is_some(),
            "{garbage:?} was not answered by the end"
        );
    }
    still_serves(&world);
}

#[test]
fn a_frame_over_the_limit_closes_that_connection_alone() {
    let world = World::served();
    let mut stream = connect(&world);
    stream.write_all(&Hello::ours().encode()).expect("a hello");
    stream.write_all(&u32::MAX.to_le_bytes()).expect("a header");
    assert!(read_to_hangup(&mut stream).is_some());
    still_serves(&world);
}

#[test]
fn a_frame_that_is_no_message_is_refused() {
    let world = World::served();
    let mut stream = connect(&world);
    stream.write_all(&Hello::ours().encode()).expect("a hello");
    stream
        .write_all(&[5, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff])
        .expect("a frame");
    let answer = read_to_hangup(&mut stream).expect("an answer, then the end");
    assert!(answer.len() > Hello::ours().encode().len(), "no refusal before the end");
    still_serves(&world);
}

#[test]
fn half_a_hello_and_silence_harm_nobody() {
    let world = World::served();
    let silent: Vec<UnixStream> = (0..20).map(|_| connect(&world)).collect();
    let mut half = connect(&world);
    half.write_all(b"TSK").expect("half a hello");
    still_serves(&world);
    assert!(
        read_to_hangup(&mut half).is_some(),
        "half a hello was waited for without end"
    );
    drop(silent);
    still_serves(&world);
}

#[test]
fn a_client_that_reads_nothing_harms_nobody() {
    let world = World::served();
    for n in 0..20 {
        world
            .ctl(&[
                "add",
                "--name",
                &format!("t{n}"),
                "--manual",
                "--description",
                &"x".repeat(20_000),
                "--",
                "true",
            ])
            .ok();
    }
    let mut stream = connect(&world);
    stream
        .set_write_timeout(Some(Duration::from_secs(2)))
        .expect("a timeout");
    stream.write_all(&Hello::ours().encode()).expect("a hello");
    let list = Request::List {
        names: Vec::new(),
        after: None,
        limit: 1000,
    };
    let mut asked = Vec::new();
    while asked.len() < 4 << 20 {
        put_message(&mut asked, &list).expect("a small message");
    }
    // More than the sockets hold: the daemon stops reading when its answers are not read.
    assert!(stream.write_all(&asked).is_err(), "4 MiB of requests were taken in");
    let status = std::fs::read_to_string(format!("/proc/{}/statm", world.pid())).expect("a process");
    let resident: u64 = status.split(' ').nth(1).expect("a number").parse().expect("a number");
    assert!(resident * 4096 < 100 << 20, "the answers are kept: {resident} pages");
    still_serves(&world);
}

#[test]
fn the_65th_connection_is_refused_in_words_and_a_place_comes_back() {
    let world = World::served();
    let held: Vec<UnixStream> = (0..64)
        .map(|_| {
            let mut stream = connect(&world);
            stream.write_all(&Hello::ours().encode()).expect("a hello");
            let mut theirs = [0; 4];
            stream.read_exact(&mut theirs).expect("its hello");
            stream
        })
        .collect();
    let said = world.ctl(&["status"]).refused(1);
    assert!(said.contains("connections") && said.contains("64"), "{said}");
    let Response::Refused(refusal) = Client::connected(&world).hear() else {
        panic!("not a refusal");
    };
    assert!(matches!(refusal, Refusal::Limit { limit: 64, .. }), "{refusal:?}");
    // Those who are told wait for the peer to hang up, for a while, and there are places for sixteen of them.
    wait_for("one that is not even told", || {
        let _told: Vec<UnixStream> = (0..16).map(|_| connect(&world)).collect();
        let status = world.ctl(&["status"]);
        (status.code() == 3 && status.stderr.contains("nothing was done")).then_some(())
    });
    drop(held);
    wait_for("a place", || world.ctl(&["status"]).status.success().then_some(()));
}

#[test]
fn a_client_of_another_protocol_is_spoken_to_in_what_all_understand() {
    let world = World::served();
    for (min, max) in [(7, 9), (0, 0)] {
        let hello = Hello {
            min,
            max,
            caps: 0,
            version: "9.9.9".to_owned(),
        };
        let mut client = Client::with_hello(&world, &hello);
        client.say(&[Request::Status]);
        let basic = |payload: &[u8]| match read_payload(payload) {
            Ok(Payload::Basic(Basic::Answer(answer))) => answer,
            other => panic!("{other:?}"),
        };
        assert_eq!(basic(&client.payload()), Answer::Unsupported, "{min} to {max}");
        let mut ask = Vec::new();
        put_basic(&mut ask, &Basic::Ask(Ask::StatusBrief));
        client.stream.write_all(&ask).expect("it is read");
        let pid = world.pid();
        assert!(
            matches!(basic(&client.payload()), Answer::StatusBrief { pid: told, .. } if told == pid),
            "{min} to {max}"
        );
    }
}

#[test]
fn other_protocol_versions_are_told_which_side_to_upgrade() {
    use std::os::unix::net::UnixListener;
    let world = World::new();
    for (min, max, upgrade) in [(7_u16, 9_u16, "taskctl"), (0, 0, "taskd")] {
        let path = world.path(&format!("fake{min}.sock"));
        let listener = UnixListener::bind(&path).expect("a socket");
        let fake = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let hello = Hello {
                min,
                max,
                caps: 0,
                version: "9.9.9".to_owned(),
            };
            stream.write_all(&hello.encode()).expect("a hello");
            let mut rest = Vec::new();
            // However the client ends.
            let _ = stream.read_to_end(&mut rest);
        });
        let said = crate::harness::run(world.taskctl(&["list"]).env("TASKD_SOCKET", &path)).refused(6);
        fake.join().expect("no panic");
        assert!(
            said.contains("9.9.9") && said.contains(&format!("upgrade {upgrade}")),
            "{said}"
        );
    }
}

#[test]
fn an_import_of_which_a_part_was_refused_is_refused_though_all_of_it_was_sent_at_once() {
    let world = World::served();
    let part = |name: &str, line| Request::ImportMore {
        tasks: vec![Rec(TaskSpec {
            name: name.to_owned(),
            action: ActionSpec::Shell {
                line: "true".to_owned(),
            },
            enabled: true,
            ..TaskSpec::default()
        })],
        lines: vec![line],
    };
    let mut client = Client::connected(&world);
    client.say(&[part("b a d", 1), part("good", 2), Request::ImportEnd]);
    for what in ["the bad part", "the good one", "the end"] {
        let heard = client.hear();
        assert!(
            matches!(heard, Response::Refused(Refusal::ImportLine { line: 1, .. })),
            "{what}: {heard:?}"
        );
    }
    assert_eq!(world.ctl(&["list", "--json"]).json(), serde_json::json!([]));
    client.say(&[part("good", 1), Request::ImportEnd]);
    assert_eq!(client.hear(), Response::Done(Vec::new()));
    assert_eq!(client.hear(), Response::Imported(1));
}

#[test]
fn as_many_files_may_be_open_as_the_connections_that_are_allowed_need() {
    let mut world = World::new();
    std::fs::write(world.path("taskd.toml"), "[limits]\nconnections = 300\n").expect("a file");
    world.spawn(world.after("ulimit -Sn 64", &world.taskd()));
    world.wait_served();
    let held: Vec<Client> = (0..200).map(|_| Client::connected(&world)).collect();
    still_serves(&world);
    drop(held);
}

#[test]
fn a_daemon_that_can_open_no_more_files_says_so_once_and_serves_on_when_it_can() {
    let mut world = World::new();
    std::fs::write(world.path("taskd.toml"), "[limits]\nconnections = 300\n").expect("a file");
    world.spawn(world.after("ulimit -n 64", &world.taskd()));
    world.wait_served();
    world
        .ctl(&["add", "--name", "tick", "--every", "1s", "--", "true"])
        .ok();
    let held: Vec<UnixStream> = (0..100).map(|_| connect(&world)).collect();
    world.wait_logged("connections cannot be accepted");
    let runs = |world: &World| world.log().iter().filter(|line| line["msg"] == "run finished").count();
    let seen = runs(&world);
    // As long as it takes to try again many times.
    wait_for("two runs", || (runs(&world) >= seen + 2).then_some(()));
    drop(held);
    wait_for("a place", || world.ctl(&["status"]).status.success().then_some(()));
    let log = world.log();
    let told = log
        .iter()
        .filter(|line| line["msg"] == "connections cannot be accepted");
    assert_eq!(told.count(), 1);
}

#[test]
fn another_user_is_turned_away_though_the_socket_was_opened_to_all() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be two users");
        return;
    }
    let world = World::served();
    let open_to_all = |path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
    open_to_all(world.path(""), 0o755);
    open_to_all(world.socket(), 0o666);
    std::fs::copy(env!("CARGO_BIN_EXE_taskctl"), world.path("taskctl")).expect("a copy");
    let mut stranger = std::process::Command::new(world.path("taskctl"));
    stranger
        .args(["list", "--json"])
        .env("TASKD_SOCKET", world.socket())
        .uid(65_534);
    let error = crate::harness::run(&mut stranger).error(5);
    assert_eq!(error["code"], "not-allowed", "{error}");
}
