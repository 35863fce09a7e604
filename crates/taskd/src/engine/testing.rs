//! An engine of its own for a test: with a real store, and driven by hand.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc::Sender;

use taskd_core::command::Ticket;
use taskd_core::effect::Weight;
use taskd_core::schedule::{Catalog, Zones};
use taskd_core::scheduler::{Limits, Scheduler};
use taskd_store::{Batch, Options, Store};

use super::{Driver, Engine, Parts, Whereabouts};
use crate::config::Config;
use crate::notify::Notify;

/// A driver that nobody runs, what it needs, and the other end of what it tells the service manager.
pub(super) struct Bench {
    pub(super) driver: Driver,
    pub(super) engine: Engine,
    pub(super) store: Store,
    told: UnixDatagram,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// One without tasks, whose runner is its own to start or not.
    pub(super) fn new(starts_runner: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let opened = Store::open(Options::new(dir.path())).expect("an empty directory");
        let zones = Zones::new(jiff::tz::db().clone());
        let told = UnixDatagram::bind(dir.path().join("notify.sock")).expect("a socket");
        told.set_nonblocking(true).expect("a socket");
        let parts = Parts {
            core: Scheduler::new(Catalog::new(zones), Limits::default(), [1, 2]),
            writer: opened.store.writer(),
            reader: opened.store.reader().expect("it is open"),
            runner: Whereabouts {
                socket: dir.path().join("runner.sock"),
                state_dir: dir.path().to_owned(),
                start: starts_runner,
            },
            config: Config::default(),
            notify: notify(dir.path()),
        };
        let (engine, mailbox) = Engine::channel();
        Bench {
            driver: Driver::new(parts, mailbox).expect("a timer"),
            engine,
            store: opened.store,
            told,
            _dir: dir,
        }
    }

    /// The store answers nothing any more, as on a disk that hangs, until what this gives is dropped.
    pub(super) fn hang_store(&self) -> Sender<()> {
        let (release, released) = std::sync::mpsc::channel::<()>();
        self.store.writer().commit(Batch {
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

    /// Something has happened that is to be recorded.
    pub(super) fn write_a_fact(&mut self) {
        self.driver.records.write(Ticket(1), Vec::new(), Weight::Fact);
    }

    /// What the service manager was told since the last call: the first line of each message.
    pub(super) fn told(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        std::iter::from_fn(|| self.told.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()))
            .map(|message| String::from_utf8_lossy(&message).lines().take(1).collect())
            .collect()
    }
}

fn notify(dir: &Path) -> Notify {
    Notify::to(Some(dir.join("notify.sock").as_os_str()), None)
}
