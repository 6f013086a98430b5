-- Batches that were settled without an output, and when to look again: providers list files late. looks: how many there were.
CREATE TABLE late_look (
    account TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    settled_at INTEGER NOT NULL,
    looks INTEGER NOT NULL,
    next_look_at INTEGER NOT NULL,
    PRIMARY KEY (account, batch_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX late_look_due ON late_look (next_look_at);

-- digest: a hash of the row's documents, by which `ledger check` finds damage; NULL in rows of older releases.
ALTER TABLE event ADD COLUMN digest TEXT;
ALTER TABLE settlement ADD COLUMN digest TEXT;
