-- What the proxy keeps: keys, what they have used, answers to give again; and what every batch cost, to count quickly.

-- A secret is 32 random bytes, so its plain SHA-256 tells nothing: a slow hash protects only what can be guessed.
CREATE TABLE batchmeter.proxy_key (
    id text PRIMARY KEY,
    secret_sha256 text NOT NULL UNIQUE,
    details text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint
);

-- How much of a limit is used in its present period; the next period starts it afresh.
CREATE TABLE batchmeter.key_use (
    key_id text NOT NULL REFERENCES batchmeter.proxy_key (id) ON DELETE CASCADE,
    what text NOT NULL,
    period bigint NOT NULL,
    used bigint NOT NULL,
    PRIMARY KEY (key_id, what)
) WITH (fillfactor = 50);

-- Answers to repeat for the same Idempotency-Key; without a document while the first is still being made.
CREATE TABLE batchmeter.answer (
    scope text NOT NULL,
    name text NOT NULL,
    document text,
    busy_until bigint NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (scope, name)
);

-- The key that submitted it; and, once settled, what is known of its cost, as a number to add up for graphs only.
ALTER TABLE batchmeter.batch ADD COLUMN key_id text;
ALTER TABLE batchmeter.batch ADD COLUMN known_usd double precision;
ALTER TABLE batchmeter.batch ADD COLUMN unpriced_lines bigint;

-- Requests in an uploaded input file.
ALTER TABLE batchmeter.file ADD COLUMN lines bigint;

CREATE INDEX batch_of_key ON batchmeter.batch (key_id, settled_at) WHERE key_id IS NOT NULL;
CREATE INDEX batch_counts ON batchmeter.batch (account, status, known_usd, unpriced_lines);
