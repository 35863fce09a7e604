//! `taskctl list`

use taskd_wire::client::{Request, Response, TaskSummary};
use taskd_wire::codec::Rec;

use crate::args::ListArgs;
use crate::client::{Client, pages};
use crate::error::{Error, Result};
use crate::json;
use crate::out::JsonArray;
use crate::render::table::{Cell, Column, Table, Tone};
use crate::render::task;
use crate::render::time::Times;
use crate::session::Session;

/// Tasks asked for at once.
const PAGE: u32 = 1_000;

const COLUMNS: [Column; 8] = [
    Column::fixed("NAME"),
    Column::fixed("STATE"),
    Column::flexible("SCHEDULE"),
    Column::fixed("NEXT"),
    Column::fixed("").dropped(3),
    Column::fixed("IN ITS ZONE").dropped(1),
    Column::fixed("LAST"),
    Column::flexible("COMMAND").dropped(2),
];

/// Lists tasks.
pub fn run(args: &ListArgs, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    if session.json {
        let mut array = JsonArray::default();
        let out = &mut session.out;
        each(&mut client, &args.names, |task| {
            array.element(out, &json::Task::of(&task))
        })?;
        return array.close(out);
    }
    let times = session.times();
    let mut table = Table::new(&COLUMNS);
    let out = &mut session.out;
    let mut count = 0u64;
    each(&mut client, &args.names, |task| {
        count += 1;
        table.row(row(&task, &times), out)
    })?;
    if count == 0 {
        session.remark("no tasks yet; `taskctl add --help` shows how to add one");
        return Ok(());
    }
    table.end(&mut session.out)
}

/// Gives every task of these names, or every task, in the order of names.
pub fn each(client: &mut Client, names: &[String], mut give: impl FnMut(TaskSummary) -> Result<()>) -> Result<()> {
    let ask = |after| Request::List {
        names: names.to_vec(),
        after,
        limit: PAGE,
    };
    pages(client, ask, |client, response| {
        let Response::Tasks { tasks, more } = response else {
            return Err(Error::from(client.unexpected()));
        };
        let last = tasks.last().map(|task| task.0.spec.name.clone());
        for Rec(task) in tasks {
            give(task)?;
        }
        Ok(last.filter(|_| more))
    })
}

fn row(task: &TaskSummary, times: &Times) -> Vec<Cell> {
    let (state, tone) = task::state(task);
    let (next, away, there) = match task.next_ms {
        Some(at) => (times.short(at), times.relative(at), times.there(at, task.tz.as_deref())),
        None => Default::default(),
    };
    let last = match &task.last {
        Some(last) => Cell::toned(
            format!("{} {}", last.outcome, times.relative(last.finished_ms)),
            Tone::of(&last.outcome),
        ),
        None => Cell::toned("never", Tone::Dim),
    };
    vec![
        task.spec.name.as_str().into(),
        Cell::toned(state, tone),
        task::schedules(&task.spec).into(),
        next.into(),
        Cell::toned(away, Tone::Dim),
        Cell::toned(there.unwrap_or_default(), Tone::Dim),
        last,
        Cell::toned(task::action(&task.spec.action), Tone::Dim),
    ]
}
