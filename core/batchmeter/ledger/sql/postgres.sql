-- Every statement of the PostgreSQL ledger. A line ending in [name] is used only when that parameter is given.
-- Where a statement is run for each of several items, the items come as arrays, one a column.

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
UPDATE batchmeter.intent SET state = 'created', batch_id = %(batch_id)s, reason = NULL WHERE id = %(id)s AND state <> 'created';

-- name: free_key
-- A closed intent that turns out to have made a batch must not take back a key that is used again by now.
UPDATE batchmeter.intent AS mine SET idempotency_key = NULL
WHERE mine.id = %(id)s AND mine.state = 'closed' AND EXISTS (
    SELECT 1 FROM batchmeter.intent AS other
    WHERE other.account = mine.account AND other.idempotency_key = mine.idempotency_key AND other.state <> 'closed'
);

-- name: open_intents
SELECT * FROM batchmeter.intent WHERE state = 'open' AND created_at < %(before)s ORDER BY created_at LIMIT %(limit)s;

-- name: add_batch
-- Nothing is returned when it is known already.
INSERT INTO batchmeter.batch
    (account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at, intent_id)
VALUES (%(account)s, %(batch_id)s, %(submission)s, %(snapshot)s, %(status)s, %(ended)s, %(now)s, %(next_poll_at)s,
    %(intent_id)s::text)
ON CONFLICT DO NOTHING RETURNING *;

-- name: link_intent
-- A batch that a sweep found before its creator recorded it.
UPDATE batchmeter.batch SET intent_id = %(intent_id)s WHERE account = %(account)s AND batch_id = %(batch_id)s AND intent_id IS NULL;

-- name: get_batch
SELECT * FROM batchmeter.batch
WHERE batch_id = %(batch_id)s
  AND account = %(account)s -- [account]
ORDER BY pk DESC LIMIT 1;

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
SELECT due.pk, due.next_poll_at
FROM unnest(%(account)s::text[]) AS wanted (account) CROSS JOIN LATERAL (
    SELECT b.pk, b.next_poll_at FROM batchmeter.batch AS b
    WHERE b.account = wanted.account AND b.next_poll_at <= %(now)s
    ORDER BY b.next_poll_at LIMIT %(limit)s
) AS due;

-- name: claim_batches
-- What another worker is claiming at this moment is skipped.
WITH due AS MATERIALIZED (
    SELECT b.pk FROM batchmeter.batch AS b
    WHERE b.pk = ANY(%(pk)s::bigint[]) AND b.next_poll_at <= %(now)s
    ORDER BY b.next_poll_at, b.pk LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE batchmeter.batch AS b SET next_poll_at = %(now)s + %(lease)s, lease_until = %(now)s + %(lease)s,
    lease_owner = %(owner)s, lease_token = b.lease_token + 1, woken = 0
FROM due WHERE b.pk = due.pk RETURNING b.*;

-- name: claim_batch
UPDATE batchmeter.batch SET next_poll_at = %(now)s + %(lease)s, lease_until = %(now)s + %(lease)s, lease_owner = %(owner)s,
    lease_token = lease_token + 1, woken = 0
WHERE account = %(account)s AND batch_id = %(batch_id)s AND next_poll_at IS NOT NULL
  AND (lease_until IS NULL OR lease_until <= %(now)s) RETURNING *;

-- name: renew_claim
UPDATE batchmeter.batch SET next_poll_at = %(now)s + %(lease)s, lease_until = %(now)s + %(lease)s
WHERE account = %(account)s AND batch_id = %(batch_id)s AND lease_token = %(token)s AND next_poll_at IS NOT NULL RETURNING *;

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

-- name: next_due
SELECT first.due FROM unnest(%(account)s::text[]) AS wanted (account) CROSS JOIN LATERAL (
    SELECT min(b.next_poll_at) AS due FROM batchmeter.batch AS b
    WHERE b.account = wanted.account AND b.next_poll_at IS NOT NULL
) AS first;

-- name: settle_batch
-- The fence: nothing is returned when the lease was lost or the batch is settled.
UPDATE batchmeter.batch SET settled_at = %(now)s, next_poll_at = NULL, lease_until = NULL, lease_owner = NULL,
    lease_token = lease_token + 1, woken = 0, last_error = NULL, error_count = 0,
    snapshot = CASE WHEN %(ended)s::smallint < ended THEN snapshot ELSE %(snapshot)s END,
    status = CASE WHEN %(ended)s::smallint < ended THEN status ELSE %(status)s END,
    ended = greatest(ended, %(ended)s::smallint)
WHERE account = %(account)s AND batch_id = %(batch_id)s AND lease_token = %(token)s AND next_poll_at IS NOT NULL RETURNING pk;

-- name: settled_batch
SELECT pk FROM batchmeter.batch WHERE account = %(account)s AND batch_id = %(batch_id)s AND settled_at IS NOT NULL;

-- name: add_settlement
INSERT INTO batchmeter.settlement (batch_pk, revision, recorded_at, settlement, line_groups)
VALUES (%(batch_pk)s, %(revision)s, %(now)s, %(settlement)s, %(groups)s)
ON CONFLICT DO NOTHING RETURNING batch_pk;

-- name: get_settlement
SELECT s.settlement, s.line_groups FROM batchmeter.settlement AS s JOIN batchmeter.batch AS b ON b.pk = s.batch_pk
WHERE b.batch_id = %(batch_id)s
  AND b.account = %(account)s -- [account]
ORDER BY b.pk DESC, s.revision DESC LIMIT 1;

-- name: list_settlements
-- In the order in which the batches were first settled, which a revision does not change.
SELECT s.settlement, s.line_groups FROM batchmeter.batch AS b JOIN batchmeter.settlement AS s ON s.batch_pk = b.pk
WHERE b.settled_at IS NOT NULL
  AND b.settled_at >= %(since)s -- [since]
  AND (b.settled_at, b.pk) > (%(after_time)s::bigint, %(after_pk)s::bigint) -- [after_pk]
  AND s.revision = (SELECT max(r.revision) FROM batchmeter.settlement AS r WHERE r.batch_pk = b.pk)
ORDER BY b.settled_at, b.pk LIMIT %(limit)s;

-- name: add_event
-- The fence lets readers of events wait for writers that hold a seq; see fence_events.
WITH fence AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(4702111234474983746))
INSERT INTO batchmeter.event (id, type, account, batch_id, revision, recorded_at, payload, after_seq)
SELECT %(id)s, %(type)s, %(account)s, %(batch_id)s, %(revision)s, %(now)s, %(payload)s, (
    SELECT first.seq FROM batchmeter.event AS first
    WHERE first.batch_id = %(batch_id)s AND first.account = %(account)s AND first.type = 'acreate_batch'
      AND %(type)s <> 'acreate_batch'
) FROM fence
RETURNING seq;

-- name: loggers_of_batch
SELECT DISTINCT d.logger FROM batchmeter.event AS e JOIN batchmeter.delivery AS d ON d.event_seq = e.seq
WHERE e.batch_id = %(batch_id)s AND e.account = %(account)s;

-- name: add_deliveries
INSERT INTO batchmeter.delivery (event_seq, logger, state, next_attempt_at)
SELECT %(seq)s, wanted.logger, 'pending', %(now)s FROM unnest(%(logger)s::text[]) AS wanted (logger);

-- name: fence_events
-- Waits until every writer that has taken a seq has committed: a seq that shows up later is larger than all seen now.
SELECT pg_advisory_xact_lock(4702111234474983746);

-- name: list_events
SELECT seq, payload FROM batchmeter.event
WHERE seq > %(after)s
  AND batch_id = %(batch_id)s -- [batch_id]
  AND recorded_at >= %(since)s -- [since]
  AND type = ANY(%(types)s::text[]) -- [types]
ORDER BY seq LIMIT %(limit)s;

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

-- name: get_deliveries
SELECT d.*, e.seq, e.payload FROM batchmeter.delivery AS d JOIN batchmeter.event AS e ON e.seq = d.event_seq
WHERE d.event_seq = ANY(%(event_seq)s::bigint[]) AND d.logger = %(logger)s;

-- name: finish_deliveries
-- The token moves on, so the same attempt cannot end twice.
UPDATE batchmeter.delivery AS d SET state = v.state, attempts = d.attempts + 1, token = d.token + 1,
    lease_owner = NULL, last_error = v.error,
    next_attempt_at = CASE WHEN v.state = 'pending' THEN coalesce(v.next_attempt_at, %(now)s) END,
    delivered_at = CASE WHEN v.state = 'delivered' THEN %(now)s::bigint END
FROM unnest(
    %(event_seq)s::bigint[], %(logger)s::text[], %(token)s::bigint[], %(state)s::text[], %(next_attempt_at)s::bigint[],
    %(error)s::text[]
) AS v (event_seq, logger, token, state, next_attempt_at, error)
WHERE d.event_seq = v.event_seq AND d.logger = v.logger AND d.token = v.token AND d.state = 'pending'
RETURNING d.event_seq;

-- name: list_deliveries
SELECT d.*, e.seq, e.payload FROM batchmeter.delivery AS d JOIN batchmeter.event AS e ON e.seq = d.event_seq
WHERE true
  AND d.logger = %(logger)s -- [logger]
  AND d.state = %(state)s -- [state]
ORDER BY d.event_seq, d.logger LIMIT %(limit)s;

-- name: reopen_deliveries
UPDATE batchmeter.delivery SET state = 'pending', attempts = 0, token = token + 1, next_attempt_at = %(now)s, delivered_at = NULL
WHERE logger = %(logger)s
  AND state = 'dead' -- [dead_only]
  AND state <> 'pending' -- [every]
  AND event_seq IN (SELECT seq FROM batchmeter.event WHERE recorded_at >= %(since)s); -- [since]

-- name: backfill_deliveries
-- Events from before this logger was enabled.
INSERT INTO batchmeter.delivery (event_seq, logger, state, next_attempt_at)
SELECT e.seq, %(logger)s, 'pending', %(now)s FROM batchmeter.event AS e
WHERE NOT EXISTS (SELECT 1 FROM batchmeter.delivery AS d WHERE d.event_seq = e.seq AND d.logger = %(logger)s)
  AND e.recorded_at >= %(since)s -- [since]
ORDER BY e.seq
ON CONFLICT DO NOTHING;

-- name: next_delivery
-- Of each logger; what is held back behind an acreate_batch has no time of its own.
SELECT first.due FROM unnest(%(logger)s::text[]) AS wanted (logger) CROSS JOIN LATERAL (
    SELECT d.next_attempt_at AS due
    FROM batchmeter.delivery AS d JOIN batchmeter.event AS e ON e.seq = d.event_seq
    WHERE d.logger = wanted.logger AND d.state = 'pending' AND NOT EXISTS (
        SELECT 1 FROM batchmeter.delivery AS first
        WHERE first.event_seq = e.after_seq AND first.logger = wanted.logger AND first.state = 'pending'
    )
    ORDER BY d.next_attempt_at LIMIT 1
) AS first;

-- name: gauges
SELECT d.logger,
    count(*) FILTER (WHERE d.state = 'pending') AS pending, count(*) FILTER (WHERE d.state = 'dead') AS dead,
    count(*) FILTER (WHERE d.state = 'delivered') AS delivered,
    min(e.recorded_at) AS oldest_pending_at
FROM batchmeter.delivery AS d LEFT JOIN batchmeter.event AS e ON e.seq = d.event_seq AND d.state = 'pending'
GROUP BY d.logger ORDER BY d.logger;

-- name: put_file
INSERT INTO batchmeter.file AS kept (file_id, account, snapshot, attribution, recorded_at)
VALUES (%(file_id)s, %(account)s, %(snapshot)s::text, %(attribution)s::text, %(now)s)
ON CONFLICT (file_id, account) DO UPDATE SET snapshot = coalesce(excluded.snapshot, kept.snapshot),
    attribution = coalesce(kept.attribution, excluded.attribution);

-- name: account_of
-- The newest, where accounts share a provider account.
SELECT account FROM (
    SELECT account, recorded_at FROM batchmeter.batch WHERE batch_id = %(id)s
    UNION ALL
    SELECT account, recorded_at FROM batchmeter.file WHERE file_id = %(id)s
) AS owners ORDER BY recorded_at DESC LIMIT 1;

-- name: file_owner
SELECT account, attribution FROM batchmeter.file
WHERE file_id = %(file_id)s
  AND account = %(account)s -- [account]
ORDER BY recorded_at DESC LIMIT 1;

-- name: forget_file
DELETE FROM batchmeter.file WHERE file_id = %(file_id)s AND account = %(account)s;

-- name: count_batches
SELECT account, status, count(*) AS batches, count(next_poll_at) AS open,
    count(*) FILTER (WHERE next_poll_at <= %(now)s AND (lease_until IS NULL OR lease_until <= %(now)s)) AS overdue
FROM batchmeter.batch GROUP BY account, status ORDER BY account, status;

-- name: count_events
SELECT type, count(*) AS events FROM batchmeter.event GROUP BY type ORDER BY type;

-- name: count_intents
SELECT count(*) AS open FROM batchmeter.intent WHERE state = 'open';

-- name: schema_version
SELECT max(version) AS version FROM batchmeter.schema_version;

-- name: prunable
-- Settled long ago, and no logger still waits for any of its events.
SELECT b.pk, b.account, b.batch_id, b.intent_id FROM batchmeter.batch AS b
WHERE b.settled_at < %(before)s AND NOT EXISTS (
    SELECT 1 FROM batchmeter.event AS e JOIN batchmeter.delivery AS d ON d.event_seq = e.seq
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND d.state = 'pending'
)
ORDER BY b.settled_at LIMIT %(limit)s;

-- name: prune_events
DELETE FROM batchmeter.event AS e USING unnest(%(batch_id)s::text[], %(account)s::text[]) AS v (batch_id, account)
WHERE e.batch_id = v.batch_id AND e.account = v.account;

-- name: prune_intents
DELETE FROM batchmeter.intent WHERE id = ANY(%(intent_id)s::text[]);

-- name: prune_batches
DELETE FROM batchmeter.batch WHERE pk = ANY(%(pk)s::bigint[]);

-- name: prune_closed_intents
DELETE FROM batchmeter.intent WHERE state = 'closed' AND created_at < %(before)s;
