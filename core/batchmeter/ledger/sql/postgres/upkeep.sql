-- Counts, and forgetting what is old. A line ending in [name] is used only when that parameter is given.
-- Where a statement runs for each of several items, the items come as arrays, one a column.

-- name: count_batches
SELECT account, status, count(*) AS batches, count(next_poll_at) AS open,
    count(*) FILTER (WHERE next_poll_at <= %(now)s AND (lease_until IS NULL OR lease_until <= %(now)s)) AS overdue
FROM batchmeter.batch GROUP BY account, status ORDER BY account, status;

-- name: count_costs
-- Answered from one index alone. `settled` are those with a cost, known or not.
SELECT account, status, count(*) AS batches, count(known_usd) AS settled,
    coalesce(sum(known_usd), 0) AS known_usd, coalesce(sum(unpriced_lines), 0)::bigint AS unpriced_lines
FROM batchmeter.batch GROUP BY account, status ORDER BY account, status;

-- name: count_events
SELECT type, count(*) AS events FROM batchmeter.event GROUP BY type ORDER BY type;

-- name: count_intents
SELECT count(*) AS open FROM batchmeter.intent WHERE state = 'open';

-- name: schema_version
SELECT max(version) AS version FROM batchmeter.schema_version;

-- name: prunable
-- Settled long ago, and no logger still waits for any of its events. What another process is about to forget is its own.
SELECT b.pk, b.account, b.batch_id, b.intent_id FROM batchmeter.batch AS b
WHERE b.settled_at < %(before)s AND NOT EXISTS (
    SELECT 1 FROM batchmeter.event AS e JOIN batchmeter.delivery AS d ON d.event_seq = e.seq
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND d.state = 'pending'
)
ORDER BY b.settled_at LIMIT %(limit)s FOR UPDATE OF b SKIP LOCKED;

-- name: lock_forgotten
-- Two that prune would each add to the sums they found. Readers are not kept waiting.
LOCK TABLE batchmeter.forgotten IN SHARE ROW EXCLUSIVE MODE;

-- name: settlements_of
-- The newest revision of each.
SELECT DISTINCT ON (batch_pk) settlement FROM batchmeter.settlement WHERE batch_pk = ANY(%(pk)s::bigint[])
ORDER BY batch_pk, revision DESC;

-- name: forgotten
SELECT sums FROM batchmeter.forgotten ORDER BY provider, account, status;

-- name: forgotten_of
SELECT f.sums FROM batchmeter.forgotten AS f
JOIN unnest(%(provider)s::text[], %(account)s::text[], %(status)s::text[]) AS v (provider, account, status)
    ON f.provider = v.provider AND f.account = v.account AND f.status = v.status;

-- name: keep_forgotten
INSERT INTO batchmeter.forgotten (provider, account, status, sums)
SELECT * FROM unnest(%(provider)s::text[], %(account)s::text[], %(status)s::text[], %(sums)s::text[])
ON CONFLICT (provider, account, status) DO UPDATE SET sums = excluded.sums;

-- name: prune_events
DELETE FROM batchmeter.event AS e USING unnest(%(batch_id)s::text[], %(account)s::text[]) AS v (batch_id, account)
WHERE e.batch_id = v.batch_id AND e.account = v.account;

-- name: prune_intents
DELETE FROM batchmeter.intent WHERE id = ANY(%(intent_id)s::text[]);

-- name: prune_batches
DELETE FROM batchmeter.batch WHERE pk = ANY(%(pk)s::bigint[]);

-- name: prune_closed_intents
DELETE FROM batchmeter.intent WHERE state = 'closed' AND created_at < %(before)s;

-- name: oldest_batch
SELECT recorded_at FROM batchmeter.batch ORDER BY pk LIMIT 1;

-- name: old_files
-- One page of all files, of which most are not old: the table has no index by age, and needs none.
SELECT file_id, account, coalesce(used_at, recorded_at) < %(before)s AS old FROM batchmeter.file
WHERE (file_id, account) > (%(after_file)s, %(after_account)s)
ORDER BY file_id, account LIMIT %(limit)s;

-- name: prune_files
DELETE FROM batchmeter.file AS f USING unnest(%(file_id)s::text[], %(account)s::text[]) AS v (file_id, account)
WHERE f.file_id = v.file_id AND f.account = v.account AND coalesce(f.used_at, f.recorded_at) < %(before)s;
