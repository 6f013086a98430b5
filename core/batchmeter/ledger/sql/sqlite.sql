-- Every statement of the SQLite ledger. A line ending in [name] is used only when that parameter is given.

-- name: add_intent
-- Nothing is returned when the id or the idempotency key is taken.
INSERT INTO intent (id, account, idempotency_key, submission, created_at, state)
VALUES (:id, :account, :key, :submission, :created_at, 'open')
ON CONFLICT DO NOTHING RETURNING *;

-- name: find_intent
-- The one that made add_intent give way.
SELECT * FROM intent
WHERE id = :id OR (account = :account AND idempotency_key = :key AND state <> 'closed')
ORDER BY id = :id LIMIT 1;

-- name: get_intent
SELECT * FROM intent WHERE id = :id;

-- name: close_intent
UPDATE intent SET state = 'closed', reason = :reason WHERE id = :id AND state = 'open';

-- name: use_intent
-- The create is known to have happened.
UPDATE intent SET state = 'created', batch_id = :batch_id, reason = NULL WHERE id = :id AND state <> 'created';

-- name: free_key
-- A closed intent that turns out to have made a batch must not take back a key that is used again by now.
UPDATE intent SET idempotency_key = NULL
WHERE id = :id AND state = 'closed' AND EXISTS (
    SELECT 1 FROM intent AS other
    WHERE other.account = intent.account AND other.idempotency_key = intent.idempotency_key AND other.state <> 'closed'
);

-- name: open_intents
SELECT * FROM intent WHERE state = 'open' AND created_at < :before ORDER BY created_at LIMIT :limit;

-- name: add_batch
-- Nothing is returned when it is known already.
INSERT INTO batch (account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at, intent_id)
VALUES (:account, :batch_id, :submission, :snapshot, :status, :ended, :now, :next_poll_at, :intent_id)
ON CONFLICT DO NOTHING RETURNING *;

-- name: link_intent
-- A batch that a sweep found before its creator recorded it.
UPDATE batch SET intent_id = :intent_id WHERE account = :account AND batch_id = :batch_id AND intent_id IS NULL;

-- name: get_batch
SELECT * FROM batch
WHERE batch_id = :batch_id
  AND account = :account -- [account]
ORDER BY pk DESC LIMIT 1;

-- name: lock_batch
-- Held until the transaction ends; SQLite has locked the whole file already.
SELECT * FROM batch WHERE account = :account AND batch_id = :batch_id;

-- name: observe_batch
-- A final snapshot that is news makes the batch due, or has its present holder look again.
UPDATE batch SET snapshot = :snapshot, status = :status, ended = :ended,
    woken = CASE WHEN :news AND next_poll_at IS NOT NULL AND lease_until > :now THEN 1 ELSE woken END,
    next_poll_at = CASE WHEN :news AND next_poll_at IS NOT NULL AND (lease_until IS NULL OR lease_until <= :now)
        THEN min(next_poll_at, :now) ELSE next_poll_at END
WHERE pk = :pk RETURNING *;

-- name: wake_batch
UPDATE batch SET
    woken = CASE WHEN lease_until > :now THEN 1 ELSE woken END,
    next_poll_at = CASE WHEN lease_until > :now THEN next_poll_at ELSE min(next_poll_at, :now) END
WHERE account = :account AND batch_id = :batch_id AND next_poll_at IS NOT NULL;

-- name: list_batches
SELECT * FROM batch
WHERE 1
  AND account = :account -- [account]
  AND next_poll_at IS NULL -- [settled]
  AND next_poll_at IS NOT NULL -- [unsettled]
  AND status IN (SELECT value FROM json_each(:statuses)) -- [statuses]
  AND pk < :before -- [before]
ORDER BY pk DESC LIMIT :limit;

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
SELECT pk, next_poll_at FROM batch
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
  AND (lease_until IS NULL OR lease_until <= :now) RETURNING *;

-- name: renew_claim
UPDATE batch SET next_poll_at = :now + :lease, lease_until = :now + :lease
WHERE account = :account AND batch_id = :batch_id AND lease_token = :token AND next_poll_at IS NOT NULL RETURNING *;

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

-- name: next_due
SELECT min(next_poll_at) AS due FROM batch WHERE account = :account AND next_poll_at IS NOT NULL;

-- name: settle_batch
-- The fence: nothing is returned when the lease was lost or the batch is settled.
UPDATE batch SET settled_at = :now, next_poll_at = NULL, lease_until = NULL, lease_owner = NULL,
    lease_token = lease_token + 1, woken = 0, last_error = NULL, error_count = 0,
    snapshot = CASE WHEN :ended < ended THEN snapshot ELSE :snapshot END,
    status = CASE WHEN :ended < ended THEN status ELSE :status END,
    ended = max(ended, :ended)
WHERE account = :account AND batch_id = :batch_id AND lease_token = :token AND next_poll_at IS NOT NULL RETURNING pk;

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
INSERT INTO delivery (event_seq, logger, state, next_attempt_at) VALUES (:seq, :logger, 'pending', :now);

-- name: fence_events
-- Where writers are many, waits for those that have taken a seq and not yet committed. Here there is one writer.
SELECT 1 WHERE 0;

-- name: list_events
SELECT seq, payload FROM event
WHERE seq > :after
  AND batch_id = :batch_id -- [batch_id]
  AND recorded_at >= :since -- [since]
  AND type IN (SELECT value FROM json_each(:types)) -- [types]
ORDER BY seq LIMIT :limit;

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

-- name: put_file
INSERT INTO file (file_id, account, snapshot, attribution, recorded_at)
VALUES (:file_id, :account, :snapshot, :attribution, :now)
ON CONFLICT DO UPDATE SET snapshot = coalesce(excluded.snapshot, snapshot),
    attribution = coalesce(attribution, excluded.attribution);

-- name: account_of
-- The newest, where accounts share a provider account.
SELECT account FROM (
    SELECT account, recorded_at FROM batch WHERE batch_id = :id
    UNION ALL
    SELECT account, recorded_at FROM file WHERE file_id = :id
) ORDER BY recorded_at DESC LIMIT 1;

-- name: file_owner
SELECT account, attribution FROM file
WHERE file_id = :file_id
  AND account = :account -- [account]
ORDER BY recorded_at DESC LIMIT 1;

-- name: forget_file
DELETE FROM file WHERE file_id = :file_id AND account = :account;

-- name: count_batches
SELECT account, status, count(*) AS batches, sum(next_poll_at IS NOT NULL) AS open,
    sum(coalesce(next_poll_at <= :now AND (lease_until IS NULL OR lease_until <= :now), 0)) AS overdue
FROM batch GROUP BY account, status ORDER BY account, status;

-- name: count_events
SELECT type, count(*) AS events FROM event GROUP BY type ORDER BY type;

-- name: count_intents
SELECT count(*) AS open FROM intent WHERE state = 'open';

-- name: schema_version
SELECT max(version) AS version FROM schema_version;

-- name: prunable
-- Settled long ago, and no logger still waits for any of its events.
SELECT b.pk, b.account, b.batch_id, b.intent_id FROM batch AS b
WHERE b.settled_at < :before AND NOT EXISTS (
    SELECT 1 FROM event AS e JOIN delivery AS d ON d.event_seq = e.seq
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND d.state = 'pending'
)
ORDER BY b.settled_at LIMIT :limit;

-- name: prune_events
DELETE FROM event WHERE batch_id = :batch_id AND account = :account;

-- name: prune_intents
DELETE FROM intent WHERE id = :intent_id;

-- name: prune_batches
DELETE FROM batch WHERE pk = :pk;

-- name: prune_closed_intents
DELETE FROM intent WHERE state = 'closed' AND created_at < :before;
