-- Imports that have not ended. The rows of `tasks` and `marks` with ids from `first` to `last` are staged: they are no
-- tasks yet, and are removed when the store is opened again before the import has ended.
CREATE TABLE imports (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL,
    sum   INTEGER NOT NULL  -- over both: a wrong bit must not remove what is no import's
) STRICT;
