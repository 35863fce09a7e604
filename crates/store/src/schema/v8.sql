-- What a run was given beside what its task says, in JSON; NULL where that is nothing.
ALTER TABLE runs ADD COLUMN overrides TEXT;
