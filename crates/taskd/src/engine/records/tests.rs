use taskd_store::{Options, Store};

use super::*;

/// Records on their way to a real store that this stands before: what it says passes through the test.
struct Desk {
    records: Records,
    stored: mpsc::UnboundedReceiver<Stored>,
    store: Option<Store>,
    _dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(Options::new(dir.path())).expect("an empty directory").store;
        let (records, stored) = Records::new(store.writer());
        Desk {
            records,
            stored,
            store: Some(store),
            _dir: dir,
        }
    }

    fn write(&mut self, ticket: u64, weight: Weight) {
        self.records.write(Ticket(ticket), Vec::new(), weight);
    }

    /// The next answer of the store.
    async fn answer(&mut self) -> Stored {
        self.stored.recv().await.expect("the store answers")
    }

    /// The next answer of the store, as it would be on a full disk.
    async fn full(&mut self) -> Stored {
        let mut stored = self.answer().await;
        stored.result = Err(NotCommitted {
            error: CommitError {
                kind: Kind::Other,
                text: "no room".to_owned(),
            },
            records: Vec::new(),
        });
        stored
    }

    fn settle(&mut self, stored: Stored) -> String {
        match self.records.settle(stored) {
            Settled::Durable(ticket) => format!("{} durable", ticket.0),
            Settled::Refused { ticket, reason } => format!("{} refused: {reason}", ticket.0),
            Settled::Later => "later".to_owned(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn facts_that_cannot_be_written_are_kept_in_order_and_tried_again_the_oldest_alone() {
    let mut desk = Desk::new();
    for ticket in 1..=3 {
        desk.write(ticket, Weight::Fact);
    }
    let (first, second, third) = (desk.full().await, desk.full().await, desk.full().await);
    // Whatever the order of the answers.
    for stored in [second, first, third] {
        assert_eq!(desk.settle(stored), "later");
    }
    assert_eq!(desk.records.error(), Some("no room"));
    // What happens meanwhile waits behind; what is asked for is refused.
    desk.write(4, Weight::Fact);
    desk.write(5, Weight::Decision);
    let refused = desk.answer().await;
    assert_eq!(desk.settle(refused), "5 refused: no room");
    assert!(!desk.records.settled());

    let since = Instant::from_std(clock::monotonic());
    desk.records.retry_due().await;
    assert_eq!(since.elapsed(), RETRY_AFTER);
    desk.records.retry();
    let again = desk.full().await;
    assert_eq!(again.ticket, Ticket(1));
    assert_eq!(desk.settle(again), "later");
    assert!(desk.stored.try_recv().is_err(), "only the oldest is tried");

    desk.records.retry_due().await;
    desk.records.retry();
    for ticket in 1..=4 {
        let stored = desk.answer().await;
        assert_eq!(desk.settle(stored), format!("{ticket} durable"));
    }
    assert!(desk.records.settled() && desk.records.error().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_an_earlier_epoch_does_not_end_the_trouble() {
    let mut desk = Desk::new();
    desk.write(1, Weight::Fact);
    desk.write(2, Weight::Decision);
    let (first, second) = (desk.full().await, desk.answer().await);
    assert_eq!(desk.settle(first), "later");
    assert_eq!(desk.settle(second), "2 durable");
    assert_eq!(desk.records.error(), Some("no room"));
}

#[tokio::test]
async fn a_store_whose_thread_is_gone_is_told_from_one_that_is_full() {
    let mut desk = Desk::new();
    desk.write(1, Weight::Fact);
    let full = desk.full().await;
    desk.settle(full);
    assert!(desk.records.closed().is_none());
    // To those who write it is the same whether it was closed or has panicked.
    desk.store.take().expect("it is open").close().expect("in good order");
    desk.records.retry();
    let gone = desk.answer().await;
    desk.settle(gone);
    assert!(desk.records.closed().is_some());
}
