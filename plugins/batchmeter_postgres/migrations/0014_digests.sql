-- Hashes of the documents of batches and intents, by which `ledger check` finds damage; NULL in rows of older releases.
ALTER TABLE batchmeter.batch ADD COLUMN submission_digest text;
ALTER TABLE batchmeter.batch ADD COLUMN snapshot_digest text;
ALTER TABLE batchmeter.intent ADD COLUMN submission_digest text;
