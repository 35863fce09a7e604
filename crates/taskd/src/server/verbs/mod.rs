//! One verb, one file: each answers the request of its name.

mod add;
mod backfill;
mod calendar;
mod cancel;
mod count;
mod edit;
mod enable;
mod export;
mod following;
mod graph;
pub(super) mod import;
mod lint;
mod list;
mod next;
mod output;
mod pause;
mod pools;
mod remove;
mod restart;
mod run;
mod runs;
mod show;
mod status;
mod top;
pub(super) mod watch;
mod why;

use taskd_wire::client::{Overrides, Request, Response};
use taskd_wire::refusal::Refusal;

use super::connection::Connection;
use super::{Shared, names};

/// The answer to one request.
pub(super) async fn answer(
    request: Request,
    shared: &Shared,
    connection: &mut Connection,
) -> Result<Response, Refusal> {
    names::within(named(&request))?;
    if let Request::Graph { task, run } = &request {
        names::within(&Vec::from_iter(task.iter().chain(run).cloned()))?;
    }
    match request {
        Request::Add(spec) => add::answer(shared, spec.0).await,
        Request::Edit { name, patch } => edit::answer(shared, name, patch.0).await,
        Request::Remove { names, running } => remove::answer(shared, names, running).await,
        Request::Enable { names } => enable::answer(shared, names, true).await,
        Request::Disable { names } => enable::answer(shared, names, false).await,
        Request::Run { names } => run::answer(shared, names, Overrides::default()).await,
        Request::RunWith { names, overrides } => run::answer(shared, names, overrides.0).await,
        Request::Cancel { runs } => cancel::answer(shared, runs).await,
        Request::Graph { task, run } => graph::answer(shared, task, run).await,
        Request::CancelFollowing { runs } => following::cancel(shared, runs).await,
        Request::List { names, after, limit } => list::answer(shared, names, after, limit).await,
        Request::Show { name } => show::answer(shared, name).await,
        Request::Runs { filter, before, limit } => runs::answer(shared, filter.0, before, limit).await,
        Request::Next { names, n } => next::answer(shared, names, n).await,
        Request::Status => status::answer(shared).await,
        Request::Output { target } => output::answer(shared, target).await,
        Request::Export { names, after, limit } => export::answer(shared, names, after, limit).await,
        Request::ImportMore { tasks, lines } => import::more(shared, &mut connection.import, tasks, lines),
        Request::ImportEnd => import::end(shared, &mut connection.import).await,
        Request::Pause { names, until_ms, note } => pause::pause(shared, names, until_ms, note).await,
        Request::Resume { names } => pause::resume(shared, names).await,
        Request::Why {
            name,
            from_ms,
            until_ms,
        } => why::answer(shared, name, from_ms.zip(until_ms)).await,
        Request::Lint { names, after, limit } => lint::answer(shared, names, after, limit).await,
        Request::Backfill {
            name,
            from_ms,
            until_ms,
            dry_run,
        } => backfill::answer(shared, name, from_ms, until_ms, dry_run).await,
        Request::CalendarAdd { name, body, tz, freeze } => calendar::add(shared, name, body, tz, freeze).await,
        Request::CalendarList => calendar::list(shared).await,
        Request::CalendarShow { name } => calendar::show(shared, name).await,
        Request::CalendarRemove { names } => calendar::remove(shared, names).await,
        Request::Count {
            names,
            bounds_ms,
            named,
        } => count::answer(shared, names, bounds_ms, named).await,
        Request::PoolSet { kind, names, limit } => pools::set(shared, kind, names, limit).await,
        Request::PoolList { kind } => pools::list(shared, kind).await,
        Request::RestartDaemon => restart::answer(shared).await,
        Request::Top => top::answer(shared).await,
        // Answered by the connection itself, since it is not one answer.
        Request::Watch { .. } => Err(Refusal::UnknownRequest),
    }
}

/// The names and patterns of a request.
fn named(request: &Request) -> &[String] {
    match request {
        Request::Remove { names, .. }
        | Request::Enable { names }
        | Request::Disable { names }
        | Request::Run { names }
        | Request::RunWith { names, .. }
        | Request::Cancel { runs: names }
        | Request::CancelFollowing { runs: names }
        | Request::List { names, .. }
        | Request::Next { names, .. }
        | Request::Pause { names, .. }
        | Request::Resume { names }
        | Request::CalendarRemove { names }
        | Request::PoolSet { names, .. }
        | Request::Export { names, .. }
        | Request::Lint { names, .. }
        | Request::Count { names, .. } => names,
        Request::Runs { filter, .. } => &filter.0.targets,
        Request::Edit { name, .. }
        | Request::Show { name }
        | Request::Output { target: name }
        | Request::Why { name, .. }
        | Request::Backfill { name, .. }
        | Request::CalendarAdd { name, .. }
        | Request::CalendarShow { name } => std::slice::from_ref(name),
        // One name each, in fields of their own.
        Request::Graph { .. } => &[],
        // Checked where a watch begins.
        Request::Watch { .. } => &[],
        Request::Add(_)
        | Request::Status
        | Request::Top
        | Request::CalendarList
        | Request::PoolList { .. }
        | Request::RestartDaemon
        | Request::ImportMore { .. }
        | Request::ImportEnd => &[],
    }
}
