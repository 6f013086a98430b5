-- name: add_key
INSERT INTO batchmeter.proxy_key (id, secret_sha256, details, created_at, expires_at)
VALUES (%(id)s, %(secret_sha256)s, %(details)s, %(now)s, %(expires_at)s);

-- name: find_key
SELECT * FROM batchmeter.proxy_key WHERE secret_sha256 = %(secret_sha256)s;

-- name: get_key
SELECT * FROM batchmeter.proxy_key WHERE id = %(id)s;

-- name: list_keys
SELECT * FROM batchmeter.proxy_key ORDER BY created_at, id;

-- name: any_key
SELECT 1 AS found FROM batchmeter.proxy_key LIMIT 1;

-- name: revoke_key
UPDATE batchmeter.proxy_key SET revoked_at = %(now)s WHERE id = %(id)s AND revoked_at IS NULL;

-- name: lock_key
-- Held until the transaction ends.
SELECT 1 AS found FROM batchmeter.proxy_key WHERE id = %(id)s FOR UPDATE;

-- name: use_key
-- Nothing is returned when it would be more than `most` in this period.
INSERT INTO batchmeter.proxy_use (key_id, what, period, used) VALUES (%(key_id)s, %(what)s, %(period)s, %(amount)s)
ON CONFLICT (key_id, what) DO UPDATE SET period = excluded.period,
    used = excluded.used + CASE WHEN proxy_use.period = excluded.period THEN proxy_use.used ELSE 0 END
WHERE excluded.used + CASE WHEN proxy_use.period = excluded.period THEN proxy_use.used ELSE 0 END <= %(most)s
RETURNING used;

-- name: return_key
UPDATE batchmeter.proxy_use SET used = greatest(used - %(amount)s::bigint, 0)
WHERE key_id = %(key_id)s AND what = %(what)s AND period = %(period)s;

-- name: note_counted
-- Nothing is returned when it is counted already.
INSERT INTO batchmeter.proxy_counted (scope, name, recorded_at) VALUES (%(scope)s, %(name)s, %(now)s)
ON CONFLICT DO NOTHING RETURNING scope;

-- name: forget_counted
DELETE FROM batchmeter.proxy_counted WHERE scope = %(scope)s AND name = %(name)s;

-- name: forget_earlier
DELETE FROM batchmeter.proxy_counted WHERE scope = %(scope)s AND recorded_at < %(before)s;

-- name: places_taken
SELECT count(*) AS taken FROM batchmeter.proxy_place
WHERE key_id = %(key_id)s AND busy_until > %(now)s AND busy_until <= %(now)s + %(horizon)s;

-- name: take_place
INSERT INTO batchmeter.proxy_place (key_id, name, busy_until) VALUES (%(key_id)s, %(name)s, %(now)s::bigint + %(lease)s::bigint);

-- name: renew_place
UPDATE batchmeter.proxy_place SET busy_until = %(now)s::bigint + %(lease)s::bigint WHERE key_id = %(key_id)s AND name = %(name)s;

-- name: leave_place
DELETE FROM batchmeter.proxy_place WHERE key_id = %(key_id)s AND name = %(name)s;

-- name: forget_places
-- Of processes that died.
DELETE FROM batchmeter.proxy_place WHERE key_id = %(key_id)s AND busy_until <= %(now)s;

-- name: see_key
INSERT INTO batchmeter.proxy_seen (key_id, at) VALUES (%(key_id)s, %(now)s)
ON CONFLICT (key_id) DO UPDATE SET at = greatest(proxy_seen.at, excluded.at);

-- name: list_seen
SELECT key_id, at FROM batchmeter.proxy_seen;

-- name: list_uses
SELECT key_id, what, period, used FROM batchmeter.proxy_use;
