-- How the run of a task that ended last of those that did run had ended: one that was called off before it began, or whose gate
-- was closed, is none of these.
ALTER TABLE marks ADD COLUMN ran_outcome TEXT;
ALTER TABLE marks ADD COLUMN ran_at INTEGER;
UPDATE marks SET (ran_outcome, ran_at) = (
    SELECT outcome, finished_at FROM runs
    WHERE task = marks.task AND finished_at IS NOT NULL AND outcome NOT IN ('skipped', 'missed')
      AND (started_at IS NOT NULL OR attempt > 1 OR outcome IN ('unknown', 'spawn-failed'))
    ORDER BY finished_at DESC, n DESC LIMIT 1
) WHERE last_n IS NOT NULL;
