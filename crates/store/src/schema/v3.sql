-- What else a schedule says, as JSON; NULL where it says no more. It belongs to the sum of the row where it is there.
ALTER TABLE tasks ADD COLUMN options TEXT;
