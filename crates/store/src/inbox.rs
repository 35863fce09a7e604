//! What waits for the writer's thread.
//!
//! A channel would wake the thread for each request. Here one that [can wait](Request::can_wait) does not disturb it
//! while it lingers for more of them, so that a thousand runs a second cost twenty wakes and not thousands.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::writer::Request;

/// A queue and its two ends.
pub(crate) fn inbox() -> (Sender, Receiver) {
    let inbox = Arc::new(Inbox::default());
    (Sender(Arc::clone(&inbox)), Receiver(inbox))
}

#[derive(Default)]
struct Inbox {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    thread: Thread,
    /// Of what waits, something cannot.
    urgent: bool,
    /// Of what waits, something [holds others up](Request::holds_up).
    holds_up: bool,
}

/// What ends a sleep before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// What cannot wait.
    Urgent,
    /// That, and what holds others up.
    HoldsUp,
}

/// What the writer's thread is doing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Thread {
    /// It works, or has not begun; it looks for more by itself.
    #[default]
    Busy,
    /// It sleeps until there is something.
    Idle,
    /// It sleeps for a while, or until something ends that.
    Lingering(Ends),
    /// It has ended. Nobody takes anything any more.
    Ended,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics, and the state is whole at each moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where requests go in.
#[derive(Clone)]
pub(crate) struct Sender(Arc<Inbox>);

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    /// Puts a request behind those that wait. Once the thread has ended it is dropped, and so answers itself.
    pub(crate) fn send(&self, request: Request) {
        let mut state = self.0.lock();
        if state.thread == Thread::Ended {
            // What is told of its end must not find this locked.
            drop(state);
            return;
        }
        state.urgent |= !request.can_wait();
        state.holds_up |= request.holds_up();
        state.waiting.push_back(request);
        let wakes = match state.thread {
            Thread::Idle => true,
            Thread::Lingering(ends) => state.is_over(ends),
            Thread::Busy | Thread::Ended => false,
        };
        drop(state);
        if wakes {
            self.0.woken.notify_one();
        }
    }
}

/// Where requests come out.
pub(crate) struct Receiver(Arc<Inbox>);

impl Receiver {
    /// The next request, once there is one.
    pub(crate) fn wait(&self) -> Request {
        let mut state = self.0.lock();
        loop {
            if let Some(request) = state.take() {
                return request;
            }
            state.thread = Thread::Idle;
            state = self.0.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.thread = Thread::Busy;
        }
    }

    /// The next request, if there is one.
    pub(crate) fn take(&self) -> Option<Request> {
        self.0.lock().take()
    }

    /// Whether something has come meanwhile.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.0.lock().waiting.is_empty()
    }

    /// Whether something of it cannot wait.
    pub(crate) fn is_urgent(&self) -> bool {
        self.0.lock().urgent
    }

    /// Sleeps so long, or until there is a request that ends it.
    pub(crate) fn linger(&self, limit: Duration, ends: Ends) {
        let mut state = self.0.lock();
        state.thread = Thread::Lingering(ends);
        let (mut state, _) = self
            .0
            .woken
            .wait_timeout_while(state, limit, |state| !state.is_over(ends))
            .unwrap_or_else(PoisonError::into_inner);
        state.thread = Thread::Busy;
    }
}

impl State {
    fn take(&mut self) -> Option<Request> {
        let request = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.urgent = false;
            self.holds_up = false;
        }
        request
    }

    /// Whether a sleep is.
    fn is_over(&self, ends: Ends) -> bool {
        match ends {
            Ends::Urgent => self.urgent,
            Ends::HoldsUp => self.urgent || self.holds_up,
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.thread = Thread::Ended;
        let refused = std::mem::take(&mut state.waiting);
        drop(state);
        // What is told of their end must not find this locked.
        drop(refused);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;
    use std::thread;

    use taskd_core::record::Record;

    use super::*;
    use crate::writer::{Batch, Writer};

    /// A writer, and where it is told the number of each of its batches that was answered.
    struct Asker {
        writer: Writer,
        told: mpsc::Sender<(u32, bool)>,
    }

    impl Asker {
        fn commit(&self, number: u32, fact: bool) {
            self.commit_records(number, fact, Vec::new());
        }

        fn commit_records(&self, number: u32, fact: bool, records: Vec<Record>) {
            let told = self.told.clone();
            self.writer.commit(Batch {
                records,
                epoch: 0,
                fact,
                done: Box::new(move |result| told.send((number, result.is_ok())).unwrap()),
            });
        }
    }

    fn asker() -> (Asker, Receiver, mpsc::Receiver<(u32, bool)>) {
        let (sender, receiver) = inbox();
        let (told, heard) = mpsc::channel();
        let writer = Writer::new(sender, Path::new("store.db").into());
        (Asker { writer, told }, receiver, heard)
    }

    #[test]
    fn facts_are_lingered_for_and_what_cannot_wait_ends_that() {
        let (asker, receiver, heard) = asker();
        asker.commit(1, true);
        // Far longer than a test may take.
        let lingers = thread::spawn(move || {
            receiver.linger(Duration::from_secs(3600), Ends::Urgent);
            receiver
        });
        asker.commit(2, true);
        asker.commit(3, false);
        let receiver = lingers.join().unwrap();
        while let Some(request) = receiver.take() {
            drop(request);
        }
        assert_eq!(
            heard.try_iter().collect::<Vec<_>>(),
            [(1, false), (2, false), (3, false)]
        );
        // That one was taken, so it hurries nobody any more.
        asker.commit(4, true);
        assert!(!receiver.0.lock().urgent);
    }

    #[test]
    fn what_holds_others_up_ends_a_long_sleep_only() {
        let (asker, receiver, _heard) = asker();
        let until = taskd_core::time::Timestamp::from_millis(7);
        asker.commit_records(1, true, vec![Record::Horizon { until, boot: None }]);
        let holds_up = |receiver: &Receiver, ends| receiver.0.lock().is_over(ends);
        assert!(holds_up(&receiver, Ends::HoldsUp) && !holds_up(&receiver, Ends::Urgent));
        // It does not wait for an hour.
        receiver.linger(Duration::from_secs(3600), Ends::HoldsUp);
        assert!(receiver.take().is_some());
        assert!(!holds_up(&receiver, Ends::HoldsUp), "it was taken");
        asker.commit(2, true);
        let lingers = thread::spawn(move || {
            receiver.linger(Duration::from_secs(3600), Ends::HoldsUp);
            receiver
        });
        asker.commit_records(3, true, vec![Record::Horizon { until, boot: None }]);
        drop(lingers.join().unwrap());
    }

    #[test]
    fn who_sleeps_is_woken_by_whatever_comes() {
        for fact in [true, false] {
            let (asker, receiver, _heard) = asker();
            let sleeps = thread::spawn(move || receiver.wait().can_wait());
            asker.commit(1, fact);
            assert_eq!(sleeps.join().unwrap(), fact);
        }
    }

    #[test]
    fn what_nobody_takes_any_more_is_refused() {
        let (asker, receiver, heard) = asker();
        asker.commit(1, false);
        drop(receiver);
        asker.commit(2, true);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [(1, false), (2, false)]);
    }
}
