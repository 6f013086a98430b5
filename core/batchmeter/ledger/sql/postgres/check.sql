-- What must hold in a sound ledger, each statement a count of what does not; and what is open, account by account.

-- name: check_file
-- The server checks its own pages.
SELECT 'ok' AS quick_check;

-- name: check_beginnings
-- Batches without their acreate_batch.
SELECT count(*) AS wrong FROM batchmeter.batch AS b WHERE NOT EXISTS (
    SELECT 1 FROM batchmeter.event AS e
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.type = 'acreate_batch'
);

-- name: check_endings
-- Settled batches without an ending event.
SELECT count(*) AS wrong FROM batchmeter.batch AS b WHERE b.settled_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM batchmeter.event AS e
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.type <> 'acreate_batch'
);

-- name: check_early_endings
-- Endings of batches that are still followed.
SELECT count(*) AS wrong FROM batchmeter.batch AS b WHERE b.next_poll_at IS NOT NULL AND EXISTS (
    SELECT 1 FROM batchmeter.event AS e
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.type <> 'acreate_batch'
);

-- name: check_repeats
-- Events of one batch, revision and kind (beginning or ending) beyond the first.
SELECT coalesce(sum(copies - 1), 0)::bigint AS wrong FROM (
    SELECT count(*) AS copies FROM batchmeter.event GROUP BY account, batch_id, revision, type = 'acreate_batch'
) AS counted WHERE copies > 1;

-- name: check_settlements
-- Settled batches whose settlement is missing.
SELECT count(*) AS wrong FROM batchmeter.batch AS b WHERE b.settled_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM batchmeter.settlement AS s WHERE s.batch_pk = b.pk
);

-- name: check_abandoned
-- Neither settled nor followed.
SELECT count(*) AS wrong FROM batchmeter.batch WHERE settled_at IS NULL AND next_poll_at IS NULL;

-- name: check_leases
-- Leases that no index will ever find again: they end after the batch is due.
SELECT count(*) AS wrong FROM batchmeter.batch WHERE lease_until > next_poll_at;

-- name: open_by_account
SELECT account, count(*) AS open, count(*) FILTER (WHERE lease_until > %(now)s) AS leased,
    count(*) FILTER (WHERE next_poll_at <= %(now)s AND (lease_until IS NULL OR lease_until <= %(now)s)) AS overdue,
    count(*) FILTER (WHERE error_count > 0) AS failing, min(recorded_at) AS oldest_at
FROM batchmeter.batch WHERE next_poll_at IS NOT NULL GROUP BY account ORDER BY account;
