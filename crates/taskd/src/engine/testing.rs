//! An engine of its own for a test: with a real store, and driven by hand.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::Sender;
use std::time::Duration;

use taskd_core::command::Ticket;
use taskd_core::effect::Weight;
use taskd_core::schedule::{Catalog, Zones};
use taskd_core::scheduler::{Limits, Scheduler};
use taskd_store::{Batch, Options, Store};

use taskd_wire::codec::{self, Rec};
use taskd_wire::frame::{FrameReader, Payload, put_message, read_payload};
use taskd_wire::hello::{Hello, HelloReader};
use taskd_wire::runner::{FromRunner, ToRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::{Driver, Engine, Keeper, Parts, Whereabouts};
use crate::config::Config;
use crate::notify::Notify;
use crate::press::Press;

/// A driver that nobody runs, what it needs, and the other end of what it tells the service manager.
pub(super) struct Bench {
    pub(super) driver: Driver,
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) told: UnixDatagram,
    pub(super) dir: tempfile::TempDir,
}

impl Bench {
    /// One without tasks, whose runner is its own to start or not.
    pub(super) fn new(starts_runner: bool) -> Self {
        Bench::watched(starts_runner, None)
    }

    /// The same, watched by the service manager.
    pub(super) fn watched(starts_runner: bool, watchdog: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let opened = Store::open(Options::new(dir.path())).expect("an empty directory");
        let zones = Zones::new(jiff::tz::db().clone());
        let told = UnixDatagram::bind(dir.path().join("notify.sock")).expect("a socket");
        told.set_nonblocking(true).expect("a socket");
        let parts = Parts {
            core: Scheduler::new(Catalog::new(zones), Limits::default(), [1, 2]),
            writer: opened.store.writer(),
            press: Press::idle(),
            reader: opened.store.reader().expect("it is open"),
            runner: Whereabouts {
                socket: dir.path().join("runner.sock"),
                state_dir: dir.path().to_owned(),
                keeper: if starts_runner { Keeper::Daemon } else { Keeper::Other },
                // Whatever plays a runner is one of it.
                program: None,
                cgroups: crate::config::Cgroups::Off,
            },
            config: Config::default(),
            notify: Notify::to(Some(dir.path().join("notify.sock").as_os_str()), watchdog),
            boot: None,
        };
        let (engine, mailbox) = Engine::channel();
        Bench {
            driver: Driver::new(parts, mailbox).expect("a timer"),
            engine,
            store: opened.store,
            told,
            dir,
        }
    }

    /// The store answers nothing any more, as on a disk that hangs, until what this gives is dropped.
    pub(super) fn hang_store(&self) -> Sender<()> {
        hang(&self.store)
    }

    /// Something has happened that is to be recorded.
    pub(super) fn write_a_fact(&mut self) {
        self.driver.records.write(Ticket(1), Vec::new(), Weight::Fact);
    }

    /// What the service manager was told since the last call: the first line of each message.
    pub(super) fn told(&self) -> Vec<String> {
        lines(&self.told)
    }
}

/// The first line of each message that is there.
pub(super) fn lines(told: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    std::iter::from_fn(|| told.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()))
        .map(|message| String::from_utf8_lossy(&message).lines().take(1).collect())
        .collect()
}

/// As [`Bench::hang_store`].
pub(super) fn hang(store: &Store) -> Sender<()> {
    let (release, released) = std::sync::mpsc::channel::<()>();
    store.writer().commit(Batch {
        records: Vec::new(),
        epoch: 0,
        fact: false,
        // On the thread of the writer.
        done: Box::new(move |_| {
            let _ = released.recv();
        }),
    });
    release
}

/// A runner that knows no attempt, starts none, and tells what it is told.
pub(super) struct FakeRunner(UnixListener);

impl FakeRunner {
    /// One that listens where the engine of this bench looks for its own.
    pub(super) fn listen(bench: &Bench) -> Self {
        FakeRunner(UnixListener::bind(bench.dir.path().join("runner.sock")).expect("a socket"))
    }

    /// Lets the engine attach, and gives what it is told after, until it is told to end.
    pub(super) async fn serve(self) -> Vec<ToRunner> {
        let told = self.serve_until_gone().await;
        assert!(
            matches!(told.last(), Some(ToRunner::Shutdown { .. })),
            "it hung up after {told:?}"
        );
        told
    }

    /// The same, or until the engine is gone.
    pub(super) async fn serve_until_gone(self) -> Vec<ToRunner> {
        let (mut stream, _) = self.0.accept().await.expect("the engine");
        stream.write_all(&Hello::ours().encode()).await.expect("it reads");
        let mut buffer = [0; 4096];
        let mut hello = HelloReader::new();
        while hello.next().expect("a hello").is_none() {
            let length = stream.read(&mut buffer).await.expect("a hello");
            hello.push(&buffer[..length]);
        }
        let mut frames = FrameReader::new();
        frames.push(&hello.into_rest());
        let mut told = Vec::new();
        loop {
            while let Some(payload) = frames.next().expect("a frame") {
                let Payload::Message(bytes) = read_payload(&payload).expect("a payload") else {
                    panic!("protocol 0 is not for runners");
                };
                match codec::decode(bytes).expect("a message") {
                    ToRunner::Attach => {
                        let mut out = Vec::new();
                        put_message(&mut out, &FromRunner::InventoryEnd(Rec::default())).expect("a small one");
                        stream.write_all(&out).await.expect("it reads");
                    }
                    message => told.push(message),
                }
                if matches!(told.last(), Some(ToRunner::Shutdown { .. })) {
                    return told;
                }
            }
            let length = stream.read(&mut buffer).await.expect("what it says");
            if length == 0 {
                return told;
            }
            frames.push(&buffer[..length]);
        }
    }
}
