-- name: schema
-- Every table that holds records, column by column.
SELECT t.name AS table_name, c.name AS column_name, c.pk AS key_place, NULL AS sequence,
    (SELECT f."table" FROM pragma_foreign_key_list(t.name) AS f WHERE f."from" = c.name) AS refers_to
FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
WHERE t.type = 'table' AND t.name <> 'schema_version' AND substr(t.name, 1, 7) <> 'sqlite_'
ORDER BY t.name, c.cid;

-- name: size
SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size();

-- name: check_file
PRAGMA integrity_check(5);

-- name: due_batches
-- The most overdue of one account.
SELECT pk, account, next_poll_at FROM batch
WHERE account = :account AND next_poll_at <= :now
ORDER BY next_poll_at LIMIT :limit;

-- name: claim_batches
UPDATE batch SET next_poll_at = :now + :lease, lease_until = :now + :lease, lease_owner = :owner,
    lease_token = lease_token + 1, woken = 0
WHERE pk = :pk AND next_poll_at <= :now RETURNING *;

-- name: resume_numbers
-- SQLite's counters follow what is inserted.
SELECT 1 WHERE 0;

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

-- name: backfill_deliveries
-- Events from before this logger was enabled.
INSERT INTO delivery (event_seq, logger, state, next_attempt_at)
SELECT e.seq, :logger, 'pending', :now FROM event AS e
WHERE NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.event_seq = e.seq AND d.logger = :logger)
  AND e.recorded_at >= :since -- [since]
ORDER BY e.seq;


-- name: get_settlement
SELECT s.settlement, s.line_groups FROM settlement AS s JOIN batch AS b ON b.pk = s.batch_pk
WHERE b.batch_id = :batch_id
  AND b.account = :account -- [account]
ORDER BY b.pk DESC, s.revision DESC LIMIT 1;

-- name: add_event
INSERT INTO event (id, type, account, batch_id, revision, recorded_at, payload, digest, after_seq)
VALUES (:id, :type, :account, :batch_id, :revision, :now, :payload, :digest, (
    SELECT first.seq FROM event AS first
    WHERE first.batch_id = :batch_id AND first.account = :account AND first.type = 'acreate_batch'
      AND :type <> 'acreate_batch'
))
RETURNING seq, :place AS place;

-- name: lock_name
-- Here there is one writer.
SELECT 1 WHERE 0;

-- name: fence_events
-- Where writers are many, waits for those that have taken a seq and not yet committed. Here there is one writer.
SELECT 1 WHERE 0;

-- name: add_batch
-- Nothing is returned when it is known already.
INSERT INTO batch
    (account, batch_id, submission, submission_digest, snapshot, snapshot_digest, status, ended, recorded_at,
    next_poll_at, lease_token, intent_id, key_id, progress)
VALUES (:account, :batch_id, :submission, :submission_digest, :snapshot, :snapshot_digest, :status, :ended, :now,
    :next_poll_at, :token, :intent_id, :key_id, :progress)
ON CONFLICT DO NOTHING RETURNING *;

-- name: use_file
-- A batch reads it: it is no longer old. Not written anew for each of many.
UPDATE file SET used_at = :now
WHERE file_id = :file_id AND account = :account AND coalesce(used_at, recorded_at) < :now - :fresh;

-- name: lock_batches
SELECT * FROM batch WHERE account = :account AND batch_id = :batch_id;

-- name: observe_batches
-- A final snapshot that is news makes the batch due, or has its present holder look again.
UPDATE batch SET snapshot = :snapshot, snapshot_digest = :snapshot_digest, status = :status, ended = :ended,
    progress = max(progress, :progress),
    woken = CASE WHEN :news AND next_poll_at IS NOT NULL AND lease_until > :now THEN 1 ELSE woken END,
    next_poll_at = CASE
        WHEN :news AND next_poll_at IS NOT NULL AND (lease_until IS NULL OR lease_until <= :now)
        THEN min(next_poll_at, :now) ELSE next_poll_at END
WHERE pk = :pk RETURNING *;

-- name: lock_pruned_totals
-- SQLite has locked the whole file already.
SELECT 1 WHERE 0;
