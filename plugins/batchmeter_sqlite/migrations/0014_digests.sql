-- Hashes of the documents of batches and intents, by which `ledger check` finds damage; NULL in rows of older releases.
ALTER TABLE batch ADD COLUMN submission_digest TEXT;
ALTER TABLE batch ADD COLUMN snapshot_digest TEXT;
ALTER TABLE intent ADD COLUMN submission_digest TEXT;
