//! The size of output that has changed after its run was over.

use rusqlite::{Connection, OptionalExtension, params};
use taskd_core::policy::RETRIES_MAX;
use taskd_core::run::{AttemptKey, RunKey};

use super::{COUNT_MAX, OutputSize, Tally, plausible};
use crate::columns::bits;
use crate::error::Fault;

/// Takes in how many bytes the output of a run takes on disk. One that has not ended, or of which nothing is kept any more,
/// stays as it is.
pub(crate) fn recount(db: &Connection, run: RunKey, tally: &mut Tally, size: &OutputSize) -> Result<(), Fault> {
    let found = db
        .prepare_cached(
            "SELECT id, attempt, output_kept FROM runs
             WHERE task = ?1 AND n = ?2 AND finished_at IS NOT NULL AND output_kept > 0",
        )?
        .query_row([bits(run.task.0), bits(run.n)], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((id, attempts, before)) = found else {
        return Ok(());
    };
    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    let sizes = (1..=attempts.min(RETRIES_MAX + 1)).filter_map(|attempt| size(AttemptKey { run, attempt }));
    let kept = bits(sizes.fold(0, u64::saturating_add).min(COUNT_MAX));
    db.prepare_cached("UPDATE runs SET output_kept = ?2 WHERE id = ?1")?
        .execute(params![id, kept])?;
    tally.output(id, kept - plausible(before));
    Ok(())
}
