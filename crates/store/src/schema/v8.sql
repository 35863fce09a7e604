-- How much is kept of the history of tasks that say so themselves.
CREATE TABLE histories (
    task   INTEGER PRIMARY KEY,
    runs   INTEGER,           -- at most so many finished runs
    age_ms INTEGER,           -- for so long since they ended
    sum    INTEGER NOT NULL   -- over the columns before it
) STRICT;
CREATE TRIGGER histories_go_with_their_task AFTER DELETE ON tasks BEGIN
    DELETE FROM histories WHERE task = old.id;
END;
