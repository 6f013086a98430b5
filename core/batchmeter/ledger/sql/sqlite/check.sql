-- What must hold in a sound ledger, each statement a count of what does not; and what is open, account by account.

-- name: check_file
PRAGMA quick_check(5);

-- name: check_beginnings
-- Batches without their acreate_batch.
SELECT count(*) AS wrong FROM batch AS b WHERE NOT EXISTS (
    SELECT 1 FROM event AS e WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.type = 'acreate_batch'
);

-- name: check_endings
-- Settled batches without an ending event.
SELECT count(*) AS wrong FROM batch AS b WHERE b.settled_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM event AS e WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.type <> 'acreate_batch'
);

-- name: check_early_endings
-- Endings of batches that are still followed.
SELECT count(*) AS wrong FROM batch AS b WHERE b.next_poll_at IS NOT NULL AND EXISTS (
    SELECT 1 FROM event AS e WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.type <> 'acreate_batch'
);

-- name: check_repeats
-- Events of one batch, revision and kind (beginning or ending) beyond the first.
SELECT coalesce(sum(copies - 1), 0) AS wrong FROM (
    SELECT count(*) AS copies FROM event GROUP BY account, batch_id, revision, type = 'acreate_batch'
) WHERE copies > 1;

-- name: check_settlements
-- Settled batches whose settlement is missing.
SELECT count(*) AS wrong FROM batch AS b WHERE b.settled_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM settlement AS s WHERE s.batch_pk = b.pk
);

-- name: check_abandoned
-- Neither settled nor followed.
SELECT count(*) AS wrong FROM batch WHERE settled_at IS NULL AND next_poll_at IS NULL;

-- name: check_leases
-- Leases that no index will ever find again: they end after the batch is due.
SELECT count(*) AS wrong FROM batch WHERE lease_until > next_poll_at;

-- name: open_by_account
SELECT account, count(*) AS open, sum(lease_until IS NOT NULL AND lease_until > :now) AS leased,
    sum(next_poll_at <= :now AND (lease_until IS NULL OR lease_until <= :now)) AS overdue,
    sum(error_count > 0) AS failing, min(recorded_at) AS oldest_at
FROM batch WHERE next_poll_at IS NOT NULL GROUP BY account ORDER BY account;
