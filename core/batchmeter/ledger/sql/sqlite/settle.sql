-- Settlements and events. A line ending in [name] is used only when that parameter is given.

-- name: settle_batch
-- The fence: nothing is returned when the lease was lost or the batch is settled.
UPDATE batch SET settled_at = :now, next_poll_at = NULL, lease_until = NULL, lease_owner = NULL,
    lease_token = lease_token + 1, woken = 0, last_error = NULL, error_count = 0,
    known_usd = :known_usd, unpriced_lines = :unpriced_lines,
    snapshot = CASE WHEN :ended < ended THEN snapshot ELSE :snapshot END,
    status = CASE WHEN :ended < ended THEN status ELSE :status END,
    ended = max(ended, :ended)
WHERE account = :account AND batch_id = :batch_id AND lease_token = :token AND next_poll_at IS NOT NULL RETURNING pk;

-- name: revise_batch
UPDATE batch SET known_usd = :known_usd, unpriced_lines = :unpriced_lines
WHERE pk = :pk;

-- name: settled_batch
SELECT pk FROM batch WHERE account = :account AND batch_id = :batch_id AND settled_at IS NOT NULL;

-- name: add_settlement
INSERT INTO settlement (batch_pk, revision, recorded_at, settlement, line_groups)
VALUES (:batch_pk, :revision, :now, :settlement, :groups)
ON CONFLICT DO NOTHING RETURNING batch_pk;

-- name: get_settlement
SELECT s.settlement, s.line_groups FROM settlement AS s JOIN batch AS b ON b.pk = s.batch_pk
WHERE b.batch_id = :batch_id
  AND b.account = :account -- [account]
ORDER BY b.pk DESC, s.revision DESC LIMIT 1;

-- name: list_settlements
-- In the order in which the batches were first settled, which a revision does not change.
SELECT s.settlement, s.line_groups FROM batch AS b JOIN settlement AS s ON s.batch_pk = b.pk
WHERE b.settled_at IS NOT NULL
  AND b.settled_at >= :since -- [since]
  AND (b.settled_at, b.pk) > (:after_time, :after_pk) -- [after_pk]
  AND s.revision = (SELECT max(r.revision) FROM settlement AS r WHERE r.batch_pk = b.pk)
ORDER BY b.settled_at, b.pk LIMIT :limit;

-- name: list_costs
-- Newest revision of each, with whose it was, in the order of list_settlements.
SELECT b.pk, b.settled_at, b.submission, s.settlement FROM batch AS b JOIN settlement AS s ON s.batch_pk = b.pk
WHERE b.settled_at IS NOT NULL
  AND b.key_id = :key -- [key]
  AND b.settled_at >= :since -- [since]
  AND b.settled_at < :until -- [until]
  AND (b.settled_at, b.pk) > (:after_time, :after_pk) -- [after_pk]
  AND s.revision = (SELECT max(r.revision) FROM settlement AS r WHERE r.batch_pk = b.pk)
ORDER BY b.settled_at, b.pk LIMIT :limit;

-- name: list_failed
-- By the index on settled_at, which since the last look holds little; the plus signs keep SQLite from others.
SELECT b.* FROM batch AS b
WHERE b.settled_at >= :since AND +b.account = :account AND +b.status = 'failed'
  AND (b.settled_at, b.pk) > (:after_time, :after_pk) -- [after_pk]
ORDER BY b.settled_at, b.pk LIMIT :limit;

-- name: add_event
INSERT INTO event (id, type, account, batch_id, revision, recorded_at, payload, after_seq)
VALUES (:id, :type, :account, :batch_id, :revision, :now, :payload, (
    SELECT first.seq FROM event AS first
    WHERE first.batch_id = :batch_id AND first.account = :account AND first.type = 'acreate_batch'
      AND :type <> 'acreate_batch'
))
RETURNING seq;

-- name: loggers_of_batch
SELECT DISTINCT d.logger FROM event AS e JOIN delivery AS d ON d.event_seq = e.seq
WHERE e.batch_id = :batch_id AND e.account = :account;

-- name: add_deliveries
INSERT INTO delivery (event_seq, logger, state, next_attempt_at)
SELECT :seq, value, 'pending', :now FROM json_each(:loggers);

-- name: fence_events
-- Where writers are many, waits for those that have taken a seq and not yet committed. Here there is one writer.
SELECT 1 WHERE 0;

-- name: list_events
SELECT seq, payload FROM event
WHERE seq > :after
  AND EXISTS (SELECT 1 FROM batch AS b WHERE b.batch_id = event.batch_id AND b.account = event.account AND b.key_id = :key) -- [key]
  AND batch_id = :batch_id -- [batch_id]
  AND recorded_at >= :since -- [since]
  AND type IN (SELECT value FROM json_each(:types)) -- [types]
ORDER BY seq LIMIT :limit;
