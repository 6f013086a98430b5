-- Counts, and forgetting what is old. A line ending in [name] is used only when that parameter is given.

-- name: count_batches
SELECT account, status, count(*) AS batches, sum(next_poll_at IS NOT NULL) AS open,
    sum(coalesce(next_poll_at <= :now AND (lease_until IS NULL OR lease_until <= :now), 0)) AS overdue
FROM batch GROUP BY account, status ORDER BY account, status;

-- name: count_costs
-- Answered from one index alone. `settled` are those with a cost, known or not.
SELECT account, status, count(*) AS batches, count(known_usd) AS settled,
    coalesce(sum(known_usd), 0) AS known_usd, coalesce(sum(unpriced_lines), 0) AS unpriced_lines
FROM batch GROUP BY account, status ORDER BY account, status;

-- name: count_events
SELECT type, count(*) AS events FROM event GROUP BY type ORDER BY type;

-- name: count_intents
SELECT count(*) AS open FROM intent WHERE state = 'open';

-- name: schema_version
SELECT max(version) AS version FROM schema_version;

-- name: prunable
-- Settled long ago, and no logger still waits for any of its events.
SELECT b.pk, b.account, b.batch_id, b.intent_id FROM batch AS b
WHERE b.settled_at < :before AND NOT EXISTS (
    SELECT 1 FROM event AS e JOIN delivery AS d ON d.event_seq = e.seq
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND d.state = 'pending'
)
ORDER BY b.settled_at LIMIT :limit;

-- name: lock_forgotten
-- SQLite has locked the whole file already.
SELECT 1 WHERE 0;

-- name: settlements_of
-- The newest revision of each.
SELECT settlement FROM settlement WHERE batch_pk = :pk ORDER BY revision DESC LIMIT 1;

-- name: forgotten
SELECT sums FROM forgotten ORDER BY provider, account, status;

-- name: forgotten_of
SELECT sums FROM forgotten WHERE provider = :provider AND account = :account AND status = :status;

-- name: keep_forgotten
INSERT INTO forgotten (provider, account, status, sums) VALUES (:provider, :account, :status, :sums)
ON CONFLICT (provider, account, status) DO UPDATE SET sums = excluded.sums;

-- name: prune_events
DELETE FROM event WHERE batch_id = :batch_id AND account = :account;

-- name: prune_intents
DELETE FROM intent WHERE id = :intent_id;

-- name: prune_batches
DELETE FROM batch WHERE pk = :pk;

-- name: prune_closed_intents
DELETE FROM intent WHERE state = 'closed' AND created_at < :before;

-- name: oldest_batch
SELECT recorded_at FROM batch ORDER BY pk LIMIT 1;

-- name: old_files
-- One page of all files, of which most are not old: the table has no index by age, and needs none.
SELECT file_id, account, coalesce(used_at, recorded_at) < :before AS old FROM file
WHERE (file_id, account) > (:after_file, :after_account)
ORDER BY file_id, account LIMIT :limit;

-- name: prune_files
DELETE FROM file WHERE file_id = :file_id AND account = :account AND coalesce(used_at, recorded_at) < :before;
