-- Times are milliseconds since 1970 in UTC. Numbers of 64 bits without sign are kept by their bits.

-- One row: what is not of one task or run.
CREATE TABLE meta (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    commits      INTEGER NOT NULL,  -- transactions that hold; tells whether one whose COMMIT failed does
    horizon      INTEGER NOT NULL,  -- firings up to here may have started
    runner       INTEGER,           -- the runner's life that was last attached
    last_task    INTEGER NOT NULL,  -- the highest task id ever given
    tasks        INTEGER NOT NULL,  -- tasks that are not removed
    output_bytes INTEGER NOT NULL   -- sum of runs.output_kept
) STRICT;
INSERT INTO meta VALUES (1, 0, -9223372036854775808, NULL, 0, 0, 0);

-- Definitions. Columns hold what decisions need; `definition` (JSON with a version) holds the rest.
CREATE TABLE tasks (
    id             INTEGER PRIMARY KEY,
    owner          INTEGER NOT NULL,  -- uid
    name           TEXT NOT NULL,
    enabled        INTEGER NOT NULL,
    kind           TEXT NOT NULL,     -- manual, cron, every, at
    expr           TEXT,              -- cron: the expression; at: what was typed
    tz             TEXT,              -- cron, at: the zone
    interval_ms    INTEGER,           -- every
    anchor_ms      INTEGER,           -- every
    at_ms          INTEGER,           -- at
    policies       TEXT NOT NULL,     -- JSON
    sum            INTEGER NOT NULL,  -- over the columns before it
    removed_at     INTEGER,
    created_at     INTEGER NOT NULL,
    changed_at     INTEGER NOT NULL,
    definition_sum INTEGER NOT NULL,  -- over id, the two times before it, and definition
    definition     TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX tasks_name ON tasks (owner, name) WHERE removed_at IS NULL;
CREATE INDEX tasks_removed_name ON tasks (owner, name) WHERE removed_at IS NOT NULL;
CREATE INDEX tasks_removed_at ON tasks (removed_at) WHERE removed_at IS NOT NULL;

-- What changes with each firing, one row for each task that is not removed.
CREATE TABLE marks (
    task             INTEGER PRIMARY KEY,
    mark             INTEGER NOT NULL,  -- the last fire time dealt with
    last_run         INTEGER NOT NULL,  -- the number of the newest run, 0 if none
    last_n           INTEGER,           -- the run that finished last
    last_outcome     TEXT,
    last_finished_at INTEGER
) STRICT;

-- The task of a run or span may be unknown: a runner can hand over runs from after the moment a backup was made.
CREATE TABLE runs (
    id             INTEGER PRIMARY KEY,
    task           INTEGER NOT NULL,
    n              INTEGER NOT NULL,
    "trigger"      TEXT NOT NULL,
    fire_time      INTEGER,
    created_at     INTEGER NOT NULL,
    started_at     INTEGER,
    finished_at    INTEGER,
    state          TEXT NOT NULL,     -- waiting, starting, running, finished
    stopping       TEXT,              -- why it was asked to stop
    outcome        TEXT,
    reason         TEXT,
    exit_code      INTEGER,
    signal         INTEGER,
    pid            INTEGER,
    attempt        INTEGER NOT NULL,  -- the newest attempt, from 1
    trace          BLOB NOT NULL,
    max_rss_kib    INTEGER,
    user_us        INTEGER,
    system_us      INTEGER,
    output_bytes   INTEGER,           -- written by the command
    output_lost    INTEGER,           -- of these, not kept
    output_kept    INTEGER NOT NULL,  -- bytes of output on disk, 0 once removed
    output_removed INTEGER NOT NULL   -- whether output was removed to make room
) STRICT;
CREATE UNIQUE INDEX runs_key ON runs (task, n);
CREATE INDEX runs_open ON runs (task, n) WHERE finished_at IS NULL;
CREATE INDEX runs_bad ON runs (id) WHERE outcome <> 'succeeded';
CREATE INDEX runs_output ON runs (id) WHERE output_kept > 0;

-- Fire times that passed without a run; consecutive ones of one kind are one row.
CREATE TABLE ledger (
    id      INTEGER PRIMARY KEY,
    task    INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    passing TEXT NOT NULL,
    reason  TEXT NOT NULL
) STRICT;
CREATE INDEX ledger_task ON ledger (task);
