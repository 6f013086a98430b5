-- Batches that were settled without an output, and when to look again: providers list files late. looks: how many there were.
CREATE TABLE batchmeter.late_look (
    account text NOT NULL,
    batch_id text NOT NULL,
    settled_at bigint NOT NULL,
    looks integer NOT NULL,
    next_look_at bigint NOT NULL,
    PRIMARY KEY (account, batch_id)
);
CREATE INDEX late_look_due ON batchmeter.late_look (next_look_at);

-- digest: a hash of the row's documents, by which `ledger check` finds damage; NULL in rows of older releases.
ALTER TABLE batchmeter.event ADD COLUMN digest text;
ALTER TABLE batchmeter.settlement ADD COLUMN digest text;
