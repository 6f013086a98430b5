-- The proxy's keys and answers. A line ending in [name] is used only when that parameter is given.

-- name: add_key
INSERT INTO proxy_key (id, secret_sha256, details, created_at, expires_at)
VALUES (:id, :secret_sha256, :details, :now, :expires_at);

-- name: find_key
SELECT * FROM proxy_key WHERE secret_sha256 = :secret_sha256;

-- name: list_keys
SELECT * FROM proxy_key ORDER BY created_at, id;

-- name: any_key
SELECT 1 AS found FROM proxy_key LIMIT 1;

-- name: revoke_key
UPDATE proxy_key SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL;

-- name: use_key
-- Nothing is returned when it would be more than `most` in this period.
INSERT INTO key_use (key_id, what, period, used) VALUES (:key_id, :what, :period, :amount)
ON CONFLICT (key_id, what) DO UPDATE SET period = excluded.period,
    used = excluded.used + CASE WHEN key_use.period = excluded.period THEN key_use.used ELSE 0 END
WHERE excluded.used + CASE WHEN key_use.period = excluded.period THEN key_use.used ELSE 0 END <= :most
RETURNING used;

-- name: batches_of_key
SELECT * FROM batch
WHERE key_id = :key_id AND account = :account
  AND pk < :before -- [before]
ORDER BY pk DESC LIMIT :limit;

-- name: file_of_key
-- Where a page begins.
SELECT recorded_at FROM file
WHERE json_extract(attribution, '$.key') = :key_id AND account = :account AND file_id = :file_id;

-- name: files_of_key
SELECT file_id FROM file
WHERE json_extract(attribution, '$.key') = :key_id AND account = :account
  AND (recorded_at, file_id) < (:before, :file_id) -- [before]
ORDER BY recorded_at DESC, file_id DESC LIMIT :limit;

-- name: files_of_key_oldest_first
SELECT file_id FROM file
WHERE json_extract(attribution, '$.key') = :key_id AND account = :account
  AND (recorded_at, file_id) > (:before, :file_id) -- [before]
ORDER BY recorded_at, file_id LIMIT :limit;

-- name: open_batches_of_key
SELECT count(*) AS open FROM batch WHERE key_id = :key_id AND settled_at IS NULL;

-- name: reserve_answer
-- Nothing is returned when there is an answer, or somebody is making it.
INSERT INTO answer (scope, name, busy_until, recorded_at) VALUES (:scope, :name, :now + :lease, :now)
ON CONFLICT (scope, name) DO UPDATE SET busy_until = excluded.busy_until
WHERE answer.document IS NULL AND answer.busy_until <= :now
RETURNING scope;

-- name: return_key
UPDATE key_use SET used = max(used - :amount, 0) WHERE key_id = :key_id AND what = :what AND period = :period;

-- name: lock_key
-- Held until the transaction ends; SQLite has locked the whole file already.
SELECT 1 AS found FROM proxy_key WHERE id = :id;

-- name: count_busy
SELECT count(*) AS busy FROM answer WHERE scope = :scope AND document IS NULL AND busy_until > :now;

-- name: renew_answer
UPDATE answer SET busy_until = :now + :lease WHERE scope = :scope AND name = :name AND document IS NULL;

-- name: add_answer
-- Nothing is returned when there is one.
INSERT INTO answer (scope, name, document, busy_until, recorded_at) VALUES (:scope, :name, :document, 0, :now)
ON CONFLICT DO NOTHING RETURNING scope;

-- name: forget_answer
DELETE FROM answer WHERE scope = :scope AND name = :name;

-- name: get_answer
SELECT document FROM answer WHERE scope = :scope AND name = :name;

-- name: keep_answer
INSERT INTO answer (scope, name, document, busy_until, recorded_at) VALUES (:scope, :name, :document, 0, :now)
ON CONFLICT (scope, name) DO UPDATE SET document = excluded.document;

-- name: drop_answer
DELETE FROM answer WHERE scope = :scope AND name = :name AND document IS NULL;

-- name: prune_answers
DELETE FROM answer WHERE recorded_at < :before;
