-- Intents, batches as they are recorded and seen, files. A line ending in [name] is used only when that parameter is given.

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
UPDATE intent SET state = 'created', batch_id = :batch_id, reason = NULL
WHERE id = :id AND state <> 'created'
  AND state = 'open' -- [if_open]

-- name: free_key
-- A closed intent that turns out to have made a batch must not take back a key that is used again by now.
UPDATE intent SET idempotency_key = NULL
WHERE id = :id AND state = 'closed' AND EXISTS (
    SELECT 1 FROM intent AS other
    WHERE other.account = intent.account AND other.idempotency_key = intent.idempotency_key AND other.state <> 'closed'
);

-- name: open_intents
-- The oldest of each account: none waits behind another's.
SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY account ORDER BY created_at) AS place FROM intent
    WHERE state = 'open' AND created_at < :before
      AND account = :account -- [account]
) AS numbered
WHERE place <= :limit ORDER BY created_at;

-- name: add_batch
-- Nothing is returned when it is known already.
INSERT INTO batch
    (account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at, intent_id, key_id)
VALUES (:account, :batch_id, :submission, :snapshot, :status, :ended, :now, :next_poll_at, :intent_id,
    :key_id)
ON CONFLICT DO NOTHING RETURNING *;

-- name: link_intent
-- A batch that a sweep found before its creator recorded it.
UPDATE batch SET intent_id = :intent_id WHERE account = :account AND batch_id = :batch_id AND intent_id IS NULL;

-- name: get_batch
SELECT * FROM batch
WHERE batch_id = :batch_id
  AND account = :account -- [account]
ORDER BY pk DESC LIMIT 1;

-- name: batches_of_id
SELECT * FROM batch WHERE batch_id = :batch_id ORDER BY pk DESC;

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

-- name: put_file
INSERT INTO file (file_id, account, snapshot, attribution, recorded_at, lines)
VALUES (:file_id, :account, :snapshot, :attribution, :now, :lines)
ON CONFLICT DO UPDATE SET snapshot = coalesce(excluded.snapshot, snapshot),
    attribution = coalesce(attribution, excluded.attribution), lines = coalesce(lines, excluded.lines);

-- name: use_file
-- A batch reads it: it is no longer old. Not written anew for each of many.
UPDATE file SET used_at = :now
WHERE file_id = :file_id AND account = :account AND coalesce(used_at, recorded_at) < :now - :fresh;

-- name: account_of
-- The newest, where accounts share a provider account.
SELECT account FROM (
    SELECT account, recorded_at FROM batch WHERE batch_id = :id
    UNION ALL
    SELECT account, recorded_at FROM file WHERE file_id = :id
) ORDER BY recorded_at DESC LIMIT 1;

-- name: file_owner
SELECT account, attribution, lines FROM file
WHERE file_id = :file_id
  AND account = :account -- [account]
ORDER BY recorded_at DESC LIMIT 1;

-- name: owners_of
-- Batches last, and the newest of those that accounts share.
SELECT * FROM (
    SELECT file_id AS id, account, NULL AS submission, attribution, lines, 0 AS kind, recorded_at AS age FROM file
    WHERE file_id IN (SELECT value FROM json_each(:ids))
      AND account = :account -- [account]
    UNION ALL
    SELECT batch_id, account, submission, NULL, NULL, 1, pk FROM batch
    WHERE batch_id IN (SELECT value FROM json_each(:ids))
      AND account = :account -- [account]
) ORDER BY kind, age;

-- name: forget_file
DELETE FROM file WHERE file_id = :file_id AND account = :account;
