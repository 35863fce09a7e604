//! A bounded queue in front of a writer thread, with an account of what was lost on the way.
//!
//! The thread and the channel are `tracing_appender`'s. Its own bound would lose the count of write errors and knows no
//! "wait until this is written", so the bound is kept here: lines taken in and lines dealt with are counted, and the
//! channel is as large as their difference may become.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

pub(super) type Guard = WorkerGuard;

/// How long the thread sleeps once it has written all there was. Lines that come meanwhile need not wake it: many a second
/// cost fifty wakes and not one each.
const PACE: Duration = Duration::from_millis(20);

/// Bytes of lines that are written at once, or little more.
const AT_ONCE: usize = 64 * 1024;

/// Where lines end up.
pub(super) trait Sink: Send + 'static {
    /// Writes one line, whole or not at all.
    fn write_line(&mut self, line: &[u8]) -> io::Result<()>;

    /// Writes as many of these lines as can be written at once. Gives back how many bytes of them were, which end with a
    /// line; the others are to be written one by one.
    fn write_at_once(&mut self, _lines: &[u8]) -> usize {
        0
    }

    /// The line that says how many were lost and why. `after` is the line that follows it or, when there is none, the
    /// last that came.
    fn loss(&self, after: &[u8], lost: u64, why: &str) -> Vec<u8>;

    /// Nothing more is to be written for now.
    fn idle(&mut self) {}
}

/// What became of the lines. All counts only grow.
#[derive(Debug, Default)]
pub(super) struct Account {
    taken: AtomicU64,
    dealt_with: AtomicU64,
    /// There was no place in the queue.
    overflowed: AtomicU64,
    /// The sink refused them.
    failed: AtomicU64,
    waiters: AtomicUsize,
    lock: Mutex<()>,
    progress: Condvar,
    /// The thread must not rest any longer: that is told by `rested`.
    hurried: AtomicBool,
    rested: Condvar,
}

impl Account {
    pub(super) fn lost(&self) -> u64 {
        self.overflowed.load(Ordering::SeqCst) + self.failed.load(Ordering::SeqCst)
    }

    /// Waits until the lines taken so far are dealt with; `false` when that takes longer than `limit`.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let target = self.taken.load(Ordering::SeqCst);
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.rested.notify_all();
        let behind = |(): &mut ()| self.dealt_with.load(Ordering::SeqCst) < target;
        let waited = self
            .progress
            .wait_timeout_while(guard, limit, behind)
            .unwrap_or_else(PoisonError::into_inner);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        !waited.1.timed_out()
    }

    /// Sleeps so long, or until that is to end: somebody waits, a line must not wait, or there are many.
    fn rest(&self, limit: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let may_rest = |(): &mut ()| {
            let nobody_waits = self.waiters.load(Ordering::SeqCst) == 0;
            nobody_waits && !self.hurried.load(Ordering::SeqCst)
        };
        // However it ends, the next line is looked for.
        drop(self.rested.wait_timeout_while(guard, limit, may_rest));
        self.hurried.store(false, Ordering::SeqCst);
    }

    /// Ends the rest of the thread, or spares it the next one.
    fn hurry(&self) {
        if !self.hurried.swap(true, Ordering::SeqCst) {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.rested.notify_all();
        }
    }

    /// The thread never rests again.
    pub(super) fn end(&self) {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        self.hurry();
    }

    /// Takes a line in if there is a place for it.
    fn take(&self, limit: u64) -> bool {
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
            // Lines dealt with cannot be more than those taken before, but may be more than those read just now.
            let waiting = taken.saturating_sub(self.dealt_with.load(Ordering::SeqCst));
            (waiting < limit).then_some(taken + 1)
        });
        match taken {
            Err(_) => {
                self.overflowed.fetch_add(1, Ordering::SeqCst);
            }
            Ok(before) => {
                let waiting = before.saturating_sub(self.dealt_with.load(Ordering::SeqCst));
                if waiting >= limit / 2 {
                    self.hurry();
                }
            }
        }
        taken.is_ok()
    }

    fn settle(&self, lines: u64) {
        self.dealt_with.fetch_add(lines, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) > 0 {
            // With the lock, so that no waiter is between its look at the count and its sleep.
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.progress.notify_all();
        }
    }
}

/// The end of the queue that lines go into.
pub(super) struct Queue {
    channel: NonBlocking,
    limit: u64,
    account: Arc<Account>,
}

impl Queue {
    /// Starts the thread `name` that writes to `sink`. Dropping the guard ends it.
    pub(super) fn new(sink: impl Sink, limit: usize, name: &str) -> (Queue, Guard) {
        let account = Arc::new(Account::default());
        let writer = Writer {
            sink,
            account: Arc::clone(&account),
            reported: 0,
            waiting: Vec::new(),
            last: Vec::new(),
            why: String::new(),
        };
        let (channel, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(limit)
            .lossy(true)
            .thread_name(name)
            .finish(writer);
        let queue = Queue {
            channel,
            limit: limit as u64,
            account,
        };
        (queue, guard)
    }

    pub(super) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.account)
    }

    /// Queues a line, which ends with a line feed, or counts it as lost. Never waits. What is urgent is written at once.
    pub(super) fn push(&self, line: &[u8], urgent: bool) {
        if self.account.take(self.limit) {
            // The channel has a place for each line taken, so this cannot lose one while the thread lives.
            let _ = self.channel.clone().write_all(line);
            if urgent {
                self.account.hurry();
            }
        }
    }
}

/// The end of the queue that lines come out of. It never returns an error: `tracing_appender` would forget it.
struct Writer<S> {
    sink: S,
    account: Arc<Account>,
    /// How many lost lines have been told of.
    reported: u64,
    /// Lines that came together and are not written yet.
    waiting: Vec<u8>,
    last: Vec<u8>,
    /// Why the last line failed.
    why: String,
}

impl<S: Sink> Writer<S> {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        // What is missing is told before what comes after it.
        self.report(line)?;
        self.sink.write_line(line)
    }

    fn write_waiting(&mut self) {
        let lines = std::mem::take(&mut self.waiting);
        let is_told = self.account.lost() == self.reported;
        let written = if is_told { self.sink.write_at_once(&lines) } else { 0 };
        for line in lines[written..].split_inclusive(|byte| *byte == b'\n') {
            if let Err(error) = self.line(line) {
                self.account.failed.fetch_add(1, Ordering::SeqCst);
                self.why = error.to_string();
            }
        }
        let mut each = lines.split_inclusive(|byte| *byte == b'\n');
        if let Some(last) = each.next_back() {
            self.last.clear();
            self.last.extend_from_slice(last);
            self.account.settle(each.count() as u64 + 1);
        }
        self.waiting = lines;
        self.waiting.clear();
    }

    fn report(&mut self, after: &[u8]) -> io::Result<()> {
        let lost = self.account.lost();
        if lost == self.reported || after.is_empty() {
            return Ok(());
        }
        let why = match self.why.as_str() {
            "" => "they came faster than they could be written",
            why => why,
        };
        let line = self.sink.loss(after, lost - self.reported, why);
        self.sink.write_line(&line)?;
        self.reported = lost;
        self.why.clear();
        Ok(())
    }
}

impl<S: Sink> Write for Writer<S> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(line);
        if self.waiting.len() >= AT_ONCE {
            self.write_waiting();
        }
        Ok(line.len())
    }

    /// There is no other line for now.
    fn flush(&mut self) -> io::Result<()> {
        self.write_waiting();
        let last = std::mem::take(&mut self.last);
        // What cannot be told now is told with the next line.
        let _ = self.report(&last);
        self.last = last;
        self.sink.idle();
        self.account.rest(PACE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use super::*;

    /// A sink that does nothing until its gate is dropped, and refuses lines on a bad day.
    struct Moody {
        gate: mpsc::Receiver<()>,
        bad_day: Arc<AtomicBool>,
        written: Arc<Mutex<Vec<String>>>,
    }

    impl Sink for Moody {
        fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
            // Nobody sends: this waits until the other end is gone.
            let _ = self.gate.recv();
            if self.bad_day.load(Ordering::SeqCst) {
                return Err(io::Error::other("bad day"));
            }
            let line = String::from_utf8_lossy(line).trim_end().to_owned();
            self.written.lock().unwrap().push(line);
            Ok(())
        }

        fn loss(&self, after: &[u8], lost: u64, why: &str) -> Vec<u8> {
            format!(
                "{lost} lost before {}: {why}",
                String::from_utf8_lossy(after).trim_end()
            )
            .into_bytes()
        }
    }

    struct Fixture {
        queue: Queue,
        gate: mpsc::Sender<()>,
        bad_day: Arc<AtomicBool>,
        written: Arc<Mutex<Vec<String>>>,
        guard: Guard,
    }

    impl Fixture {
        fn new(limit: usize) -> Fixture {
            let (gate, receiver) = mpsc::channel();
            let (bad_day, written) = (Arc::default(), Arc::default());
            let sink = Moody {
                gate: receiver,
                bad_day: Arc::clone(&bad_day),
                written: Arc::clone(&written),
            };
            let (queue, guard) = Queue::new(sink, limit, "test");
            Fixture {
                queue,
                gate,
                bad_day,
                written,
                guard,
            }
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_full_queue_loses_lines_and_says_how_many() {
        let f = Fixture::new(2);
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            f.queue.push(line.as_bytes(), false);
        }
        assert_eq!(f.queue.account.lost(), 2, "nothing was written, and two have a place");
        assert!(!f.queue.account.wait(Duration::from_millis(1)));
        drop(f.gate);
        assert!(f.queue.account.wait(LONG));
        f.queue.push(b"e\n", false);
        assert!(f.queue.account.wait(LONG));
        drop(f.guard);
        let written = f.written.lock().unwrap().clone();
        // The loss was found while `a` was about to be written, or after.
        let told: Vec<&String> = written.iter().filter(|line| line.contains("lost")).collect();
        assert_eq!(told.len(), 1, "{written:?}");
        assert!(told[0].starts_with("2 lost before") && told[0].ends_with("faster than they could be written"));
        let lines: Vec<&str> = written
            .iter()
            .map(String::as_str)
            .filter(|line| line.len() == 1)
            .collect();
        assert_eq!(lines, ["a", "b", "e"]);
    }

    #[test]
    fn lines_the_sink_refuses_are_counted_and_told_with_the_reason() {
        let f = Fixture::new(100);
        drop(f.gate);
        f.bad_day.store(true, Ordering::SeqCst);
        f.queue.push(b"a\n", false);
        f.queue.push(b"b\n", false);
        assert!(f.queue.account.wait(LONG));
        assert_eq!(f.queue.account.lost(), 2);
        assert!(f.written.lock().unwrap().is_empty());
        f.bad_day.store(false, Ordering::SeqCst);
        f.queue.push(b"c\n", false);
        assert!(f.queue.account.wait(LONG));
        drop(f.guard);
        assert_eq!(f.queue.account.lost(), 2);
        let written = f.written.lock().unwrap().clone();
        assert_eq!(written.len(), 2, "{written:?}");
        assert!(written[0].starts_with("2 lost before") && written[0].ends_with(": bad day"));
        assert_eq!(written[1], "c");
    }

    #[test]
    fn a_loss_at_the_very_end_is_told_at_the_end() {
        let f = Fixture::new(1);
        f.queue.push(b"a\n", false);
        f.queue.push(b"b\n", false);
        drop(f.gate);
        assert!(f.queue.account.wait(LONG));
        drop(f.guard);
        let written = f.written.lock().unwrap().clone();
        assert_eq!(written.len(), 2, "{written:?}");
        assert!(written.iter().any(|line| line == "a"));
        assert!(
            written.iter().any(|line| line.starts_with("1 lost before a: ")),
            "{written:?}"
        );
    }

    #[test]
    fn a_rest_ends_for_what_is_urgent_and_before_there_is_no_place() {
        // Far longer than a test may take.
        let rest = || {
            let account = Arc::new(Account::default());
            let rests = Arc::clone(&account);
            (
                account,
                std::thread::spawn(move || rests.rest(Duration::from_secs(3600))),
            )
        };
        let (account, resting) = rest();
        account.hurry();
        resting.join().unwrap();
        let (account, resting) = rest();
        for _ in 0..6 {
            assert!(account.take(10));
        }
        resting.join().unwrap();
        // That was for one rest, unless it is the end.
        assert!(!account.hurried.load(Ordering::SeqCst));
        let (account, resting) = rest();
        account.end();
        resting.join().unwrap();
        account.rest(Duration::from_secs(3600));
    }
}
