-- Who follows which batch. A line ending in [name] is used only when that parameter is given.
-- Where a statement runs for each of several items, the items come as arrays, one a column.

-- name: open_accounts
-- Those with an unsettled batch, by skipping along the index.
WITH RECURSIVE found (account) AS (
    SELECT min(account) FROM batchmeter.batch WHERE next_poll_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(b.account) FROM batchmeter.batch AS b WHERE b.account > found.account AND b.next_poll_at IS NOT NULL)
    FROM found WHERE found.account IS NOT NULL
)
SELECT account FROM found WHERE account IS NOT NULL;

-- name: due_batches
-- The most overdue of each account, unlocked: more of them than are wanted, because other workers look too.
SELECT due.pk, wanted.account, due.next_poll_at
FROM unnest(%(account)s::text[]) AS wanted (account) CROSS JOIN LATERAL (
    SELECT b.pk, b.next_poll_at FROM batchmeter.batch AS b
    WHERE b.account = wanted.account AND b.next_poll_at <= %(now)s
    ORDER BY b.next_poll_at LIMIT %(limit)s
) AS due;

-- name: claim_batches
-- What another worker is claiming at this moment is skipped. The sum keeps PostgreSQL from reading all that is due.
WITH due AS MATERIALIZED (
    SELECT b.pk FROM batchmeter.batch AS b
    WHERE b.pk = ANY(%(pk)s::bigint[]) AND b.next_poll_at + 0 <= %(now)s
    ORDER BY b.next_poll_at, b.pk LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE batchmeter.batch AS b SET next_poll_at = %(now)s + %(lease)s, lease_until = %(now)s + %(lease)s,
    lease_owner = %(owner)s, lease_token = b.lease_token + 1, woken = 0
FROM due WHERE b.pk = due.pk RETURNING b.*;

-- name: claim_batch
UPDATE batchmeter.batch SET next_poll_at = %(now)s + %(lease)s, lease_until = %(now)s + %(lease)s, lease_owner = %(owner)s,
    lease_token = lease_token + 1, woken = 0
WHERE account = %(account)s AND batch_id = %(batch_id)s AND next_poll_at IS NOT NULL
  AND poll_count = %(polled)s -- [polled]
  AND (lease_until IS NULL OR lease_until <= %(now)s) RETURNING *;

-- name: renew_claims
UPDATE batchmeter.batch AS b SET next_poll_at = %(now)s + %(lease)s, lease_until = %(now)s + %(lease)s
FROM unnest(%(account)s::text[], %(batch_id)s::text[], %(token)s::bigint[]) AS v (account, batch_id, token)
WHERE b.account = v.account AND b.batch_id = v.batch_id AND b.lease_token = v.token AND b.next_poll_at IS NOT NULL
RETURNING b.account, b.batch_id, b.lease_token, b.lease_until;

-- name: release_claims
-- The token moves on, so the same claim cannot be used twice. A hint that came meanwhile beats the new time.
UPDATE batchmeter.batch AS b SET
    next_poll_at = CASE WHEN b.woken = 1 THEN least(%(now)s, v.next_poll_at) ELSE v.next_poll_at END,
    lease_until = NULL, lease_owner = NULL, lease_token = b.lease_token + 1, woken = 0,
    poll_count = b.poll_count + 1, last_polled_at = %(now)s, last_error = v.error,
    error_count = CASE WHEN v.error IS NULL THEN 0 ELSE b.error_count + 1 END,
    snapshot = CASE WHEN v.ended < b.ended OR v.snapshot IS NULL THEN b.snapshot ELSE v.snapshot END,
    status = CASE WHEN v.ended < b.ended OR v.snapshot IS NULL THEN b.status ELSE v.status END,
    ended = greatest(b.ended, v.ended)
FROM unnest(
    %(account)s::text[], %(batch_id)s::text[], %(token)s::bigint[], %(next_poll_at)s::bigint[], %(error)s::text[],
    %(snapshot)s::text[], %(status)s::text[], %(ended)s::smallint[]
) AS v (account, batch_id, token, next_poll_at, error, snapshot, status, ended)
WHERE b.account = v.account AND b.batch_id = v.batch_id AND b.lease_token = v.token AND b.next_poll_at IS NOT NULL
RETURNING b.pk;

-- name: put_off
-- Seen open in a list, due or not. What has become due since the list was asked for stays so: a hint may have come.
UPDATE batchmeter.batch AS b SET next_poll_at = v.next_poll_at, last_polled_at = %(now)s
FROM unnest(%(account)s::text[], %(batch_id)s::text[], %(next_poll_at)s::bigint[]) AS v (account, batch_id, next_poll_at)
WHERE b.account = v.account AND b.batch_id = v.batch_id AND (b.next_poll_at > %(now)s OR b.next_poll_at < %(asked)s)
  AND b.next_poll_at < v.next_poll_at AND b.ended = 0 AND b.woken = 0 AND b.lease_until IS NULL
RETURNING b.pk;

-- name: next_due
SELECT first.due FROM unnest(%(account)s::text[]) AS wanted (account) CROSS JOIN LATERAL (
    SELECT min(b.next_poll_at) AS due FROM batchmeter.batch AS b
    WHERE b.account = wanted.account AND b.next_poll_at IS NOT NULL
) AS first;
