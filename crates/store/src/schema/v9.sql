-- The newest ends that a task keeps of those it comes after, until it has all.
CREATE TABLE latches (
    task     INTEGER NOT NULL,
    upstream INTEGER NOT NULL,  -- the task whose run ended
    n        INTEGER NOT NULL,
    ends     TEXT NOT NULL,     -- which ends are followed: succeeded, failed, finished
    PRIMARY KEY (task, upstream)
) STRICT, WITHOUT ROWID;
CREATE INDEX latches_upstream ON latches (upstream);

-- Runs that tasks are owed after the ends of others, in the order in which they came to be owed.
CREATE TABLE owed (
    id       INTEGER PRIMARY KEY,
    task     INTEGER NOT NULL,
    upstream INTEGER NOT NULL,  -- the task whose run ended
    n        INTEGER NOT NULL,
    name     TEXT NOT NULL,     -- its name then
    trace    BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX owed_task ON owed (task, upstream, n);

-- The run whose end triggered a run, with the name of its task then.
ALTER TABLE runs ADD COLUMN cause_task INTEGER;
ALTER TABLE runs ADD COLUMN cause_n INTEGER;
ALTER TABLE runs ADD COLUMN cause_name TEXT;
-- Whether the end of a run triggers nothing.
ALTER TABLE runs ADD COLUMN muted INTEGER NOT NULL DEFAULT 0;
-- What a run was given beside what its task says, in JSON; NULL where that is nothing.
ALTER TABLE runs ADD COLUMN overrides TEXT;
-- What is known of the gate of a run that was found closed, in JSON. While its state is 'gated' it waits for that, and retry_at
-- is when it is looked at again.
ALTER TABLE runs ADD COLUMN gate TEXT;
