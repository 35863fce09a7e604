//! What people are told: a line in the daemon log for each notice, and the watchers of a run.

use taskd_core::effect::Notice;

use super::Driver;

/// A byte that a command writes takes so many on disk at most, where its lines are not tiny.
const OVERHEAD: u64 = 8;

impl Driver {
    pub(super) fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::RunCreated { origin, waiting } => {
                let run = origin.attempt.run;
                if waiting {
                    tracing::info!(
                        task = origin.name.as_str(),
                        run = run.n,
                        trigger = origin.trigger.word(),
                        trace_id = %origin.trace_id,
                        "run waits for a place"
                    );
                }
                self.watchers.changed(run);
            }
            Notice::RunStarted {
                origin,
                pid,
                at,
                adopted,
            } => {
                let run = origin.attempt.run;
                tracing::info!(
                    task = origin.name.as_str(),
                    run = run.n,
                    attempt = origin.attempt.attempt,
                    trace_id = %origin.trace_id,
                    trigger = origin.trigger.word(),
                    fire_time = origin.fire_time.map(|at| at.to_string()),
                    lateness_ms = origin.fire_time.map(|due| at.as_millis() - due.as_millis()),
                    pid,
                    adopted,
                    "run started"
                );
                self.watchers.changed(run);
            }
            Notice::RunStopping {
                run,
                name,
                trace_id,
                reason,
            } => {
                tracing::info!(
                    task = name.as_str(),
                    run = run.n,
                    trace_id = %trace_id,
                    reason,
                    "run is being stopped"
                );
                self.watchers.changed(run);
            }
            Notice::AttemptEnded {
                run,
                attempt,
                name,
                trace_id,
                outcome,
                reason,
                retry_at,
            } => {
                tracing::info!(
                    task = name.as_str(),
                    run = run.n,
                    attempt,
                    trace_id = %trace_id,
                    outcome = outcome.word(),
                    reason,
                    retry_at = %retry_at,
                    "attempt ended, another one follows"
                );
                self.watchers.changed(run);
            }
            Notice::GateClosed {
                run,
                name,
                trace_id,
                reading,
                gives_up,
            } => {
                tracing::info!(
                    task = name.as_str(),
                    run = run.n,
                    trace_id = %trace_id,
                    reason = reading,
                    until = %gives_up,
                    "run waits for its gate"
                );
                self.watchers.changed(run);
            }
            Notice::RunFinished {
                run,
                attempt,
                name,
                trigger,
                trace_id,
                outcome,
                reason,
                exit_code,
                signal,
                duration,
                usage,
            } => {
                tracing::info!(
                    task = name.as_str(),
                    run = run.n,
                    attempt,
                    trace_id = %trace_id,
                    trigger = trigger.word(),
                    outcome = outcome.word(),
                    reason,
                    exit_code,
                    signal,
                    duration_ms = duration.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
                    output_bytes = usage.output_bytes,
                    output_lost = Some(usage.output_lost).filter(|lost| *lost > 0),
                    "run finished"
                );
                if usage.output_lost > 0 && usage.output_lost == usage.output_bytes {
                    tracing::warn!(
                        task = name.as_str(),
                        run = run.n,
                        attempt,
                        output_lost = usage.output_lost,
                        "nothing of the output of a run could be written; is there room in the state directory?"
                    );
                }
                let kept = usage.output_bytes.saturating_sub(usage.output_lost);
                let threshold = self.config.limits.output_compress_bytes;
                // A line takes more on disk than the command wrote, and of attempts before the last nothing is known here, nor
                // of the one before that which was to come.
                if attempt > 1 || duration.is_none() || kept > threshold / OVERHEAD {
                    self.press.is_over(run, attempt, threshold);
                }
                self.watchers.ended(run);
            }
            Notice::Passed {
                task: _,
                name,
                first,
                last,
                count,
                passing,
                reason,
            } => tracing::info!(
                task = name.as_str(),
                outcome = passing.word(),
                first = %first,
                last = %last,
                count,
                reason,
                "fire times passed without a run"
            ),
            Notice::MarksReset { tasks, mark } => tracing::warn!(
                tasks,
                mark = %mark,
                "the clock was set back far; fire times may come again"
            ),
            Notice::Held { name, problem } => {
                tracing::error!(task = name.as_str(), error = problem, "task is held");
            }
        }
    }
}
