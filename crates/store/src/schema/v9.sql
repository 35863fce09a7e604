-- What a run was given beside what its task says, in JSON; NULL where that is nothing.
ALTER TABLE runs ADD COLUMN overrides TEXT;
-- What is known of the gate of a run that was found closed, in JSON. While its state is 'gated' it waits for that, and retry_at
-- is when it is looked at again.
ALTER TABLE runs ADD COLUMN gate TEXT;
