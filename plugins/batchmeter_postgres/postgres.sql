-- name: schema
-- Every table that holds records, column by column.
SELECT t.relname::text AS table_name, c.attname::text AS column_name,
    coalesce(array_position(key.conkey, c.attnum), 0) AS key_place,
    pg_get_serial_sequence('batchmeter.' || t.relname, c.attname) AS sequence,
    (SELECT other.relname::text FROM pg_constraint AS f JOIN pg_class AS other ON other.oid = f.confrelid
     WHERE f.conrelid = t.oid AND f.contype = 'f' AND c.attnum = ANY(f.conkey)) AS refers_to
FROM pg_class AS t
JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
LEFT JOIN pg_constraint AS key ON key.conrelid = t.oid AND key.contype = 'p'
WHERE t.relnamespace = 'batchmeter'::regnamespace AND t.relkind = 'r' AND t.relname <> 'schema_version'
ORDER BY t.relname COLLATE "C", c.attnum;

-- name: check_file
-- The server checks its own pages.
SELECT 'ok' AS integrity_check;

-- name: due_batches
-- The most overdue of each account, unlocked: more of them than are wanted, because other workers look too.
SELECT due.pk, wanted.account, due.next_poll_at
FROM unnest(%(account)s::text[]) AS wanted (account) CROSS JOIN LATERAL (
    SELECT b.pk, b.next_poll_at FROM batchmeter.batch AS b
    WHERE b.account = wanted.account AND b.next_poll_at <= %(now)s
    ORDER BY b.next_poll_at LIMIT %(limit)s
) AS due;

-- name: claim_batches
-- Rows that another worker is claiming at this moment are skipped. The sum keeps PostgreSQL from reading all that is due.
WITH due AS MATERIALIZED (
    SELECT b.pk FROM batchmeter.batch AS b
    WHERE b.pk = ANY(%(pk)s::bigint[]) AND b.next_poll_at + 0 <= %(now)s
    ORDER BY b.next_poll_at, b.pk LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE batchmeter.batch AS b SET next_poll_at = %(now)s + %(lease)s, lease_until = %(now)s + %(lease)s,
    lease_owner = %(owner)s, lease_token = b.lease_token + 1, woken = 0
FROM due WHERE b.pk = due.pk RETURNING b.*;

-- name: resume_numbers
-- New rows are numbered after the copied ones.
SELECT setval(pg_get_serial_sequence('batchmeter.batch', 'pk'), greatest((SELECT max(pk) FROM batchmeter.batch), 1)),
    setval(pg_get_serial_sequence('batchmeter.event', 'seq'), greatest((SELECT max(seq) FROM batchmeter.event), 1));

-- name: claim_deliveries
-- An ending is held back while the same logger has still to get the batch's acreate_batch.
WITH due AS MATERIALIZED (
    SELECT d.event_seq FROM batchmeter.delivery AS d JOIN batchmeter.event AS e ON e.seq = d.event_seq
    WHERE d.logger = %(logger)s AND d.state = 'pending' AND d.next_attempt_at <= %(now)s AND NOT EXISTS (
        SELECT 1 FROM batchmeter.delivery AS first
        WHERE first.event_seq = e.after_seq AND first.logger = %(logger)s AND first.state = 'pending'
    )
    ORDER BY d.next_attempt_at, d.event_seq LIMIT %(limit)s FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE batchmeter.delivery AS d SET token = d.token + 1, next_attempt_at = %(now)s + %(lease)s,
    lease_owner = %(owner)s
FROM due WHERE d.event_seq = due.event_seq AND d.logger = %(logger)s
RETURNING d.event_seq;

-- name: backfill_deliveries
-- Events from before this logger was enabled.
INSERT INTO batchmeter.delivery (event_seq, logger, state, next_attempt_at)
SELECT e.seq, %(logger)s, 'pending', %(now)s FROM batchmeter.event AS e
WHERE NOT EXISTS (SELECT 1 FROM batchmeter.delivery AS d WHERE d.event_seq = e.seq AND d.logger = %(logger)s)
  AND e.recorded_at >= %(since)s -- [since]
ORDER BY e.seq
ON CONFLICT DO NOTHING;


-- name: get_settlement
SELECT newest.settlement, newest.line_groups FROM batchmeter.batch AS b CROSS JOIN LATERAL (
    SELECT s.settlement, s.line_groups FROM batchmeter.settlement AS s WHERE s.batch_pk = b.pk ORDER BY s.revision DESC LIMIT 1
) AS newest
WHERE b.batch_id = %(batch_id)s
  AND b.account = %(account)s -- [account]
ORDER BY b.pk + 0 DESC LIMIT 1;

-- name: lock_name
-- Until this transaction ends, nobody else has a lock of this name.
SELECT pg_advisory_xact_lock(hashtextextended(%(id)s, 0)) IS NULL AS locked;

-- name: add_event
-- The fence lets readers of events wait for writers that hold a seq; see fence_events.
WITH fence AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(4702111234474983746))
INSERT INTO batchmeter.event (id, type, account, batch_id, revision, recorded_at, payload, digest, after_seq)
SELECT %(id)s, %(type)s, %(account)s, %(batch_id)s, %(revision)s, %(now)s, %(payload)s, %(digest)s, (
    SELECT first.seq FROM batchmeter.event AS first
    WHERE first.batch_id = %(batch_id)s AND first.account = %(account)s AND first.type = 'acreate_batch'
      AND %(type)s <> 'acreate_batch'
) FROM fence
RETURNING seq, %(place)s::integer AS place;

-- name: fence_events
-- Waits until every writer that has taken a seq has committed: a seq that shows up later is larger than all seen before.
-- The lock is given back at once, so that no writer waits for a reader.
SELECT pg_advisory_lock(4702111234474983746), pg_advisory_unlock(4702111234474983746);

-- name: record_whole
-- A new batch whole, in one round trip: batch, files, event, deliveries. Nothing is returned when it is known already.
WITH recorded AS (
    INSERT INTO batchmeter.batch
        (account, batch_id, submission, submission_digest, snapshot, snapshot_digest, status, ended, recorded_at,
        next_poll_at, lease_token, intent_id, key_id, progress)
    VALUES (%(account)s, %(batch_id)s, %(submission)s, %(submission_digest)s, %(snapshot)s, %(snapshot_digest)s,
        %(status)s, %(ended)s, %(now)s, %(next_poll_at)s, %(token)s, %(intent_id)s::text, %(key_id)s::text, %(progress)s)
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
), added AS (
    INSERT INTO batchmeter.event (id, type, account, batch_id, revision, recorded_at, payload, digest)
    SELECT %(event_id)s, %(type)s, %(account)s, %(batch_id)s, %(revision)s, %(now)s, %(payload)s, %(digest)s FROM fence
    RETURNING seq
), deliveries AS (
    INSERT INTO batchmeter.delivery (event_seq, logger, state, next_attempt_at)
    SELECT added.seq, s.name, 'pending', %(now)s FROM added CROSS JOIN batchmeter.subscription AS s
    WHERE s.ended_at IS NULL AND (s.kinds = '*' OR strpos(s.kinds, ',' || %(type)s::text || ',') > 0)
      AND (s.scoped = 0 OR s.name = ANY(%(callbacks)s::text[]))
)
SELECT * FROM recorded;

-- name: lock_batches
-- As lock_batch, in the order in which everybody locks them.
SELECT b.* FROM unnest(%(account)s::text[], %(batch_id)s::text[]) AS v (account, batch_id)
JOIN batchmeter.batch AS b ON b.account = v.account AND b.batch_id = v.batch_id
ORDER BY b.account COLLATE "C", b.batch_id COLLATE "C" FOR NO KEY UPDATE OF b;

-- name: observe_batches
-- A final snapshot that is news makes the batch due, or has its present holder look again.
UPDATE batchmeter.batch AS b SET snapshot = v.snapshot, snapshot_digest = v.snapshot_digest, status = v.status,
    ended = v.ended, progress = greatest(b.progress, v.progress),
    woken = CASE WHEN v.news AND b.next_poll_at IS NOT NULL AND b.lease_until > %(now)s THEN 1 ELSE b.woken END,
    next_poll_at = CASE
        WHEN v.news AND b.next_poll_at IS NOT NULL AND (b.lease_until IS NULL OR b.lease_until <= %(now)s)
        THEN least(b.next_poll_at, %(now)s) ELSE b.next_poll_at END
FROM unnest(%(pk)s::bigint[], %(news)s::boolean[], %(snapshot)b::text[], %(snapshot_digest)s::text[],
    %(status)s::text[], %(ended)s::smallint[], %(progress)s::bigint[]
) AS v (pk, news, snapshot, snapshot_digest, status, ended, progress)
WHERE b.pk = v.pk RETURNING b.*;

-- name: lock_pruned_totals
-- Two that prune would each add to the sums they found. Readers are not kept waiting.
LOCK TABLE batchmeter.pruned_totals IN SHARE ROW EXCLUSIVE MODE;

-- name: size
SELECT sum(pg_total_relation_size(c.oid))::bigint AS bytes
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'batchmeter' AND c.relkind IN ('r', 'p');
