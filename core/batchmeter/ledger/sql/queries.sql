-- name: list_endings
SELECT e.seq, e.account, e.batch_id, e.payload, s.settlement FROM batchmeter.event AS e
JOIN batchmeter.batch AS b ON b.batch_id = e.batch_id AND b.account = e.account
JOIN batchmeter.settlement AS s ON s.batch_pk = b.pk AND s.revision = e.revision
WHERE e.seq > %(after)s AND e.type IN ('batch_success', 'batch_failure') ORDER BY e.seq LIMIT %(limit)s;

-- name: progress
SELECT (SELECT max(seq) FROM batchmeter.event) AS events, (SELECT sum(lease_token + poll_count) FROM batchmeter.batch) AS looks,
    (SELECT sum(token) FROM batchmeter.delivery) AS deliveries;

-- name: check_beginnings
-- Batches without their acreate_batch.
SELECT count(*) AS wrong FROM batchmeter.batch AS b WHERE NOT EXISTS (
    SELECT 1 FROM batchmeter.event AS e
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.type = 'acreate_batch'
);

-- name: check_endings
-- Settled batches without an ending event.
SELECT count(*) AS wrong FROM batchmeter.batch AS b WHERE b.settled_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM batchmeter.event AS e
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.type IN ('batch_success', 'batch_failure')
);

-- name: check_early_endings
-- Endings of batches that are still followed.
SELECT count(*) AS wrong FROM batchmeter.batch AS b WHERE b.next_poll_at IS NOT NULL AND EXISTS (
    SELECT 1 FROM batchmeter.event AS e
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.type IN ('batch_success', 'batch_failure')
);

-- name: check_repeats
-- Events of one batch, revision and kind (beginning or ending) beyond the first. Plugins' own events may be any number.
SELECT coalesce(sum(copies - 1), 0)::bigint AS wrong FROM (
    SELECT count(*) AS copies FROM batchmeter.event WHERE type IN ('acreate_batch', 'batch_success', 'batch_failure')
    GROUP BY account, batch_id, revision, type = 'acreate_batch'
) AS counted WHERE copies > 1;

-- name: check_settlements
-- Settled batches whose settlement is missing.
SELECT count(*) AS wrong FROM batchmeter.batch AS b WHERE b.settled_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM batchmeter.settlement AS s WHERE s.batch_pk = b.pk
);

-- name: check_abandoned
-- Neither settled nor followed.
SELECT count(*) AS wrong FROM batchmeter.batch WHERE settled_at IS NULL AND next_poll_at IS NULL;

-- name: check_leases
-- Leases that no index will ever find again: they end after the batch is due.
SELECT count(*) AS wrong FROM batchmeter.batch WHERE lease_until > next_poll_at;

-- name: check_looks
-- No wait of the tracker is so long: a clock jumped, or an older batchmeter believed a far Retry-After.
SELECT count(*) AS wrong FROM batchmeter.batch WHERE next_poll_at > %(now)s + 604800000;

-- name: add_late_look
INSERT INTO batchmeter.late_look (account, batch_id, settled_at, looks, next_look_at)
VALUES (%(account)s, %(batch_id)s, %(now)s, 0, %(look_again_at)s)
ON CONFLICT (account, batch_id) DO UPDATE SET settled_at = excluded.settled_at, looks = 0, next_look_at = excluded.next_look_at;

-- name: due_late_looks
SELECT account, batch_id, next_look_at FROM batchmeter.late_look
WHERE account = ANY(%(accounts)s::text[]) AND (next_look_at <= %(now)s OR next_look_at > %(now)s + %(horizon)s)
ORDER BY next_look_at LIMIT %(limit)s;

-- name: claim_late_look
-- Nothing is returned when another worker was faster.
UPDATE batchmeter.late_look SET next_look_at = %(now)s + %(lease)s
WHERE account = %(account)s AND batch_id = %(batch_id)s AND next_look_at = %(next_look_at)s
RETURNING account, batch_id, settled_at, looks;

-- name: plan_late_look
UPDATE batchmeter.late_look SET settled_at = %(settled_at)s, looks = %(looks)s + 1, next_look_at = %(next_look_at)s
WHERE account = %(account)s AND batch_id = %(batch_id)s AND looks = %(looks)s;

-- name: forget_late_look
DELETE FROM batchmeter.late_look WHERE account = %(account)s AND batch_id = %(batch_id)s;

-- name: open_by_account
SELECT account, count(*) AS open, count(*) FILTER (WHERE lease_until > %(now)s) AS leased,
    count(*) FILTER (WHERE next_poll_at <= %(now)s AND (lease_until IS NULL OR lease_until <= %(now)s)) AS overdue,
    count(*) FILTER (WHERE error_count > 0) AS failing, min(recorded_at) AS oldest_at
FROM batchmeter.batch WHERE next_poll_at IS NOT NULL GROUP BY account ORDER BY account;

-- name: open_accounts
-- Accounts with an unsettled batch, by skipping along the index.
WITH RECURSIVE found (account) AS (
    SELECT min(account) FROM batchmeter.batch WHERE next_poll_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(b.account) FROM batchmeter.batch AS b WHERE b.account > found.account AND b.next_poll_at IS NOT NULL)
    FROM found WHERE found.account IS NOT NULL
)
SELECT account FROM found WHERE account IS NOT NULL;

-- name: claim_batch
UPDATE batchmeter.batch SET next_poll_at = %(now)s + %(lease)s, lease_until = %(now)s + %(lease)s, lease_owner = %(owner)s,
    lease_token = lease_token + 1, woken = 0
WHERE account = %(account)s AND batch_id = %(batch_id)s AND next_poll_at IS NOT NULL
  AND poll_count = %(polled)s -- [polled]
  AND (lease_until IS NULL OR lease_until <= %(now)s OR lease_until > %(now)s + %(horizon)s) RETURNING *;

-- name: release_claims
-- The token moves on, so the same claim cannot be used twice. A hint that came meanwhile beats the new time.
UPDATE batchmeter.batch SET
    next_poll_at = CASE WHEN woken = 1 THEN least(%(now)s::bigint, %(next_poll_at)s::bigint) ELSE %(next_poll_at)s::bigint END,
    lease_until = NULL, lease_owner = NULL, lease_token = lease_token + 1, woken = 0,
    poll_count = poll_count + 1, last_polled_at = %(now)s::bigint, last_error = %(error)s,
    attempts = %(attempts)s::text,
    error_count = CASE WHEN %(error)s::text IS NULL THEN 0 ELSE error_count + 1 END,
    snapshot = CASE WHEN %(ended)s::smallint < ended OR %(snapshot)s::text IS NULL THEN snapshot ELSE %(snapshot)s END,
    snapshot_digest = CASE WHEN %(ended)s::smallint < ended OR %(snapshot)s::text IS NULL THEN snapshot_digest ELSE %(snapshot_digest)s END,
    status = CASE WHEN %(ended)s::smallint < ended OR %(snapshot)s::text IS NULL THEN status ELSE %(status)s END,
    ended = greatest(ended, %(ended)s::smallint), progress = greatest(progress, %(progress)s::bigint)
WHERE account = %(account)s AND batch_id = %(batch_id)s AND lease_token = %(token)s AND next_poll_at IS NOT NULL RETURNING pk;

-- name: renew_claims
UPDATE batchmeter.batch SET next_poll_at = %(now)s + %(lease)s, lease_until = %(now)s + %(lease)s
WHERE account = %(account)s AND batch_id = %(batch_id)s AND lease_token = %(token)s AND next_poll_at IS NOT NULL
RETURNING account, batch_id, lease_token, lease_until;

-- name: put_off
-- Seen open in a list, due or not. What has become due since the list was asked for stays so: a hint may have come.
UPDATE batchmeter.batch SET next_poll_at = %(next_poll_at)s, last_polled_at = %(now)s::bigint
WHERE account = %(account)s AND batch_id = %(batch_id)s AND (next_poll_at > %(now)s::bigint OR next_poll_at < %(asked)s)
  AND next_poll_at < %(next_poll_at)s AND ended = 0 AND woken = 0 AND lease_until IS NULL
RETURNING pk;

-- name: correct_batches
-- Planned or leased so far ahead that another clock must have done it. Whoever holds one has lost it.
UPDATE batchmeter.batch SET next_poll_at = %(now)s, lease_until = NULL, lease_owner = NULL, lease_token = lease_token + 1
WHERE account = ANY(%(accounts)s::text[]) AND next_poll_at > %(now)s + %(horizon)s;

-- name: correct_deliveries
UPDATE batchmeter.delivery SET next_attempt_at = %(now)s, token = token + 1, lease_owner = NULL
WHERE logger = ANY(%(loggers)s::text[]) AND state = 'pending' AND next_attempt_at > %(now)s + %(horizon)s;

-- name: next_due
SELECT min(next_poll_at) AS due FROM batchmeter.batch WHERE account = %(account)s AND next_poll_at IS NOT NULL;

-- name: add_deliveries
-- To every live subscription that handles the kind; to a program's callbacks only where they are named.
INSERT INTO batchmeter.delivery (event_seq, logger, state, next_attempt_at)
SELECT %(seq)s::bigint, s.name, 'pending', %(now)s::bigint FROM batchmeter.subscription AS s
WHERE s.ended_at IS NULL AND (s.kinds = '*' OR strpos(s.kinds, ',' || %(type)s::text || ',') > 0)
  AND (s.scoped = 0 OR s.name = ANY(%(callbacks)s::text[]));

-- name: plugin_schemas
SELECT plugin, version, statements FROM batchmeter.plugin_schema ORDER BY plugin, version;

-- name: add_plugin_schema
-- Nothing is returned when it is there, or somebody was faster.
INSERT INTO batchmeter.plugin_schema (plugin, version, statements, applied_at)
VALUES (%(plugin)s, %(version)s, %(statements)s, %(now)s) ON CONFLICT DO NOTHING RETURNING version;

-- name: has_event
SELECT seq FROM batchmeter.event WHERE id = %(id)s;

-- name: list_subscriptions
SELECT * FROM batchmeter.subscription ORDER BY name;

-- name: subscribe
-- One that was ended begins anew.
INSERT INTO batchmeter.subscription AS known (name, kinds, scoped, since, last_seen)
VALUES (%(name)s, %(kinds)s, %(scoped)s, %(now)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET kinds = excluded.kinds, scoped = excluded.scoped, last_seen = excluded.last_seen,
    since = CASE WHEN known.ended_at IS NULL THEN known.since ELSE excluded.since END, ended_at = NULL, problem = NULL;

-- name: subscribe_broken
-- Owed events until it is mended; what it handles is not known, unless it was seen before. One that was ended stays so.
INSERT INTO batchmeter.subscription AS known (name, kinds, scoped, since, problem)
VALUES (%(name)s, %(kinds)s, 0, %(now)s, %(problem)s)
ON CONFLICT (name) DO UPDATE SET problem = excluded.problem WHERE known.ended_at IS NULL;

-- name: touch_subscription
UPDATE batchmeter.subscription SET last_seen = %(now)s, problem = NULL WHERE name = %(name)s AND ended_at IS NULL;

-- name: end_subscription
INSERT INTO batchmeter.subscription AS known (name, kinds, scoped, since, ended_at)
VALUES (%(name)s, %(kinds)s, 0, %(now)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET ended_at = excluded.ended_at WHERE known.ended_at IS NULL;

-- name: owed_to
SELECT pending.owed, (SELECT e.recorded_at FROM batchmeter.event AS e WHERE e.seq = pending.first_seq) AS oldest_owed_at,
    (SELECT count(*) FROM batchmeter.delivery WHERE logger = %(logger)s AND state = 'dead') AS dead
FROM (
    SELECT count(*) AS owed, min(event_seq) AS first_seq FROM batchmeter.delivery
    WHERE logger = %(logger)s AND state = 'pending'
) AS pending;

-- name: loggers_owed
-- Loggers with pending deliveries, by skipping along the index.
WITH RECURSIVE found (logger) AS (
    SELECT min(logger) FROM batchmeter.delivery WHERE state = 'pending'
    UNION ALL
    SELECT (SELECT min(d.logger) FROM batchmeter.delivery AS d WHERE d.logger > found.logger AND d.state = 'pending')
    FROM found WHERE found.logger IS NOT NULL
)
SELECT logger FROM found WHERE logger IS NOT NULL;

-- name: list_deliveries
SELECT d.*, e.seq, e.payload FROM batchmeter.delivery AS d JOIN batchmeter.event AS e ON e.seq = d.event_seq
WHERE true
  AND d.logger = %(logger)s -- [logger]
  AND d.state = %(state)s -- [state]
ORDER BY d.event_seq, d.logger LIMIT %(limit)s;

-- name: newest_deliveries
SELECT state, delivered_at, last_error FROM batchmeter.delivery WHERE logger = %(logger)s
ORDER BY event_seq DESC LIMIT %(limit)s;

-- name: count_delivered
SELECT count(*) AS delivered FROM (
    SELECT 1 FROM batchmeter.delivery WHERE logger = %(logger)s AND state = 'delivered' LIMIT %(limit)s
) AS some;

-- name: workers
-- Workers that hold a batch at this moment.
SELECT DISTINCT lease_owner AS worker FROM batchmeter.batch
WHERE next_poll_at IS NOT NULL AND lease_until > %(now)s AND lease_owner IS NOT NULL ORDER BY worker;

-- name: reopen_deliveries
UPDATE batchmeter.delivery SET state = 'pending', attempts = 0, token = token + 1, next_attempt_at = %(now)s, delivered_at = NULL
WHERE logger = %(logger)s
  AND state = 'dead' -- [dead_only]
  AND state <> 'pending' -- [every]
  AND event_seq IN (SELECT seq FROM batchmeter.event WHERE recorded_at >= %(since)s); -- [since]

-- name: abandon_deliveries
-- A worker that is at one of them has lost it.
UPDATE batchmeter.delivery SET state = 'dead', token = token + 1, lease_owner = NULL, next_attempt_at = NULL, last_error = %(reason)s
WHERE logger = %(logger)s AND state = 'pending';

-- name: gauges
SELECT d.logger,
    count(*) FILTER (WHERE d.state = 'pending') AS pending, count(*) FILTER (WHERE d.state = 'dead') AS dead,
    count(*) FILTER (WHERE d.state = 'delivered') AS delivered,
    min(e.recorded_at) AS oldest_pending_at
FROM batchmeter.delivery AS d LEFT JOIN batchmeter.event AS e ON e.seq = d.event_seq AND d.state = 'pending'
GROUP BY d.logger ORDER BY d.logger;

-- name: finish_deliveries
-- The token moves on, so the same attempt cannot end twice.
UPDATE batchmeter.delivery SET state = %(state)s::text, attempts = attempts + 1, token = token + 1, lease_owner = NULL,
    last_error = %(error)s,
    next_attempt_at = CASE WHEN %(state)s::text = 'pending' THEN coalesce(%(next_attempt_at)s::bigint, %(now)s::bigint) END,
    delivered_at = CASE WHEN %(state)s::text = 'delivered' THEN %(now)s::bigint END
WHERE event_seq = %(event_seq)s AND logger = %(logger)s AND token = %(token)s AND state = 'pending' RETURNING event_seq;

-- name: get_deliveries
SELECT d.*, e.seq, e.payload FROM batchmeter.delivery AS d JOIN batchmeter.event AS e ON e.seq = d.event_seq
WHERE d.event_seq = %(event_seq)s AND d.logger = %(logger)s;

-- name: next_delivery
-- One logger's; a delivery held back behind an acreate_batch has no time of its own.
SELECT d.next_attempt_at AS due FROM batchmeter.delivery AS d JOIN batchmeter.event AS e ON e.seq = d.event_seq
WHERE d.logger = %(logger)s AND d.state = 'pending' AND NOT EXISTS (
    SELECT 1 FROM batchmeter.delivery AS first
    WHERE first.event_seq = e.after_seq AND first.logger = %(logger)s AND first.state = 'pending'
)
ORDER BY d.next_attempt_at LIMIT 1;

-- name: batches_of_key
SELECT * FROM batchmeter.batch
WHERE key_id = %(key_id)s AND account = %(account)s
  AND pk < %(before)s -- [before]
ORDER BY pk DESC LIMIT %(limit)s;

-- name: costliest_batches
-- The costliest first, by the known part of their cost.
SELECT * FROM batchmeter.batch
WHERE known_usd IS NOT NULL
  AND account = ANY(%(accounts)s::text[]) -- [accounts]
  AND key_id = %(key)s -- [key]
  AND status = ANY(%(statuses)s::text[]) -- [statuses]
  AND next_poll_at IS NULL -- [settled]
  AND next_poll_at IS NOT NULL -- [unsettled]
  AND unpriced_lines > 0 -- [unknown]
  AND (known_usd < %(usd)s OR (known_usd = %(usd)s AND pk < %(before)s)) -- [before]
ORDER BY known_usd DESC, pk DESC LIMIT %(limit)s;

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
INSERT INTO batchmeter.answer (scope, name, busy_until, recorded_at, request_sha256)
VALUES (%(scope)s, %(name)s, %(now)s + %(lease)s, %(now)s, %(request_sha256)s::text)
ON CONFLICT (scope, name) DO UPDATE SET busy_until = excluded.busy_until, request_sha256 = excluded.request_sha256
WHERE answer.document IS NULL AND (answer.busy_until <= %(now)s OR answer.busy_until > %(now)s + %(horizon)s)
RETURNING scope;

-- name: renew_answer
UPDATE batchmeter.answer SET busy_until = %(now)s::bigint + %(lease)s::bigint WHERE scope = %(scope)s AND name = %(name)s AND document IS NULL;

-- name: add_answer
-- Nothing is returned when there is one.
INSERT INTO batchmeter.answer (scope, name, document, busy_until, recorded_at) VALUES (%(scope)s, %(name)s, %(document)s, 0, %(now)s)
ON CONFLICT DO NOTHING RETURNING scope;

-- name: forget_answer
DELETE FROM batchmeter.answer WHERE scope = %(scope)s AND name = %(name)s;

-- name: get_answer
SELECT document, request_sha256 FROM batchmeter.answer WHERE scope = %(scope)s AND name = %(name)s;

-- name: keep_answer
INSERT INTO batchmeter.answer (scope, name, document, busy_until, recorded_at, request_sha256)
VALUES (%(scope)s, %(name)s, %(document)s, 0, %(now)s, %(request_sha256)s::text)
ON CONFLICT (scope, name) DO UPDATE SET document = excluded.document,
    request_sha256 = coalesce(excluded.request_sha256, answer.request_sha256);

-- name: drop_answer
DELETE FROM batchmeter.answer WHERE scope = %(scope)s AND name = %(name)s AND document IS NULL;

-- name: prune_answers
DELETE FROM batchmeter.answer WHERE recorded_at < %(before)s;

-- name: revise_batch
UPDATE batchmeter.batch SET known_usd = %(known_usd)s::double precision, unpriced_lines = %(unpriced_lines)s::bigint
WHERE pk = %(pk)s;

-- name: settled_batch
-- Locked: nobody prunes it while it is revised.
SELECT pk, submission FROM batchmeter.batch WHERE account = %(account)s AND batch_id = %(batch_id)s AND settled_at IS NOT NULL FOR NO KEY UPDATE;

-- name: add_settlement
INSERT INTO batchmeter.settlement (batch_pk, revision, recorded_at, settlement, line_groups, digest)
VALUES (%(batch_pk)s, %(revision)s, %(now)s, %(settlement)s, %(groups)s, %(settlement_digest)s)
ON CONFLICT DO NOTHING RETURNING batch_pk, %(place)s::integer AS place;

-- name: list_events
SELECT seq, payload FROM batchmeter.event
WHERE seq > %(after)s AND seq <= %(upto)s
  AND EXISTS (SELECT 1 FROM batchmeter.batch AS b WHERE b.batch_id = event.batch_id AND b.account = event.account AND b.key_id = %(key)s) -- [key]
  AND batch_id = %(batch_id)s -- [batch_id]
  AND recorded_at >= %(since)s -- [since]
  AND type = ANY(%(types)s::text[]) -- [types]
ORDER BY seq LIMIT %(limit)s;

-- name: list_settlements
SELECT 
    (SELECT s.settlement FROM batchmeter.settlement AS s WHERE s.batch_pk = page.pk ORDER BY s.revision DESC LIMIT 1) AS settlement,
    (SELECT s.line_groups FROM batchmeter.settlement AS s WHERE s.batch_pk = page.pk ORDER BY s.revision DESC LIMIT 1) AS line_groups
FROM (
    SELECT b.pk, b.settled_at, b.submission FROM batchmeter.batch AS b
    WHERE b.settled_at IS NOT NULL
      AND b.settled_at >= %(since)s -- [since]
      AND (b.settled_at, b.pk) > (%(after_time)s::bigint, %(after_pk)s::bigint) -- [after_pk]
    ORDER BY b.settled_at, b.pk LIMIT %(limit)s
) AS page ORDER BY page.settled_at, page.pk;

-- name: list_costs
SELECT page.pk, page.settled_at, page.submission, page.batch_id, page.account,
    (SELECT min(e.seq) FROM batchmeter.event AS e WHERE e.batch_id = page.batch_id AND e.account = page.account
       AND e.type IN ('batch_success', 'batch_failure')) AS first_seq,
    (SELECT s.settlement FROM batchmeter.settlement AS s WHERE s.batch_pk = page.pk ORDER BY s.revision DESC LIMIT 1) AS settlement
FROM (
    SELECT b.pk, b.settled_at, b.submission, b.batch_id, b.account FROM batchmeter.batch AS b
    WHERE b.settled_at IS NOT NULL
      AND b.settled_at >= %(since)s -- [since]
      AND b.settled_at < %(until)s -- [until]
      AND (b.settled_at, b.pk) > (%(after_time)s::bigint, %(after_pk)s::bigint) -- [after_pk]
    ORDER BY b.settled_at, b.pk LIMIT %(limit)s
) AS page ORDER BY page.settled_at, page.pk;

-- name: add_intent
-- Nothing is returned when the id or the idempotency key is taken.
INSERT INTO batchmeter.intent (id, account, idempotency_key, submission, submission_digest, created_at, state, request_sha256)
VALUES (%(id)s, %(account)s, %(key)s::text, %(submission)s, %(submission_digest)s, %(created_at)s, 'open', %(request_sha256)s::text)
ON CONFLICT DO NOTHING RETURNING *;

-- name: find_intent
-- The one that made add_intent give way.
SELECT * FROM batchmeter.intent
WHERE id = %(id)s OR (account = %(account)s AND idempotency_key = %(key)s::text AND state <> 'closed')
ORDER BY id = %(id)s LIMIT 1;

-- name: get_intent
SELECT * FROM batchmeter.intent WHERE id = %(id)s;

-- name: reopen_intent
-- The next try of a create that was refused, and made nothing; unless another create has its key by now.
UPDATE batchmeter.intent AS mine SET state = 'open', reason = NULL, created_at = %(created_at)s
WHERE mine.id = %(id)s AND mine.state = 'closed' AND NOT EXISTS (
    SELECT 1 FROM batchmeter.intent AS other
    WHERE other.account = mine.account AND other.idempotency_key = mine.idempotency_key AND other.state <> 'closed'
)
RETURNING *;

-- name: intents
SELECT id, state, batch_id, account FROM batchmeter.intent WHERE id = ANY(%(ids)s::text[]);

-- name: intent_of_batch
SELECT intent_id FROM batchmeter.batch WHERE batch_id = %(batch_id)s AND account = %(account)s;

-- name: close_intent
UPDATE batchmeter.intent SET state = 'closed', reason = %(reason)s WHERE id = %(id)s AND state = 'open';

-- name: use_intent
-- The create is known to have happened.
UPDATE batchmeter.intent SET state = 'created', batch_id = %(batch_id)s, reason = NULL
WHERE id = %(id)s AND state <> 'created'
  AND state = 'open' -- [if_open]

-- name: free_key
-- A closed intent that turns out to have made a batch must not take back a key that is used again by now.
UPDATE batchmeter.intent AS mine SET idempotency_key = NULL
WHERE mine.id = %(id)s AND mine.state = 'closed' AND EXISTS (
    SELECT 1 FROM batchmeter.intent AS other
    WHERE other.account = mine.account AND other.idempotency_key = mine.idempotency_key AND other.state <> 'closed'
);

-- name: open_intents
-- The oldest of each account: none waits behind another's.
SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY account ORDER BY created_at) AS place FROM batchmeter.intent
    WHERE state = 'open' AND (created_at < %(before)s OR created_at > %(now)s + %(horizon)s)
      AND account = %(account)s -- [account]
) AS numbered
WHERE place <= %(limit)s ORDER BY created_at;

-- name: link_intent
-- A batch that a sweep found before its creator recorded it.
UPDATE batchmeter.batch SET intent_id = %(intent_id)s WHERE account = %(account)s AND batch_id = %(batch_id)s AND intent_id IS NULL;

-- name: get_batch
-- The sum keeps PostgreSQL from looking for an unknown id by walking back through all of pk.
SELECT * FROM batchmeter.batch
WHERE batch_id = %(batch_id)s
  AND account = %(account)s -- [account]
ORDER BY pk + 0 DESC LIMIT 1;

-- name: batches_of_id
SELECT * FROM batchmeter.batch WHERE batch_id = %(batch_id)s ORDER BY pk + 0 DESC;

-- name: lock_batch
-- Held until the transaction ends, so that the newest of two observations is compared with the other.
SELECT * FROM batchmeter.batch WHERE account = %(account)s AND batch_id = %(batch_id)s FOR NO KEY UPDATE;

-- name: wake_batch
UPDATE batchmeter.batch SET
    woken = CASE WHEN lease_until > %(now)s THEN 1 ELSE woken END,
    next_poll_at = CASE WHEN lease_until > %(now)s THEN next_poll_at ELSE least(next_poll_at, %(now)s) END
WHERE account = %(account)s AND batch_id = %(batch_id)s AND next_poll_at IS NOT NULL;

-- name: settlements_of_batch
SELECT revision, settlement, line_groups FROM batchmeter.settlement WHERE batch_pk = %(pk)s ORDER BY revision;

-- name: rename_settlement
UPDATE batchmeter.settlement SET settlement = %(settlement)s, digest = %(settlement_digest)s WHERE batch_pk = %(pk)s AND revision = %(revision)s;

-- name: rename_events
UPDATE batchmeter.event SET batch_id = %(retired)s WHERE batch_id = %(batch_id)s AND account = %(account)s;

-- name: rename_intent
UPDATE batchmeter.intent SET batch_id = %(retired)s WHERE id = (
    SELECT intent_id FROM batchmeter.batch WHERE batch_id = %(batch_id)s AND account = %(account)s
);

-- name: rename_batch
UPDATE batchmeter.batch SET batch_id = %(retired)s,
    woken = CASE WHEN lease_until > %(now)s THEN 1 ELSE woken END,
    next_poll_at = CASE WHEN next_poll_at IS NULL OR lease_until > %(now)s THEN next_poll_at ELSE least(next_poll_at, %(now)s) END
WHERE batch_id = %(batch_id)s AND account = %(account)s;

-- name: list_batches
SELECT * FROM batchmeter.batch
WHERE true
  AND account = %(account)s -- [account]
  AND next_poll_at IS NULL -- [settled]
  AND next_poll_at IS NOT NULL -- [unsettled]
  AND status = ANY(%(statuses)s::text[]) -- [statuses]
  AND pk < %(before)s -- [before]
ORDER BY pk DESC LIMIT %(limit)s;

-- name: put_file
INSERT INTO batchmeter.file AS kept (file_id, account, snapshot, attribution, recorded_at, lines, sha256, estimate)
VALUES (%(file_id)s, %(account)s, %(snapshot)s::text, %(attribution)s::text, %(now)s, %(lines)s::bigint, %(sha256)s::text,
    %(estimate)s::text)
ON CONFLICT (file_id, account) DO UPDATE SET snapshot = coalesce(excluded.snapshot, kept.snapshot),
    attribution = coalesce(kept.attribution, excluded.attribution), lines = coalesce(kept.lines, excluded.lines),
    sha256 = coalesce(excluded.sha256, kept.sha256), estimate = coalesce(excluded.estimate, kept.estimate);

-- name: file_sha256
SELECT sha256 FROM batchmeter.file WHERE file_id = %(file_id)s AND account = %(account)s;

-- name: file_estimate
SELECT estimate FROM batchmeter.file WHERE file_id = %(file_id)s AND account = %(account)s;

-- name: account_of
-- The newest, where accounts share a provider account.
SELECT account FROM (
    SELECT account, recorded_at FROM batchmeter.batch WHERE batch_id = %(id)s
    UNION ALL
    SELECT account, recorded_at FROM batchmeter.file WHERE file_id = %(id)s
) AS owners ORDER BY recorded_at DESC LIMIT 1;

-- name: owners_of
-- Batches last, and the newest of those that accounts share.
SELECT * FROM (
    SELECT file_id AS id, account, NULL::text AS submission, attribution, lines, 0 AS kind, recorded_at AS age
    FROM batchmeter.file
    WHERE file_id = ANY(%(ids)s::text[])
      AND account = %(account)s -- [account]
    UNION ALL
    SELECT batch_id, account, submission, NULL, NULL, 1, pk FROM batchmeter.batch
    WHERE batch_id = ANY(%(ids)s::text[])
      AND account = %(account)s -- [account]
) AS known ORDER BY kind, age;

-- name: forget_file
DELETE FROM batchmeter.file WHERE file_id = %(file_id)s AND account = %(account)s;

-- name: count_batches
SELECT account, status, count(*) AS batches, count(next_poll_at) AS open,
    count(*) FILTER (WHERE next_poll_at <= %(now)s AND (lease_until IS NULL OR lease_until <= %(now)s)) AS overdue
FROM batchmeter.batch GROUP BY account, status ORDER BY account, status;

-- name: count_costs
-- Answered from one index alone. `settled` are those with a cost, known or not.
SELECT account, status, count(*) AS batches, count(known_usd) AS settled,
    coalesce(sum(known_usd), 0) AS known_usd, coalesce(sum(unpriced_lines), 0)::bigint AS unpriced_lines
FROM batchmeter.batch GROUP BY account, status ORDER BY account, status;

-- name: count_events
SELECT type, count(*) AS events FROM batchmeter.event GROUP BY type ORDER BY type;

-- name: count_intents
SELECT count(*) AS open FROM batchmeter.intent WHERE state = 'open';

-- name: schema_version
SELECT max(version) AS version FROM batchmeter.schema_version;

-- name: prunable
-- Settled long ago, summed, and no logger still waits for any of its events. What another process is about to forget is its own.
SELECT b.pk, b.account, b.batch_id, b.intent_id FROM batchmeter.batch AS b
WHERE b.settled_at < %(before)s AND NOT EXISTS (
    SELECT 1 FROM batchmeter.event AS e JOIN batchmeter.delivery AS d ON d.event_seq = e.seq
    WHERE e.batch_id = b.batch_id AND e.account = b.account AND d.state = 'pending'
) AND NOT EXISTS (
    SELECT 1 FROM batchmeter.event AS e WHERE e.batch_id = b.batch_id AND e.account = b.account AND e.seq > %(mark)s
)
ORDER BY b.settled_at LIMIT %(limit)s FOR UPDATE OF b SKIP LOCKED;

-- name: pruned_totals
SELECT sums FROM batchmeter.pruned_totals ORDER BY provider, account, status;

-- name: prune_closed_intents
DELETE FROM batchmeter.intent WHERE state = 'closed' AND created_at < %(before)s;

-- name: oldest_batch
SELECT recorded_at FROM batchmeter.batch ORDER BY pk LIMIT 1;

-- name: old_files
-- One page of all files, of which most are not old: the table has no index by age, and needs none.
SELECT file_id, account, coalesce(used_at, recorded_at) < %(before)s AS old FROM batchmeter.file
WHERE (file_id, account) > (%(after_file)s, %(after_account)s)
ORDER BY file_id, account LIMIT %(limit)s;

-- name: prune_batches
DELETE FROM batchmeter.batch WHERE pk = %(pk)s;

-- name: prune_events
DELETE FROM batchmeter.event WHERE batch_id = %(batch_id)s AND account = %(account)s;

-- name: prune_files
DELETE FROM batchmeter.file WHERE file_id = %(file_id)s AND account = %(account)s AND coalesce(used_at, recorded_at) < %(before)s;

-- name: prune_intents
DELETE FROM batchmeter.intent WHERE id = %(intent_id)s;

-- name: pruned_totals_of
SELECT sums FROM batchmeter.pruned_totals WHERE provider = %(provider)s AND account = %(account)s AND status = %(status)s;

-- name: keep_pruned_totals
INSERT INTO batchmeter.pruned_totals (provider, account, status, sums) VALUES (%(provider)s, %(account)s, %(status)s, %(sums)s)
ON CONFLICT (provider, account, status) DO UPDATE SET sums = excluded.sums;

-- name: settlements_of
-- The newest revision of each.
SELECT settlement FROM batchmeter.settlement WHERE batch_pk = %(pk)s ORDER BY revision DESC LIMIT 1;

-- name: settle_batch
-- The fence: nothing is returned when the lease was lost or the batch is settled.
UPDATE batchmeter.batch SET settled_at = %(now)s, next_poll_at = NULL, lease_until = NULL, lease_owner = NULL,
    lease_token = lease_token + 1, woken = 0, last_error = NULL, error_count = 0, attempts = NULL,
    known_usd = %(known_usd)s::double precision, unpriced_lines = %(unpriced_lines)s::bigint,
    snapshot = CASE WHEN %(ended)s::smallint < ended THEN snapshot ELSE %(snapshot)s::text END,
    snapshot_digest = CASE WHEN %(ended)s::smallint < ended THEN snapshot_digest ELSE %(snapshot_digest)s::text END,
    status = CASE WHEN %(ended)s::smallint < ended THEN status ELSE %(status)s::text END,
    ended = greatest(ended, %(ended)s::smallint)
WHERE account = %(account)s AND batch_id = %(batch_id)s AND lease_token = %(token)s AND next_poll_at IS NOT NULL
RETURNING pk, %(place)s::integer AS place;

-- name: spend_mark
SELECT seq FROM batchmeter.spend_mark WHERE name = 'events';

-- name: spend_state
-- changes: how often the sums, or the settlements behind them, have become others; noted: how often it was said which days.
SELECT coalesce((SELECT seq FROM batchmeter.spend_mark WHERE name = 'events'), 0) AS mark,
    coalesce((SELECT seq FROM batchmeter.spend_mark WHERE name = 'changes'), 0) AS changes,
    coalesce((SELECT seq FROM batchmeter.spend_mark WHERE name = 'noted'), 0) AS noted,
    coalesce((SELECT max(seq) FROM batchmeter.event), 0) AS last;

-- name: note_spend_change
INSERT INTO batchmeter.spend_mark AS known (name, seq) VALUES ('changes', 1), ('noted', 1)
ON CONFLICT (name) DO UPDATE SET seq = known.seq + 1;

-- name: touch_spend
-- Just after a change was noted.
INSERT INTO batchmeter.spend_touched AS known (period, changes)
SELECT %(period)s, seq FROM batchmeter.spend_mark WHERE name = 'changes'
ON CONFLICT (period) DO UPDATE SET changes = excluded.changes;

-- name: spend_touched
SELECT period, changes FROM batchmeter.spend_touched WHERE changes > %(after)s;

-- name: spend_touched_last
SELECT period FROM batchmeter.spend_touched WHERE period >= 0 ORDER BY changes DESC, period DESC LIMIT %(limit)s;

-- name: lock_spend_mark
-- Held until the transaction ends: sums are written by one at a time.
INSERT INTO batchmeter.spend_mark AS known (name, seq) VALUES ('events', 0)
ON CONFLICT (name) DO UPDATE SET seq = known.seq RETURNING seq;

-- name: move_spend_mark
UPDATE batchmeter.spend_mark SET seq = %(seq)s WHERE name = 'events';

-- name: last_event
SELECT coalesce(max(seq), 0)::bigint AS seq FROM batchmeter.event;

-- name: spend_endings
-- Endings in order. earlier: the revision that the batch was summed with, whose figures this one replaces.
SELECT e.seq, e.revision, b.settled_at, b.submission, s.settlement,
    (SELECT min(f.seq) FROM batchmeter.event AS f WHERE f.batch_id = e.batch_id AND f.account = e.account
       AND f.type IN ('batch_success', 'batch_failure')) AS first_seq,
    x.revision AS earlier_revision, x.settlement AS earlier
FROM batchmeter.event AS e
JOIN batchmeter.batch AS b ON b.batch_id = e.batch_id AND b.account = e.account
JOIN batchmeter.settlement AS s ON s.batch_pk = b.pk AND s.revision = e.revision
LEFT JOIN batchmeter.settlement AS x ON x.batch_pk = b.pk AND x.revision = (
    SELECT max(o.revision) FROM batchmeter.event AS o WHERE o.batch_id = e.batch_id AND o.account = e.account
      AND o.type IN ('batch_success', 'batch_failure') AND o.seq < e.seq
)
WHERE e.seq > %(after)s AND e.seq <= %(upto)s AND e.type IN ('batch_success', 'batch_failure')
ORDER BY e.seq LIMIT %(limit)s;

-- name: spend_settled
-- Batches in the order of their first settling, as they were when `mark` was the last event.
SELECT page.pk, page.settled_at, page.submission, page.first_seq,
    (SELECT s.settlement FROM batchmeter.settlement AS s WHERE s.batch_pk = page.pk AND s.revision = page.revision) AS settlement
FROM (
    SELECT b.pk, b.settled_at, b.submission,
        (SELECT min(f.seq) FROM batchmeter.event AS f WHERE f.batch_id = b.batch_id AND f.account = b.account
           AND f.type IN ('batch_success', 'batch_failure')) AS first_seq,
        (SELECT max(o.revision) FROM batchmeter.event AS o WHERE o.batch_id = b.batch_id AND o.account = b.account
           AND o.type IN ('batch_success', 'batch_failure') AND o.seq <= %(mark)s) AS revision
    FROM batchmeter.batch AS b
    WHERE b.settled_at IS NOT NULL
      AND (b.settled_at, b.pk) > (%(after_time)s::bigint, %(after_pk)s::bigint) -- [after_pk]
    ORDER BY b.settled_at, b.pk LIMIT %(limit)s
) AS page ORDER BY page.settled_at, page.pk;

-- name: spend_of_batch
SELECT b.settled_at, b.submission, s.settlement,
    (SELECT min(f.seq) FROM batchmeter.event AS f WHERE f.batch_id = b.batch_id AND f.account = b.account
       AND f.type IN ('batch_success', 'batch_failure')) AS first_seq
FROM batchmeter.batch AS b JOIN batchmeter.settlement AS s ON s.batch_pk = b.pk
WHERE b.pk = %(pk)s ORDER BY s.revision DESC LIMIT 1;

-- name: add_spend_group
INSERT INTO batchmeter.spend_group (id, account, provider, model, team, user_name, key_id, status, labels)
VALUES (%(id)s, %(account)s, %(provider)s, %(model)s, %(team)s, %(user_name)s, %(key_id)s, %(status)s, %(labels)s)
ON CONFLICT DO NOTHING;

-- name: add_spend_label
INSERT INTO batchmeter.spend_label (group_id, name, value) VALUES (%(group_id)s, %(name)s, %(value)s)
ON CONFLICT DO NOTHING;

-- name: add_spend
INSERT INTO batchmeter.spend_sum AS known (
    kind, period, group_id, batches, incomplete, inexact, lines, failed, unpriced, usd, nano, atto, list_lines,
    list_usd, list_nano, list_atto, saved_usd, saved_nano, saved_atto, input_tokens, cached_input_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, audio_input_tokens, image_input_tokens, video_input_tokens,
    output_tokens, audio_output_tokens, image_output_tokens, video_output_tokens, reasoning_tokens, web_searches,
    file_searches, maps_queries, tool_calls, containers, sessions, generated_images, input_images, audio_seconds,
    pages
) VALUES (
    %(kind)s, %(period)s, %(group_id)s, %(batches)s, %(incomplete)s, %(inexact)s, %(lines)s, %(failed)s,
    %(unpriced)s, %(usd)s, %(nano)s, %(atto)s, %(list_lines)s, %(list_usd)s, %(list_nano)s, %(list_atto)s,
    %(saved_usd)s, %(saved_nano)s, %(saved_atto)s, %(input_tokens)s, %(cached_input_tokens)s,
    %(cache_write_5m_tokens)s, %(cache_write_1h_tokens)s, %(audio_input_tokens)s, %(image_input_tokens)s,
    %(video_input_tokens)s, %(output_tokens)s, %(audio_output_tokens)s, %(image_output_tokens)s,
    %(video_output_tokens)s, %(reasoning_tokens)s, %(web_searches)s, %(file_searches)s, %(maps_queries)s,
    %(tool_calls)s, %(containers)s, %(sessions)s, %(generated_images)s, %(input_images)s, %(audio_seconds)s,
    %(pages)s
) ON CONFLICT (kind, period, group_id) DO UPDATE SET
    batches = known.batches + excluded.batches, incomplete = known.incomplete + excluded.incomplete,
    inexact = known.inexact + excluded.inexact, lines = known.lines + excluded.lines,
    failed = known.failed + excluded.failed, unpriced = known.unpriced + excluded.unpriced,
    usd = known.usd + excluded.usd, nano = known.nano + excluded.nano, atto = known.atto + excluded.atto,
    list_lines = known.list_lines + excluded.list_lines, list_usd = known.list_usd + excluded.list_usd,
    list_nano = known.list_nano + excluded.list_nano, list_atto = known.list_atto + excluded.list_atto,
    saved_usd = known.saved_usd + excluded.saved_usd, saved_nano = known.saved_nano + excluded.saved_nano,
    saved_atto = known.saved_atto + excluded.saved_atto, input_tokens = known.input_tokens + excluded.input_tokens,
    cached_input_tokens = known.cached_input_tokens + excluded.cached_input_tokens,
    cache_write_5m_tokens = known.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
    cache_write_1h_tokens = known.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
    audio_input_tokens = known.audio_input_tokens + excluded.audio_input_tokens,
    image_input_tokens = known.image_input_tokens + excluded.image_input_tokens,
    video_input_tokens = known.video_input_tokens + excluded.video_input_tokens,
    output_tokens = known.output_tokens + excluded.output_tokens,
    audio_output_tokens = known.audio_output_tokens + excluded.audio_output_tokens,
    image_output_tokens = known.image_output_tokens + excluded.image_output_tokens,
    video_output_tokens = known.video_output_tokens + excluded.video_output_tokens,
    reasoning_tokens = known.reasoning_tokens + excluded.reasoning_tokens,
    web_searches = known.web_searches + excluded.web_searches,
    file_searches = known.file_searches + excluded.file_searches,
    maps_queries = known.maps_queries + excluded.maps_queries, tool_calls = known.tool_calls + excluded.tool_calls,
    containers = known.containers + excluded.containers, sessions = known.sessions + excluded.sessions,
    generated_images = known.generated_images + excluded.generated_images,
    input_images = known.input_images + excluded.input_images,
    audio_seconds = known.audio_seconds + excluded.audio_seconds, pages = known.pages + excluded.pages;

-- name: add_spend_unknown
INSERT INTO batchmeter.spend_unknown AS known (kind, period, group_id, reason, batches, lines)
VALUES (%(kind)s, %(period)s, %(group_id)s, %(reason)s, %(batches)s, %(lines)s)
ON CONFLICT (kind, period, group_id, reason) DO UPDATE SET
    batches = known.batches + excluded.batches, lines = known.lines + excluded.lines;

-- name: spend_rows
-- Of some kinds, with what they have in common.
SELECT d.*, g.account, g.provider, g.model, g.team, g.user_name, g.key_id, g.status, g.labels
FROM batchmeter.spend_sum AS d JOIN batchmeter.spend_group AS g ON g.id = d.group_id
WHERE d.kind = %(kind)s AND d.period >= %(first)s AND d.period <= %(last)s
  AND (d.period, d.group_id) > (%(after)s, %(after_group)s) -- [after_group]
ORDER BY d.period, d.group_id LIMIT %(limit)s;

-- name: spend_unknown_rows
SELECT d.*, g.account, g.provider, g.model, g.team, g.user_name, g.key_id, g.status, g.labels
FROM batchmeter.spend_unknown AS d JOIN batchmeter.spend_group AS g ON g.id = d.group_id
WHERE d.kind = %(kind)s AND d.period >= %(first)s AND d.period <= %(last)s
  AND (d.period, d.group_id, d.reason) > (%(after)s, %(after_group)s, %(after_reason)s) -- [after_group]
ORDER BY d.period, d.group_id, d.reason LIMIT %(limit)s;

-- name: forget_spend
DELETE FROM batchmeter.spend_sum WHERE (kind & %(pruned)s::integer) = 0;

-- name: forget_spend_unknown
DELETE FROM batchmeter.spend_unknown WHERE (kind & %(pruned)s::integer) = 0;

-- name: forget_spend_labels
DELETE FROM batchmeter.spend_label WHERE NOT EXISTS (SELECT 1 FROM batchmeter.spend_sum AS d WHERE d.group_id = spend_label.group_id);

-- name: forget_spend_groups
DELETE FROM batchmeter.spend_group WHERE NOT EXISTS (SELECT 1 FROM batchmeter.spend_sum AS d WHERE d.group_id = spend_group.id);

-- name: spend_metadata_keys
SELECT name, since FROM batchmeter.spend_metadata_key ORDER BY name;

-- name: add_spend_metadata_key
INSERT INTO batchmeter.spend_metadata_key (name, since) VALUES (%(name)s, %(since)s) ON CONFLICT DO NOTHING;

-- name: forget_spend_metadata_keys
DELETE FROM batchmeter.spend_metadata_key;

-- name: spend_months
SELECT DISTINCT period FROM batchmeter.spend_sum WHERE kind = %(kind)s ORDER BY period;

-- name: browse_batches
-- Newest first, for people to look through.
SELECT * FROM batchmeter.batch
WHERE true
  AND account = ANY(%(accounts)s::text[]) -- [accounts]
  AND key_id = %(key)s -- [key]
  AND status = ANY(%(statuses)s::text[]) -- [statuses]
  AND next_poll_at IS NULL -- [settled]
  AND next_poll_at IS NOT NULL -- [unsettled]
  AND unpriced_lines > 0 -- [unknown]
  AND pk < %(before)s -- [before]
ORDER BY pk DESC LIMIT %(limit)s;

-- name: newest_settlement
SELECT batch_pk, settlement FROM batchmeter.settlement WHERE batch_pk = %(pk)s ORDER BY revision DESC LIMIT 1;

-- name: deliveries_of_batch
SELECT d.logger, d.state, d.attempts, d.next_attempt_at, d.delivered_at, d.last_error, e.type, e.revision, e.recorded_at
FROM batchmeter.event AS e JOIN batchmeter.delivery AS d ON d.event_seq = e.seq
WHERE e.batch_id = %(batch_id)s AND e.account = %(account)s
ORDER BY e.seq, d.logger LIMIT %(limit)s;

-- name: unknown_costs
-- Why lines have no known cost, by model and account, of whole days.
SELECT d.reason, g.model, g.account, sum(d.batches)::bigint AS batches, sum(d.lines)::bigint AS lines,
    min(CASE WHEN d.lines > 0 THEN d.period END) AS first_day
FROM batchmeter.spend_unknown AS d JOIN batchmeter.spend_group AS g ON g.id = d.group_id
WHERE d.kind = %(kind)s AND d.period >= %(first)s AND d.period <= %(last)s
  AND g.key_id = %(key)s -- [key]
  AND g.account = ANY(%(accounts)s::text[]) -- [accounts]
GROUP BY d.reason, g.model, g.account
ORDER BY lines DESC, d.reason, g.model, g.account LIMIT %(limit)s;

-- name: ids_from
SELECT DISTINCT batch_id FROM batchmeter.batch WHERE strpos(batch_id, %(prefix)s) = 1 ORDER BY batch_id LIMIT %(limit)s;
