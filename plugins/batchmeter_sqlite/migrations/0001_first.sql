-- Everything a ledger keeps. Times are epoch milliseconds UTC, documents are JSON text.

CREATE TABLE intent (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    idempotency_key TEXT,
    submission TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'created', 'closed')),
    batch_id TEXT,
    reason TEXT
) STRICT, WITHOUT ROWID;

-- A closed intent made no batch, so its key is free again.
CREATE UNIQUE INDEX intent_key ON intent (account, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND state <> 'closed';
CREATE INDEX intent_open ON intent (created_at) WHERE state = 'open';

-- While a batch is leased, next_poll_at is the end of the lease: one index finds the due and the abandoned.
CREATE TABLE batch (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    submission TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    status TEXT NOT NULL,
    ended INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    next_poll_at INTEGER,
    lease_owner TEXT,
    lease_token INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    woken INTEGER NOT NULL DEFAULT 0,
    poll_count INTEGER NOT NULL DEFAULT 0,
    error_count INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    last_polled_at INTEGER,
    settled_at INTEGER,
    intent_id TEXT,
    UNIQUE (batch_id, account)
) STRICT;

CREATE INDEX batch_due ON batch (account, next_poll_at) WHERE next_poll_at IS NOT NULL;
CREATE INDEX batch_settled ON batch (settled_at, pk) WHERE settled_at IS NOT NULL;
CREATE INDEX batch_of_account ON batch (account, pk);

CREATE TABLE settlement (
    batch_pk INTEGER NOT NULL REFERENCES batch (pk) ON DELETE CASCADE,
    revision INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    settlement TEXT NOT NULL,
    line_groups TEXT NOT NULL,
    PRIMARY KEY (batch_pk, revision)
) STRICT, WITHOUT ROWID;

-- after_seq: the same batch's acreate_batch, which a logger gets first.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    account TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    after_seq INTEGER,
    payload BLOB NOT NULL
) STRICT;

CREATE INDEX event_of_batch ON event (batch_id, account);

CREATE TABLE delivery (
    event_seq INTEGER NOT NULL REFERENCES event (seq) ON DELETE CASCADE,
    logger TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    lease_owner TEXT,
    next_attempt_at INTEGER,
    delivered_at INTEGER,
    last_error TEXT,
    PRIMARY KEY (event_seq, logger)
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_due ON delivery (logger, next_attempt_at, event_seq) WHERE state = 'pending';
CREATE INDEX delivery_dead ON delivery (logger, event_seq) WHERE state = 'dead';

-- Which account, and whose, an object is; also a batch's output files, which nobody uploaded.
CREATE TABLE file (
    file_id TEXT NOT NULL,
    account TEXT NOT NULL,
    snapshot TEXT,
    attribution TEXT,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (file_id, account)
) STRICT, WITHOUT ROWID;
