-- The boot of the machine in which the horizon was said, and when that was by the clock as it stood: what has started by then
-- can be told from what has yet to come.
ALTER TABLE meta ADD COLUMN horizon_boot BLOB;
ALTER TABLE meta ADD COLUMN horizon_boot_at INTEGER;
