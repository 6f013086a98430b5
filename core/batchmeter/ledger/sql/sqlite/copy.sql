-- Copying a ledger, table by table, in pages by key. A line ending in [name] is used only when that parameter is given.

-- name: dump_intent
SELECT * FROM intent
WHERE 1
  AND id > :after_id -- [after_id]
ORDER BY id LIMIT :limit;

-- name: count_intent
SELECT count(*) AS rows FROM intent;

-- name: load_intent
INSERT INTO intent (
    id, account, idempotency_key, submission, created_at, state, batch_id, reason
)
VALUES (
    :id, :account, :idempotency_key, :submission, :created_at, :state, :batch_id, :reason
);

-- name: dump_batch
SELECT * FROM batch
WHERE 1
  AND pk > :after_pk -- [after_pk]
ORDER BY pk LIMIT :limit;

-- name: count_batch
SELECT count(*) AS rows FROM batch;

-- name: load_batch
INSERT INTO batch (
    pk, account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at, lease_owner,
    lease_token, lease_until, woken, poll_count, error_count, last_error, last_polled_at, settled_at,
    intent_id, key_id, known_usd, unpriced_lines
)
VALUES (
    :pk, :account, :batch_id, :submission, :snapshot, :status, :ended, :recorded_at, :next_poll_at,
    :lease_owner, :lease_token, :lease_until, :woken, :poll_count, :error_count, :last_error, :last_polled_at,
    :settled_at, :intent_id, :key_id, :known_usd, :unpriced_lines
);

-- name: dump_settlement
SELECT * FROM settlement
WHERE 1
  AND (batch_pk, revision) > (:after_batch_pk, :after_revision) -- [after_batch_pk]
ORDER BY batch_pk, revision LIMIT :limit;

-- name: count_settlement
SELECT count(*) AS rows FROM settlement;

-- name: load_settlement
INSERT INTO settlement (
    batch_pk, revision, recorded_at, settlement, line_groups
)
VALUES (
    :batch_pk, :revision, :recorded_at, :settlement, :line_groups
);

-- name: dump_event
SELECT * FROM event
WHERE 1
  AND seq > :after_seq -- [after_seq]
ORDER BY seq LIMIT :limit;

-- name: count_event
SELECT count(*) AS rows FROM event;

-- name: load_event
INSERT INTO event (
    seq, id, type, account, batch_id, revision, recorded_at, after_seq, payload
)
VALUES (
    :seq, :id, :type, :account, :batch_id, :revision, :recorded_at, :after_seq, :payload
);

-- name: dump_delivery
SELECT * FROM delivery
WHERE 1
  AND (event_seq, logger) > (:after_event_seq, :after_logger) -- [after_event_seq]
ORDER BY event_seq, logger LIMIT :limit;

-- name: count_delivery
SELECT count(*) AS rows FROM delivery;

-- name: load_delivery
INSERT INTO delivery (
    event_seq, logger, state, attempts, token, lease_owner, next_attempt_at, delivered_at, last_error
)
VALUES (
    :event_seq, :logger, :state, :attempts, :token, :lease_owner, :next_attempt_at, :delivered_at, :last_error
);

-- name: dump_file
SELECT * FROM file
WHERE 1
  AND (file_id, account) > (:after_file_id, :after_account) -- [after_file_id]
ORDER BY file_id, account LIMIT :limit;

-- name: count_file
SELECT count(*) AS rows FROM file;

-- name: load_file
INSERT INTO file (
    file_id, account, snapshot, attribution, recorded_at, lines, used_at
)
VALUES (
    :file_id, :account, :snapshot, :attribution, :recorded_at, :lines, :used_at
);

-- name: dump_proxy_key
SELECT * FROM proxy_key
WHERE 1
  AND id > :after_id -- [after_id]
ORDER BY id LIMIT :limit;

-- name: count_proxy_key
SELECT count(*) AS rows FROM proxy_key;

-- name: load_proxy_key
INSERT INTO proxy_key (
    id, secret_sha256, details, created_at, expires_at, revoked_at
)
VALUES (
    :id, :secret_sha256, :details, :created_at, :expires_at, :revoked_at
);

-- name: dump_key_use
SELECT * FROM key_use
WHERE 1
  AND (key_id, what) > (:after_key_id, :after_what) -- [after_key_id]
ORDER BY key_id, what LIMIT :limit;

-- name: count_key_use
SELECT count(*) AS rows FROM key_use;

-- name: load_key_use
INSERT INTO key_use (
    key_id, what, period, used
)
VALUES (
    :key_id, :what, :period, :used
);

-- name: dump_answer
SELECT * FROM answer
WHERE 1
  AND (scope, name) > (:after_scope, :after_name) -- [after_scope]
ORDER BY scope, name LIMIT :limit;

-- name: count_answer
SELECT count(*) AS rows FROM answer;

-- name: load_answer
INSERT INTO answer (
    scope, name, document, busy_until, recorded_at
)
VALUES (
    :scope, :name, :document, :busy_until, :recorded_at
);

-- name: dump_forgotten
SELECT * FROM forgotten
WHERE 1
  AND (provider, account, status) > (:after_provider, :after_account, :after_status) -- [after_provider]
ORDER BY provider, account, status LIMIT :limit;

-- name: count_forgotten
SELECT count(*) AS rows FROM forgotten;

-- name: load_forgotten
INSERT INTO forgotten (
    provider, account, status, sums
)
VALUES (
    :provider, :account, :status, :sums
);

-- name: resume_numbers
-- SQLite's counters follow what is inserted.
SELECT 1 WHERE 0;
