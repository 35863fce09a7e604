-- How many runs groups and locks hold, where that was set.
CREATE TABLE pools (
    owner      INTEGER NOT NULL,
    kind       TEXT NOT NULL,       -- 'group' or 'lock'
    name       TEXT NOT NULL,
    most       INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    who        TEXT NOT NULL,
    sum        INTEGER NOT NULL,
    PRIMARY KEY (owner, kind, name)
) STRICT, WITHOUT ROWID;

-- What an attempt in progress took of groups and locks, in JSON, where its task has been changed since.
ALTER TABLE runs ADD COLUMN keeps TEXT;
