-- What the ledger tells of people and of the daemon itself.

-- The latest instant that a record told, for the end of a life that was killed.
ALTER TABLE meta ADD COLUMN latest INTEGER;
-- The boot of the machine that was last heard of: its id, 16 bytes.
ALTER TABLE meta ADD COLUMN boot BLOB;

-- How many runs tasks with a count have had by their schedule.
CREATE TABLE counts (
    task  INTEGER PRIMARY KEY,
    fired INTEGER NOT NULL
) STRICT;

-- Pauses, those that are over included until another takes their place.
CREATE TABLE pauses (
    task  INTEGER PRIMARY KEY,  -- 0 for all tasks
    since INTEGER NOT NULL,
    until INTEGER,              -- the first instant after it; NULL until somebody ends it
    who   TEXT NOT NULL,        -- by whom
    note  TEXT,
    sum   INTEGER NOT NULL      -- over all of them
) STRICT;

-- What was changed of tasks, by whom and when.
CREATE TABLE changes (
    id       INTEGER PRIMARY KEY,
    task     INTEGER NOT NULL,  -- 0 for all tasks
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,     -- changed, rescheduled, enabled, disabled, paused, resumed
    who      TEXT NOT NULL,     -- by whom
    until    INTEGER,           -- paused: the first instant after it
    note     TEXT,              -- paused
    schedule TEXT               -- rescheduled: what it was until then, as JSON
) STRICT;
CREATE INDEX changes_task ON changes (task);

-- Calendars by their names.
CREATE TABLE calendars (
    name       TEXT PRIMARY KEY,
    body       TEXT NOT NULL,     -- JSON
    changed_at INTEGER NOT NULL,
    who        TEXT NOT NULL,     -- by whom
    sum        INTEGER NOT NULL   -- over name and body
) STRICT;

-- Lives of the daemon, one after the other.
CREATE TABLE lives (
    id    INTEGER PRIMARY KEY,
    began INTEGER NOT NULL,
    ended INTEGER               -- NULL for the one that goes on
) STRICT;
