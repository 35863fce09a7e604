-- What else the processes of an attempt used together; NULL where nobody counted it.
ALTER TABLE runs ADD COLUMN memory_peak_kib INTEGER;
ALTER TABLE runs ADD COLUMN read_bytes INTEGER;
ALTER TABLE runs ADD COLUMN written_bytes INTEGER;
ALTER TABLE runs ADD COLUMN peak_pids INTEGER;
ALTER TABLE attempts ADD COLUMN memory_peak_kib INTEGER;
ALTER TABLE attempts ADD COLUMN read_bytes INTEGER;
ALTER TABLE attempts ADD COLUMN written_bytes INTEGER;
ALTER TABLE attempts ADD COLUMN peak_pids INTEGER;
