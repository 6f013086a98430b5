-- The proxy's keys and answers. A line ending in [name] is used only when that parameter is given.

-- name: add_key
INSERT INTO batchmeter.proxy_key (id, secret_sha256, details, created_at, expires_at)
VALUES (%(id)s, %(secret_sha256)s, %(details)s, %(now)s, %(expires_at)s);

-- name: find_key
SELECT * FROM batchmeter.proxy_key WHERE secret_sha256 = %(secret_sha256)s;

-- name: list_keys
SELECT * FROM batchmeter.proxy_key ORDER BY created_at, id;

-- name: any_key
SELECT 1 AS found FROM batchmeter.proxy_key LIMIT 1;

-- name: revoke_key
UPDATE batchmeter.proxy_key SET revoked_at = %(now)s WHERE id = %(id)s AND revoked_at IS NULL;

-- name: use_key
-- Nothing is returned when it would be more than `most` in this period.
INSERT INTO batchmeter.key_use (key_id, what, period, used) VALUES (%(key_id)s, %(what)s, %(period)s, %(amount)s)
ON CONFLICT (key_id, what) DO UPDATE SET period = excluded.period,
    used = excluded.used + CASE WHEN key_use.period = excluded.period THEN key_use.used ELSE 0 END
WHERE excluded.used + CASE WHEN key_use.period = excluded.period THEN key_use.used ELSE 0 END <= %(most)s
RETURNING used;

-- name: batches_of_key
SELECT * FROM batchmeter.batch
WHERE key_id = %(key_id)s AND account = %(account)s
  AND pk < %(before)s -- [before]
ORDER BY pk DESC LIMIT %(limit)s;

-- name: file_of_key
-- Where a page begins.
SELECT recorded_at FROM batchmeter.file
WHERE batchmeter.key_of(attribution) = %(key_id)s AND account = %(account)s AND file_id = %(file_id)s;

-- name: files_of_key
SELECT file_id FROM batchmeter.file
WHERE batchmeter.key_of(attribution) = %(key_id)s AND account = %(account)s
  AND (recorded_at, file_id) < (%(before)s, %(file_id)s) -- [before]
ORDER BY recorded_at DESC, file_id DESC LIMIT %(limit)s;

-- name: files_of_key_oldest_first
SELECT file_id FROM batchmeter.file
WHERE batchmeter.key_of(attribution) = %(key_id)s AND account = %(account)s
  AND (recorded_at, file_id) > (%(before)s, %(file_id)s) -- [before]
ORDER BY recorded_at, file_id LIMIT %(limit)s;

-- name: open_batches_of_key
SELECT count(*) AS open FROM batchmeter.batch WHERE key_id = %(key_id)s AND settled_at IS NULL;

-- name: reserve_answer
-- Nothing is returned when there is an answer, or somebody is making it.
INSERT INTO batchmeter.answer (scope, name, busy_until, recorded_at) VALUES (%(scope)s, %(name)s, %(now)s + %(lease)s, %(now)s)
ON CONFLICT (scope, name) DO UPDATE SET busy_until = excluded.busy_until
WHERE answer.document IS NULL AND answer.busy_until <= %(now)s
RETURNING scope;

-- name: return_key
UPDATE batchmeter.key_use SET used = greatest(used - %(amount)s::bigint, 0) WHERE key_id = %(key_id)s AND what = %(what)s AND period = %(period)s;

-- name: lock_key
-- Held until the transaction ends.
SELECT 1 AS found FROM batchmeter.proxy_key WHERE id = %(id)s FOR UPDATE;

-- name: count_busy
SELECT count(*) AS busy FROM batchmeter.answer WHERE scope = %(scope)s AND document IS NULL AND busy_until > %(now)s;

-- name: renew_answer
UPDATE batchmeter.answer SET busy_until = %(now)s::bigint + %(lease)s::bigint WHERE scope = %(scope)s AND name = %(name)s AND document IS NULL;

-- name: add_answer
-- Nothing is returned when there is one.
INSERT INTO batchmeter.answer (scope, name, document, busy_until, recorded_at) VALUES (%(scope)s, %(name)s, %(document)s, 0, %(now)s)
ON CONFLICT DO NOTHING RETURNING scope;

-- name: forget_answer
DELETE FROM batchmeter.answer WHERE scope = %(scope)s AND name = %(name)s;

-- name: get_answer
SELECT document FROM batchmeter.answer WHERE scope = %(scope)s AND name = %(name)s;

-- name: keep_answer
INSERT INTO batchmeter.answer (scope, name, document, busy_until, recorded_at) VALUES (%(scope)s, %(name)s, %(document)s, 0, %(now)s)
ON CONFLICT (scope, name) DO UPDATE SET document = excluded.document;

-- name: drop_answer
DELETE FROM batchmeter.answer WHERE scope = %(scope)s AND name = %(name)s AND document IS NULL;

-- name: prune_answers
DELETE FROM batchmeter.answer WHERE recorded_at < %(before)s;
