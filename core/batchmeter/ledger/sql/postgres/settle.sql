-- Settlements and events. A line ending in [name] is used only when that parameter is given.
-- Where a statement runs for each of several items, the items come as arrays, one a column.

-- name: settle_batch
-- The fence: nothing is returned when the lease was lost or the batch is settled.
UPDATE batchmeter.batch SET settled_at = %(now)s, next_poll_at = NULL, lease_until = NULL, lease_owner = NULL,
    lease_token = lease_token + 1, woken = 0, last_error = NULL, error_count = 0,
    known_usd = %(known_usd)s::double precision, unpriced_lines = %(unpriced_lines)s::bigint,
    snapshot = CASE WHEN %(ended)s::smallint < ended THEN snapshot ELSE %(snapshot)s END,
    status = CASE WHEN %(ended)s::smallint < ended THEN status ELSE %(status)s END,
    ended = greatest(ended, %(ended)s::smallint)
WHERE account = %(account)s AND batch_id = %(batch_id)s AND lease_token = %(token)s AND next_poll_at IS NOT NULL RETURNING pk;

-- name: settle_whole
-- All of a settlement in one round trip: what settle_batch, put_file, add_settlement, add_event and add_deliveries do.
-- Nothing is told when the lease was lost, the batch is settled, or this revision exists.
WITH settled AS (
    UPDATE batchmeter.batch SET settled_at = %(now)s, next_poll_at = NULL, lease_until = NULL, lease_owner = NULL,
        lease_token = lease_token + 1, woken = 0, last_error = NULL, error_count = 0,
        known_usd = %(known_usd)s::double precision, unpriced_lines = %(unpriced_lines)s::bigint,
        snapshot = CASE WHEN %(ended)s::smallint < ended THEN snapshot ELSE %(snapshot)s END,
        status = CASE WHEN %(ended)s::smallint < ended THEN status ELSE %(status)s END,
        ended = greatest(ended, %(ended)s::smallint)
    WHERE account = %(account)s AND batch_id = %(batch_id)s AND lease_token = %(token)s AND next_poll_at IS NOT NULL
    RETURNING pk
), outputs AS (
    INSERT INTO batchmeter.file AS kept (file_id, account, attribution, recorded_at)
    SELECT named.file_id, %(account)s, %(attribution)s::text, %(now)s
    FROM settled CROSS JOIN unnest(%(file_id)s::text[]) AS named (file_id)
    ON CONFLICT (file_id, account) DO UPDATE SET attribution = coalesce(kept.attribution, excluded.attribution)
), stored AS (
    INSERT INTO batchmeter.settlement (batch_pk, revision, recorded_at, settlement, line_groups)
    SELECT pk, %(revision)s, %(now)s, %(settlement)s, %(groups)s FROM settled
    ON CONFLICT DO NOTHING RETURNING batch_pk
), fence AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(4702111234474983746) FROM stored
), told AS (
    INSERT INTO batchmeter.event (id, type, account, batch_id, revision, recorded_at, payload, after_seq)
    SELECT %(event_id)s, %(type)s, %(account)s, %(batch_id)s, %(revision)s, %(now)s, %(payload)s, (
        SELECT first.seq FROM batchmeter.event AS first
        WHERE first.batch_id = %(batch_id)s AND first.account = %(account)s AND first.type = 'acreate_batch'
    ) FROM fence
    RETURNING seq
), wanted (logger) AS (
    SELECT unnest(%(loggers)s::text[])
    UNION
    SELECT d.logger FROM batchmeter.event AS e JOIN batchmeter.delivery AS d ON d.event_seq = e.seq
    WHERE e.batch_id = %(batch_id)s AND e.account = %(account)s
), sent AS (
    INSERT INTO batchmeter.delivery (event_seq, logger, state, next_attempt_at)
    SELECT told.seq, wanted.logger, 'pending', %(now)s FROM told CROSS JOIN wanted
)
SELECT seq FROM told;

-- name: revise_batch
UPDATE batchmeter.batch SET known_usd = %(known_usd)s::double precision, unpriced_lines = %(unpriced_lines)s::bigint
WHERE pk = %(pk)s;

-- name: settled_batch
SELECT pk FROM batchmeter.batch WHERE account = %(account)s AND batch_id = %(batch_id)s AND settled_at IS NOT NULL;

-- name: add_settlement
INSERT INTO batchmeter.settlement (batch_pk, revision, recorded_at, settlement, line_groups)
VALUES (%(batch_pk)s, %(revision)s, %(now)s, %(settlement)s, %(groups)s)
ON CONFLICT DO NOTHING RETURNING batch_pk;

-- name: get_settlement
SELECT newest.settlement, newest.line_groups FROM batchmeter.batch AS b CROSS JOIN LATERAL (
    SELECT s.settlement, s.line_groups FROM batchmeter.settlement AS s WHERE s.batch_pk = b.pk ORDER BY s.revision DESC LIMIT 1
) AS newest
WHERE b.batch_id = %(batch_id)s
  AND b.account = %(account)s -- [account]
ORDER BY b.pk + 0 DESC LIMIT 1;

-- name: list_settlements
-- In the order in which the batches were first settled, which a revision does not change. The page is cut first, its
-- settlements are looked up one by one: a young table has no statistics, and a join would read all of it for each page.
SELECT newest.settlement, newest.line_groups FROM (
    SELECT b.pk, b.settled_at FROM batchmeter.batch AS b
    WHERE b.settled_at IS NOT NULL
      AND b.settled_at >= %(since)s -- [since]
      AND (b.settled_at, b.pk) > (%(after_time)s::bigint, %(after_pk)s::bigint) -- [after_pk]
    ORDER BY b.settled_at, b.pk LIMIT %(limit)s
) AS page CROSS JOIN LATERAL (
    SELECT s.settlement, s.line_groups FROM batchmeter.settlement AS s WHERE s.batch_pk = page.pk ORDER BY s.revision DESC LIMIT 1
) AS newest
ORDER BY page.settled_at, page.pk;

-- name: list_costs
-- Newest revision of each, with whose it was, in the order of list_settlements and cut as there.
SELECT page.pk, page.settled_at, page.submission, newest.settlement FROM (
    SELECT b.pk, b.settled_at, b.submission FROM batchmeter.batch AS b
    WHERE b.settled_at IS NOT NULL
      AND b.key_id = %(key)s -- [key]
      AND b.settled_at >= %(since)s -- [since]
      AND b.settled_at < %(until)s -- [until]
      AND (b.settled_at, b.pk) > (%(after_time)s::bigint, %(after_pk)s::bigint) -- [after_pk]
    ORDER BY b.settled_at, b.pk LIMIT %(limit)s
) AS page CROSS JOIN LATERAL (
    SELECT s.settlement FROM batchmeter.settlement AS s WHERE s.batch_pk = page.pk ORDER BY s.revision DESC LIMIT 1
) AS newest
ORDER BY page.settled_at, page.pk;

-- name: list_failed
SELECT b.* FROM batchmeter.batch AS b
WHERE b.settled_at >= %(since)s AND b.account = %(account)s AND b.status = 'failed'
  AND (b.settled_at, b.pk) > (%(after_time)s::bigint, %(after_pk)s::bigint) -- [after_pk]
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
SELECT %(seq)s, wanted.logger, 'pending', %(now)s FROM unnest(%(loggers)s::text[]) AS wanted (logger);

-- name: fence_events
-- Waits until every writer that has taken a seq has committed: a seq that shows up later is larger than all seen now.
SELECT pg_advisory_xact_lock(4702111234474983746);

-- name: list_events
SELECT seq, payload FROM batchmeter.event
WHERE seq > %(after)s
  AND EXISTS (SELECT 1 FROM batchmeter.batch AS b WHERE b.batch_id = event.batch_id AND b.account = event.account AND b.key_id = %(key)s) -- [key]
  AND batch_id = %(batch_id)s -- [batch_id]
  AND recorded_at >= %(since)s -- [since]
  AND type = ANY(%(types)s::text[]) -- [types]
ORDER BY seq LIMIT %(limit)s;
