-- Events on their way to loggers. A line ending in [name] is used only when that parameter is given.

-- name: claim_deliveries
-- An ending is held back while the same logger has still to get the batch's acreate_batch.
UPDATE delivery SET token = token + 1, next_attempt_at = :now + :lease, lease_owner = :owner
WHERE logger = :logger AND event_seq IN (
    SELECT d.event_seq FROM delivery AS d JOIN event AS e ON e.seq = d.event_seq
    WHERE d.logger = :logger AND d.state = 'pending' AND d.next_attempt_at <= :now AND NOT EXISTS (
        SELECT 1 FROM delivery AS first
        WHERE first.event_seq = e.after_seq AND first.logger = :logger AND first.state = 'pending'
    )
    ORDER BY d.next_attempt_at, d.event_seq LIMIT :limit
)
RETURNING event_seq;

-- name: get_deliveries
SELECT d.*, e.seq, e.payload FROM delivery AS d JOIN event AS e ON e.seq = d.event_seq
WHERE d.event_seq = :event_seq AND d.logger = :logger;

-- name: finish_deliveries
-- The token moves on, so the same attempt cannot end twice.
UPDATE delivery SET state = :state, attempts = attempts + 1, token = token + 1, lease_owner = NULL,
    last_error = :error,
    next_attempt_at = CASE WHEN :state = 'pending' THEN coalesce(:next_attempt_at, :now) END,
    delivered_at = CASE WHEN :state = 'delivered' THEN :now END
WHERE event_seq = :event_seq AND logger = :logger AND token = :token AND state = 'pending' RETURNING event_seq;

-- name: list_deliveries
SELECT d.*, e.seq, e.payload FROM delivery AS d JOIN event AS e ON e.seq = d.event_seq
WHERE 1
  AND d.logger = :logger -- [logger]
  AND d.state = :state -- [state]
ORDER BY d.event_seq, d.logger LIMIT :limit;

-- name: reopen_deliveries
UPDATE delivery SET state = 'pending', attempts = 0, token = token + 1, next_attempt_at = :now, delivered_at = NULL
WHERE logger = :logger
  AND state = 'dead' -- [dead_only]
  AND state <> 'pending' -- [every]
  AND event_seq IN (SELECT seq FROM event WHERE recorded_at >= :since); -- [since]

-- name: backfill_deliveries
-- Events from before this logger was enabled.
INSERT INTO delivery (event_seq, logger, state, next_attempt_at)
SELECT e.seq, :logger, 'pending', :now FROM event AS e
WHERE NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.event_seq = e.seq AND d.logger = :logger)
  AND e.recorded_at >= :since -- [since]
ORDER BY e.seq;

-- name: abandon_deliveries
-- Whoever is at one of them has lost it.
UPDATE delivery SET state = 'dead', token = token + 1, lease_owner = NULL, next_attempt_at = NULL, last_error = :reason
WHERE logger = :logger AND state = 'pending';

-- name: next_delivery
-- Of one logger; what is held back behind an acreate_batch has no time of its own.
SELECT d.next_attempt_at AS due FROM delivery AS d JOIN event AS e ON e.seq = d.event_seq
WHERE d.logger = :logger AND d.state = 'pending' AND NOT EXISTS (
    SELECT 1 FROM delivery AS first
    WHERE first.event_seq = e.after_seq AND first.logger = :logger AND first.state = 'pending'
)
ORDER BY d.next_attempt_at LIMIT 1;

-- name: gauges
SELECT d.logger,
    sum(d.state = 'pending') AS pending, sum(d.state = 'dead') AS dead, sum(d.state = 'delivered') AS delivered,
    min(CASE WHEN d.state = 'pending' THEN e.recorded_at END) AS oldest_pending_at
FROM delivery AS d LEFT JOIN event AS e ON e.seq = d.event_seq AND d.state = 'pending'
GROUP BY d.logger ORDER BY d.logger;
