-- Who follows which batch. A line ending in [name] is used only when that parameter is given.

-- name: open_accounts
-- Those with an unsettled batch, by skipping along the index.
WITH RECURSIVE found (account) AS (
    SELECT min(account) FROM batch WHERE next_poll_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(b.account) FROM batch AS b WHERE b.account > found.account AND b.next_poll_at IS NOT NULL)
    FROM found WHERE found.account IS NOT NULL
)
SELECT account FROM found WHERE account IS NOT NULL;

-- name: due_batches
-- The most overdue of one account.
SELECT pk, account, next_poll_at FROM batch
WHERE account = :account AND next_poll_at <= :now
ORDER BY next_poll_at LIMIT :limit;

-- name: claim_batches
UPDATE batch SET next_poll_at = :now + :lease, lease_until = :now + :lease, lease_owner = :owner,
    lease_token = lease_token + 1, woken = 0
WHERE pk = :pk AND next_poll_at <= :now RETURNING *;

-- name: claim_batch
UPDATE batch SET next_poll_at = :now + :lease, lease_until = :now + :lease, lease_owner = :owner,
    lease_token = lease_token + 1, woken = 0
WHERE account = :account AND batch_id = :batch_id AND next_poll_at IS NOT NULL
  AND poll_count = :polled -- [polled]
  AND (lease_until IS NULL OR lease_until <= :now) RETURNING *;

-- name: renew_claims
UPDATE batch SET next_poll_at = :now + :lease, lease_until = :now + :lease
WHERE account = :account AND batch_id = :batch_id AND lease_token = :token AND next_poll_at IS NOT NULL
RETURNING account, batch_id, lease_token, lease_until;

-- name: release_claims
-- The token moves on, so the same claim cannot be used twice. A hint that came meanwhile beats the new time.
UPDATE batch SET
    next_poll_at = CASE WHEN woken THEN min(:now, :next_poll_at) ELSE :next_poll_at END,
    lease_until = NULL, lease_owner = NULL, lease_token = lease_token + 1, woken = 0,
    poll_count = poll_count + 1, last_polled_at = :now, last_error = :error,
    error_count = CASE WHEN :error IS NULL THEN 0 ELSE error_count + 1 END,
    snapshot = CASE WHEN :ended < ended OR :snapshot IS NULL THEN snapshot ELSE :snapshot END,
    status = CASE WHEN :ended < ended OR :snapshot IS NULL THEN status ELSE :status END,
    ended = max(ended, :ended)
WHERE account = :account AND batch_id = :batch_id AND lease_token = :token AND next_poll_at IS NOT NULL RETURNING pk;

-- name: put_off
-- Seen open in a list, due or not. What has become due since the list was asked for stays so: a hint may have come.
UPDATE batch SET next_poll_at = :next_poll_at, last_polled_at = :now
WHERE account = :account AND batch_id = :batch_id AND (next_poll_at > :now OR next_poll_at < :asked)
  AND next_poll_at < :next_poll_at AND ended = 0 AND woken = 0 AND lease_until IS NULL
RETURNING pk;

-- name: next_due
SELECT min(next_poll_at) AS due FROM batch WHERE account = :account AND next_poll_at IS NOT NULL;
