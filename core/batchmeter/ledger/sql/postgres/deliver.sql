-- Events on their way to loggers. A line ending in [name] is used only when that parameter is given.
-- Where a statement runs for each of several items, the items come as arrays, one a column.

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

-- name: abandon_deliveries
-- Whoever is at one of them has lost it.
UPDATE batchmeter.delivery SET state = 'dead', token = token + 1, lease_owner = NULL, next_attempt_at = NULL, last_error = %(reason)s
WHERE logger = %(logger)s AND state = 'pending';

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
