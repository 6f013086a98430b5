-- Settlements and events. A line ending in [name] is used only when that parameter is given.
-- Where a statement runs for each of several items, the items come as arrays, one a column.

-- name: settle_all
-- Each settlement whole: batch, output files, settlement, event, deliveries; told are the places of those that were.
-- Left out is a batch whose lease was lost (the fence), that is settled, or that has this revision.
WITH ending AS MATERIALIZED (
    SELECT * FROM unnest(
        %(account)b::text[], %(batch_id)b::text[], %(token)s::bigint[], %(snapshot)b::text[], %(status)b::text[],
        %(ended)s::smallint[], %(known_usd)s::double precision[], %(unpriced_lines)s::bigint[],
        %(output_file_id)b::text[], %(error_file_id)b::text[], %(attribution)b::text[], %(revision)s::integer[],
        %(settlement)b::text[], %(groups)b::text[], %(event_id)b::text[], %(type)b::text[], %(payload)b::bytea[],
        %(loggers)b::text[], %(place)s::integer[]
    ) AS given (
        account, batch_id, token, snapshot, status, ended, known_usd, unpriced_lines, output_file_id, error_file_id,
        attribution, revision, settlement, line_groups, event_id, type, payload, loggers, place
    )
), settled AS (
    UPDATE batchmeter.batch AS b SET settled_at = %(now)s, next_poll_at = NULL, lease_until = NULL, lease_owner = NULL,
        lease_token = b.lease_token + 1, woken = 0, last_error = NULL, error_count = 0,
        known_usd = v.known_usd, unpriced_lines = v.unpriced_lines,
        snapshot = CASE WHEN v.ended < b.ended THEN b.snapshot ELSE v.snapshot END,
        status = CASE WHEN v.ended < b.ended THEN b.status ELSE v.status END,
        ended = greatest(b.ended, v.ended)
    FROM ending AS v
    WHERE b.account = v.account AND b.batch_id = v.batch_id AND b.lease_token = v.token AND b.next_poll_at IS NOT NULL
    RETURNING b.pk, v.place
), outputs AS (
    INSERT INTO batchmeter.file AS kept (file_id, account, attribution, recorded_at)
    SELECT DISTINCT ON (named.file_id, v.account) named.file_id, v.account, v.attribution, %(now)s::bigint
    FROM settled JOIN ending AS v USING (place) CROSS JOIN unnest(ARRAY[v.output_file_id, v.error_file_id]) AS named (file_id)
    WHERE named.file_id IS NOT NULL ORDER BY named.file_id, v.account
    ON CONFLICT (file_id, account) DO UPDATE SET attribution = excluded.attribution
    WHERE kept.attribution IS NULL AND excluded.attribution IS NOT NULL
), stored AS (
    INSERT INTO batchmeter.settlement (batch_pk, revision, recorded_at, settlement, line_groups)
    SELECT settled.pk, v.revision, %(now)s, v.settlement, v.line_groups FROM settled JOIN ending AS v USING (place)
    ON CONFLICT DO NOTHING RETURNING batch_pk
), fence AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(4702111234474983746) WHERE EXISTS (SELECT 1 FROM stored)
), told AS (
    INSERT INTO batchmeter.event (id, type, account, batch_id, revision, recorded_at, payload, after_seq)
    SELECT v.event_id, v.type, v.account, v.batch_id, v.revision, %(now)s, v.payload, (
        SELECT first.seq FROM batchmeter.event AS first
        WHERE first.batch_id = v.batch_id AND first.account = v.account AND first.type = 'acreate_batch'
    ) FROM fence CROSS JOIN stored JOIN settled ON settled.pk = stored.batch_pk JOIN ending AS v USING (place) ORDER BY v.place
    RETURNING seq, id
), sent AS (
    INSERT INTO batchmeter.delivery (event_seq, logger, state, next_attempt_at)
    SELECT told.seq, wanted.logger, 'pending', %(now)s
    FROM told JOIN (settled JOIN ending AS v USING (place)) ON v.event_id = told.id CROSS JOIN LATERAL (
        SELECT json_array_elements_text(v.loggers::json) AS logger
        UNION
        SELECT d.logger FROM batchmeter.event AS e JOIN batchmeter.delivery AS d ON d.event_seq = e.seq
        WHERE e.batch_id = v.batch_id AND e.account = v.account
    ) AS wanted
)
SELECT place FROM told JOIN (settled JOIN ending AS v USING (place)) ON v.event_id = told.id;

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
