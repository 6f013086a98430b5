-- Intents, batches as they are recorded and seen, files. A line ending in [name] is used only when that parameter is given.
-- Where a statement runs for each of several items, the items come as arrays, one a column.

-- name: add_intent
-- Nothing is returned when the id or the idempotency key is taken.
INSERT INTO batchmeter.intent (id, account, idempotency_key, submission, created_at, state)
VALUES (%(id)s, %(account)s, %(key)s::text, %(submission)s, %(created_at)s, 'open')
ON CONFLICT DO NOTHING RETURNING *;

-- name: find_intent
-- The one that made add_intent give way.
SELECT * FROM batchmeter.intent
WHERE id = %(id)s OR (account = %(account)s AND idempotency_key = %(key)s::text AND state <> 'closed')
ORDER BY id = %(id)s LIMIT 1;

-- name: get_intent
SELECT * FROM batchmeter.intent WHERE id = %(id)s;

-- name: close_intent
UPDATE batchmeter.intent SET state = 'closed', reason = %(reason)s WHERE id = %(id)s AND state = 'open';

-- name: use_intent
-- The create is known to have happened.
UPDATE batchmeter.intent SET state = 'created', batch_id = %(batch_id)s, reason = NULL
WHERE id = %(id)s AND state <> 'created'
  AND state = 'open' -- [if_open]

-- name: free_key
-- A closed intent that turns out to have made a batch must not take back a key that is used again by now.
UPDATE batchmeter.intent AS mine SET idempotency_key = NULL
WHERE mine.id = %(id)s AND mine.state = 'closed' AND EXISTS (
    SELECT 1 FROM batchmeter.intent AS other
    WHERE other.account = mine.account AND other.idempotency_key = mine.idempotency_key AND other.state <> 'closed'
);

-- name: open_intents
-- The oldest of each account: none waits behind another's.
SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY account ORDER BY created_at) AS place FROM batchmeter.intent
    WHERE state = 'open' AND created_at < %(before)s
      AND account = %(account)s -- [account]
) AS numbered
WHERE place <= %(limit)s ORDER BY created_at;

-- name: record_whole
-- A new batch whole, in one round trip: batch, files, event, deliveries. Nothing is returned when it is known already.
WITH recorded AS (
    INSERT INTO batchmeter.batch
        (account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at, intent_id, key_id)
    VALUES (%(account)s, %(batch_id)s, %(submission)s, %(snapshot)s, %(status)s, %(ended)s, %(now)s, %(next_poll_at)s,
        %(intent_id)s::text, %(key_id)s::text)
    ON CONFLICT DO NOTHING RETURNING *
), used AS (
    UPDATE batchmeter.file AS read SET used_at = %(now)s FROM recorded
    WHERE read.file_id = %(input_file_id)s::text AND read.account = recorded.account
      AND coalesce(read.used_at, read.recorded_at) < %(now)s - %(fresh)s
), outputs AS (
    INSERT INTO batchmeter.file AS kept (file_id, account, attribution, recorded_at)
    SELECT named.file_id, recorded.account, %(attribution)s::text, %(now)s
    FROM recorded CROSS JOIN unnest(%(file_id)s::text[]) AS named (file_id)
    ON CONFLICT (file_id, account) DO UPDATE SET attribution = excluded.attribution
    WHERE kept.attribution IS NULL AND excluded.attribution IS NOT NULL
), fence AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(4702111234474983746) FROM recorded
), told AS (
    INSERT INTO batchmeter.event (id, type, account, batch_id, revision, recorded_at, payload)
    SELECT %(event_id)s, %(type)s, %(account)s, %(batch_id)s, %(revision)s, %(now)s, %(payload)s FROM fence
    RETURNING seq
), sent AS (
    INSERT INTO batchmeter.delivery (event_seq, logger, state, next_attempt_at)
    SELECT told.seq, wanted.logger, 'pending', %(now)s
    FROM told CROSS JOIN unnest(%(loggers)s::text[]) AS wanted (logger)
)
SELECT * FROM recorded;

-- name: link_intent
-- A batch that a sweep found before its creator recorded it.
UPDATE batchmeter.batch SET intent_id = %(intent_id)s WHERE account = %(account)s AND batch_id = %(batch_id)s AND intent_id IS NULL;

-- name: get_batch
-- The sum keeps PostgreSQL from looking for an unknown id by walking back through all of pk.
SELECT * FROM batchmeter.batch
WHERE batch_id = %(batch_id)s
  AND account = %(account)s -- [account]
ORDER BY pk + 0 DESC LIMIT 1;

-- name: batches_of_id
SELECT * FROM batchmeter.batch WHERE batch_id = %(batch_id)s ORDER BY pk + 0 DESC;

-- name: lock_batch
-- Held until the transaction ends, so that the newest of two observations is compared with the other.
SELECT * FROM batchmeter.batch WHERE account = %(account)s AND batch_id = %(batch_id)s FOR NO KEY UPDATE;

-- name: observe_batch
-- A final snapshot that is news makes the batch due, or has its present holder look again.
UPDATE batchmeter.batch SET snapshot = %(snapshot)s, status = %(status)s, ended = %(ended)s,
    woken = CASE WHEN %(news)s::boolean AND next_poll_at IS NOT NULL AND lease_until > %(now)s THEN 1 ELSE woken END,
    next_poll_at = CASE
        WHEN %(news)s::boolean AND next_poll_at IS NOT NULL AND (lease_until IS NULL OR lease_until <= %(now)s)
        THEN least(next_poll_at, %(now)s) ELSE next_poll_at END
WHERE pk = %(pk)s RETURNING *;

-- name: observe_endings
-- As lock_batch, observe_batch and put_file for each final snapshot; one that is known already is no news.
WITH seen AS MATERIALIZED (
    SELECT * FROM unnest(
        %(account)s::text[], %(batch_id)s::text[], %(snapshot)b::text[], %(status)s::text[], %(ended)s::smallint[],
        %(output_file_id)s::text[], %(error_file_id)s::text[]
    ) AS v (account, batch_id, snapshot, status, ended, output_file_id, error_file_id)
), known AS MATERIALIZED (
    SELECT b.pk, b.batch_id, b.account, b.settled_at, b.submission, NOT (b.ended = 1 AND b.snapshot = v.snapshot) AS news
    FROM batchmeter.batch AS b JOIN seen AS v ON b.account = v.account AND b.batch_id = v.batch_id
    ORDER BY b.account COLLATE "C", b.batch_id COLLATE "C" FOR NO KEY UPDATE OF b
), observed AS (
    UPDATE batchmeter.batch AS b SET snapshot = v.snapshot, status = v.status, ended = v.ended,
        woken = CASE WHEN b.next_poll_at IS NOT NULL AND b.lease_until > %(now)s THEN 1 ELSE b.woken END,
        next_poll_at = CASE WHEN b.next_poll_at IS NOT NULL AND (b.lease_until IS NULL OR b.lease_until <= %(now)s)
            THEN least(b.next_poll_at, %(now)s) ELSE b.next_poll_at END
    FROM known JOIN seen AS v USING (account, batch_id) WHERE b.pk = known.pk AND known.news
), outputs AS (
    INSERT INTO batchmeter.file AS kept (file_id, account, attribution, recorded_at)
    SELECT DISTINCT ON (named.file_id, account)
        named.file_id, account, (known.submission::json -> 'attribution')::text, %(now)s::bigint
    FROM known JOIN seen AS v USING (account, batch_id)
    CROSS JOIN unnest(ARRAY[v.output_file_id, v.error_file_id]) AS named (file_id)
    WHERE named.file_id IS NOT NULL AND known.news ORDER BY named.file_id, account
    ON CONFLICT (file_id, account) DO UPDATE SET attribution = excluded.attribution
    WHERE kept.attribution IS NULL AND excluded.attribution IS NOT NULL
)
SELECT batch_id, settled_at, news FROM known;

-- name: wake_batch
UPDATE batchmeter.batch SET
    woken = CASE WHEN lease_until > %(now)s THEN 1 ELSE woken END,
    next_poll_at = CASE WHEN lease_until > %(now)s THEN next_poll_at ELSE least(next_poll_at, %(now)s) END
WHERE account = %(account)s AND batch_id = %(batch_id)s AND next_poll_at IS NOT NULL;

-- name: list_batches
SELECT * FROM batchmeter.batch
WHERE true
  AND account = %(account)s -- [account]
  AND next_poll_at IS NULL -- [settled]
  AND next_poll_at IS NOT NULL -- [unsettled]
  AND status = ANY(%(statuses)s::text[]) -- [statuses]
  AND pk < %(before)s -- [before]
ORDER BY pk DESC LIMIT %(limit)s;

-- name: put_file
INSERT INTO batchmeter.file AS kept (file_id, account, snapshot, attribution, recorded_at, lines)
VALUES (%(file_id)s, %(account)s, %(snapshot)s::text, %(attribution)s::text, %(now)s, %(lines)s::bigint)
ON CONFLICT (file_id, account) DO UPDATE SET snapshot = coalesce(excluded.snapshot, kept.snapshot),
    attribution = coalesce(kept.attribution, excluded.attribution), lines = coalesce(kept.lines, excluded.lines);

-- name: account_of
-- The newest, where accounts share a provider account.
SELECT account FROM (
    SELECT account, recorded_at FROM batchmeter.batch WHERE batch_id = %(id)s
    UNION ALL
    SELECT account, recorded_at FROM batchmeter.file WHERE file_id = %(id)s
) AS owners ORDER BY recorded_at DESC LIMIT 1;

-- name: file_owner
SELECT account, attribution, lines FROM batchmeter.file
WHERE file_id = %(file_id)s
  AND account = %(account)s -- [account]
ORDER BY recorded_at DESC LIMIT 1;

-- name: owners_of
-- Batches last, and the newest of those that accounts share.
SELECT * FROM (
    SELECT file_id AS id, account, NULL::text AS submission, attribution, lines, 0 AS kind, recorded_at AS age
    FROM batchmeter.file
    WHERE file_id = ANY(%(ids)s::text[])
      AND account = %(account)s -- [account]
    UNION ALL
    SELECT batch_id, account, submission, NULL, NULL, 1, pk FROM batchmeter.batch
    WHERE batch_id = ANY(%(ids)s::text[])
      AND account = %(account)s -- [account]
) AS known ORDER BY kind, age;

-- name: forget_file
DELETE FROM batchmeter.file WHERE file_id = %(file_id)s AND account = %(account)s;
