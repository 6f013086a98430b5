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
    intent_id
)
VALUES (
    :pk, :account, :batch_id, :submission, :snapshot, :status, :ended, :recorded_at, :next_poll_at,
    :lease_owner, :lease_token, :lease_until, :woken, :poll_count, :error_count, :last_error, :last_polled_at,
    :settled_at, :intent_id
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
    file_id, account, snapshot, attribution, recorded_at
)
VALUES (
    :file_id, :account, :snapshot, :attribution, :recorded_at
);

-- name: resume_numbers
-- SQLite's counters follow what is inserted.
SELECT 1 WHERE 0;
