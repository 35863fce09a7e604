-- When the next attempt of a run is due, while its state is 'backing-off'. The other columns of its row tell of the attempt it
-- is at; what is known of those before it stands in a table.
ALTER TABLE runs ADD COLUMN retry_at INTEGER;

-- Attempts that were followed by another.
CREATE TABLE attempts (
    run          INTEGER NOT NULL,  -- runs.id
    attempt      INTEGER NOT NULL,  -- from 1
    started_at   INTEGER,
    finished_at  INTEGER NOT NULL,
    outcome      TEXT NOT NULL,
    reason       TEXT,
    exit_code    INTEGER,
    signal       INTEGER,
    pid          INTEGER,
    max_rss_kib  INTEGER,
    user_us      INTEGER,
    system_us    INTEGER,
    output_bytes INTEGER,
    output_lost  INTEGER,
    PRIMARY KEY (run, attempt)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER attempts_go_with_their_run AFTER DELETE ON runs BEGIN
    DELETE FROM attempts WHERE run = old.id;
END;
