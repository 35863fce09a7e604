use taskd_core::task::TaskId;

use super::{Limits, Pruner, TASKS};
use crate::apply::Tally;
use crate::schema;
use crate::session::Session;

fn session() -> Session {
    let db = rusqlite::Connection::open_in_memory().unwrap();
    schema::migrate(&db).unwrap();
    Session::new(db).unwrap()
}

#[test]
fn a_step_looks_at_a_few_tasks_however_many_grew() {
    let mut session = session();
    let mut pruner = Pruner::new(Limits::default(), None);
    let mut tally = Tally::default();
    tally.more_runs.extend((1..=250).map(TaskId));
    tally.more_spans.extend((1..=1_000).map(TaskId));
    pruner.note(&tally);
    let left = |pruner: &Pruner| (pruner.more_runs.len(), pruner.more_spans.len());
    for expected in [(150, 1_000), (50, 1_000), (0, 1_000), (0, 900)] {
        pruner.step(&mut session);
        assert_eq!(left(&pruner), expected, "{TASKS} at once");
    }
    while pruner.is_pending() {
        pruner.step(&mut session);
    }
    assert_eq!(left(&pruner), (0, 0));
}
