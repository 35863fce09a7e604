-- The boot of the machine in which the horizon was said, and when that was by the clock as it stood: what has started by then
-- can be told from what has yet to come.
ALTER TABLE meta ADD COLUMN horizon_boot BLOB;
ALTER TABLE meta ADD COLUMN horizon_boot_at INTEGER;
-- Whether numbers of runs of a task were left out: then they do not tell how many there are.
ALTER TABLE marks ADD COLUMN gaps INTEGER NOT NULL DEFAULT 0;
