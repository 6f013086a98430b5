-- Copying a ledger, table by table, in pages by key. A line ending in [name] is used only when that parameter is given.
-- Where a statement runs for each of several items, the items come as arrays, one a column.

-- name: dump_intent
SELECT * FROM batchmeter.intent
WHERE true
  AND id > %(after_id)s::text -- [after_id]
ORDER BY id LIMIT %(limit)s;

-- name: count_intent
SELECT count(*) AS rows FROM batchmeter.intent;

-- name: load_intent
INSERT INTO batchmeter.intent (
    id, account, idempotency_key, submission, created_at, state, batch_id, reason
)
SELECT * FROM unnest(
    %(id)s::text[], %(account)s::text[], %(idempotency_key)s::text[], %(submission)s::text[],
    %(created_at)s::bigint[], %(state)s::text[], %(batch_id)s::text[], %(reason)s::text[]
);

-- name: dump_batch
SELECT * FROM batchmeter.batch
WHERE true
  AND pk > %(after_pk)s::bigint -- [after_pk]
ORDER BY pk LIMIT %(limit)s;

-- name: count_batch
SELECT count(*) AS rows FROM batchmeter.batch;

-- name: load_batch
INSERT INTO batchmeter.batch (
    pk, account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at, lease_owner,
    lease_token, lease_until, woken, poll_count, error_count, last_error, last_polled_at, settled_at,
    intent_id, key_id, known_usd, unpriced_lines
)
SELECT * FROM unnest(
    %(pk)s::bigint[], %(account)s::text[], %(batch_id)s::text[], %(submission)s::text[], %(snapshot)s::text[],
    %(status)s::text[], %(ended)s::smallint[], %(recorded_at)s::bigint[], %(next_poll_at)s::bigint[],
    %(lease_owner)s::text[], %(lease_token)s::bigint[], %(lease_until)s::bigint[], %(woken)s::smallint[],
    %(poll_count)s::bigint[], %(error_count)s::bigint[], %(last_error)s::text[], %(last_polled_at)s::bigint[],
    %(settled_at)s::bigint[], %(intent_id)s::text[], %(key_id)s::text[],
    %(known_usd)s::double precision[], %(unpriced_lines)s::bigint[]
);

-- name: dump_settlement
SELECT * FROM batchmeter.settlement
WHERE true
  AND (batch_pk, revision) > (%(after_batch_pk)s::bigint, %(after_revision)s::integer) -- [after_batch_pk]
ORDER BY batch_pk, revision LIMIT %(limit)s;

-- name: count_settlement
SELECT count(*) AS rows FROM batchmeter.settlement;

-- name: load_settlement
INSERT INTO batchmeter.settlement (
    batch_pk, revision, recorded_at, settlement, line_groups
)
SELECT * FROM unnest(
    %(batch_pk)s::bigint[], %(revision)s::integer[], %(recorded_at)s::bigint[], %(settlement)s::text[],
    %(line_groups)s::text[]
);

-- name: dump_event
SELECT * FROM batchmeter.event
WHERE true
  AND seq > %(after_seq)s::bigint -- [after_seq]
ORDER BY seq LIMIT %(limit)s;

-- name: count_event
SELECT count(*) AS rows FROM batchmeter.event;

-- name: load_event
INSERT INTO batchmeter.event (
    seq, id, type, account, batch_id, revision, recorded_at, after_seq, payload
)
SELECT * FROM unnest(
    %(seq)s::bigint[], %(id)s::text[], %(type)s::text[], %(account)s::text[], %(batch_id)s::text[],
    %(revision)s::integer[], %(recorded_at)s::bigint[], %(after_seq)s::bigint[], %(payload)s::bytea[]
);

-- name: dump_delivery
SELECT * FROM batchmeter.delivery
WHERE true
  AND (event_seq, logger) > (%(after_event_seq)s::bigint, %(after_logger)s::text) -- [after_event_seq]
ORDER BY event_seq, logger LIMIT %(limit)s;

-- name: count_delivery
SELECT count(*) AS rows FROM batchmeter.delivery;

-- name: load_delivery
INSERT INTO batchmeter.delivery (
    event_seq, logger, state, attempts, token, lease_owner, next_attempt_at, delivered_at, last_error
)
SELECT * FROM unnest(
    %(event_seq)s::bigint[], %(logger)s::text[], %(state)s::text[], %(attempts)s::bigint[],
    %(token)s::bigint[], %(lease_owner)s::text[], %(next_attempt_at)s::bigint[], %(delivered_at)s::bigint[],
    %(last_error)s::text[]
);

-- name: dump_file
SELECT * FROM batchmeter.file
WHERE true
  AND (file_id, account) > (%(after_file_id)s::text, %(after_account)s::text) -- [after_file_id]
ORDER BY file_id, account LIMIT %(limit)s;

-- name: count_file
SELECT count(*) AS rows FROM batchmeter.file;

-- name: load_file
INSERT INTO batchmeter.file (
    file_id, account, snapshot, attribution, recorded_at, lines, used_at
)
SELECT * FROM unnest(
    %(file_id)s::text[], %(account)s::text[], %(snapshot)s::text[], %(attribution)s::text[],
    %(recorded_at)s::bigint[], %(lines)s::bigint[], %(used_at)s::bigint[]
);

-- name: dump_proxy_key
SELECT * FROM batchmeter.proxy_key
WHERE true
  AND id > %(after_id)s::text -- [after_id]
ORDER BY id LIMIT %(limit)s;

-- name: count_proxy_key
SELECT count(*) AS rows FROM batchmeter.proxy_key;

-- name: load_proxy_key
INSERT INTO batchmeter.proxy_key (
    id, secret_sha256, details, created_at, expires_at, revoked_at
)
SELECT * FROM unnest(
    %(id)s::text[], %(secret_sha256)s::text[], %(details)s::text[], %(created_at)s::bigint[], %(expires_at)s::bigint[], %(revoked_at)s::bigint[]
);

-- name: dump_key_use
SELECT * FROM batchmeter.key_use
WHERE true
  AND (key_id, what) > (%(after_key_id)s::text, %(after_what)s::text) -- [after_key_id]
ORDER BY key_id, what LIMIT %(limit)s;

-- name: count_key_use
SELECT count(*) AS rows FROM batchmeter.key_use;

-- name: load_key_use
INSERT INTO batchmeter.key_use (
    key_id, what, period, used
)
SELECT * FROM unnest(
    %(key_id)s::text[], %(what)s::text[], %(period)s::bigint[], %(used)s::bigint[]
);

-- name: dump_answer
SELECT * FROM batchmeter.answer
WHERE true
  AND (scope, name) > (%(after_scope)s::text, %(after_name)s::text) -- [after_scope]
ORDER BY scope, name LIMIT %(limit)s;

-- name: count_answer
SELECT count(*) AS rows FROM batchmeter.answer;

-- name: load_answer
INSERT INTO batchmeter.answer (
    scope, name, document, busy_until, recorded_at
)
SELECT * FROM unnest(
    %(scope)s::text[], %(name)s::text[], %(document)s::text[], %(busy_until)s::bigint[], %(recorded_at)s::bigint[]
);

-- name: dump_forgotten
SELECT * FROM batchmeter.forgotten
WHERE true
  AND (provider, account, status) > (%(after_provider)s::text, %(after_account)s, %(after_status)s) -- [after_provider]
ORDER BY provider, account, status LIMIT %(limit)s;

-- name: count_forgotten
SELECT count(*) AS rows FROM batchmeter.forgotten;

-- name: load_forgotten
INSERT INTO batchmeter.forgotten (
    provider, account, status, sums
)
SELECT * FROM unnest(%(provider)s::text[], %(account)s::text[], %(status)s::text[], %(sums)s::text[]);

-- name: resume_numbers
-- New rows are numbered after the copied ones.
SELECT setval(pg_get_serial_sequence('batchmeter.batch', 'pk'), greatest((SELECT max(pk) FROM batchmeter.batch), 1)),
    setval(pg_get_serial_sequence('batchmeter.event', 'seq'), greatest((SELECT max(seq) FROM batchmeter.event), 1));
