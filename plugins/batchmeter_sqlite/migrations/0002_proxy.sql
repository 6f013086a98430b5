-- What the proxy keeps: keys, what they have used, answers to give again; and what every batch cost, to count quickly.

-- A secret is 32 random bytes, so its plain SHA-256 tells nothing: a slow hash protects only what can be guessed.
CREATE TABLE proxy_key (
    id TEXT NOT NULL PRIMARY KEY,
    secret_sha256 TEXT NOT NULL UNIQUE,
    details TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- How much of a limit is used in its present period; the next period starts it afresh.
CREATE TABLE key_use (
    key_id TEXT NOT NULL REFERENCES proxy_key (id) ON DELETE CASCADE,
    what TEXT NOT NULL,
    period INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (key_id, what)
) STRICT, WITHOUT ROWID;

-- Answers to repeat for the same Idempotency-Key; without a document while the first is still being made.
CREATE TABLE answer (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT,
    busy_until INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

-- The key that submitted it; and, once settled, what is known of its cost, as a number to add up for graphs only.
ALTER TABLE batch ADD COLUMN key_id TEXT;
ALTER TABLE batch ADD COLUMN known_usd REAL;
ALTER TABLE batch ADD COLUMN unpriced_lines INTEGER;

-- Requests in an uploaded input file.
ALTER TABLE file ADD COLUMN lines INTEGER;

CREATE INDEX batch_of_key ON batch (key_id, settled_at) WHERE key_id IS NOT NULL;
CREATE INDEX batch_counts ON batch (account, status, known_usd, unpriced_lines);
