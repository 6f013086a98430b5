"""The budgets' tables and statements, in PostgreSQL's words; amounts are nanodollars, or tokens, rounded up."""

MIGRATIONS = (
    """CREATE TABLE batchmeter.budgets_budget (
    id text NOT NULL PRIMARY KEY,
    name text NOT NULL,
    settings text NOT NULL,
    source text NOT NULL,
    most bigint NOT NULL,
    raised bigint NOT NULL,
    raised_until bigint NOT NULL,
    raised_why text,
    active_from bigint NOT NULL,
    counted integer NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE UNIQUE INDEX budgets_budget_name ON batchmeter.budgets_budget (name) WHERE deleted_at IS NULL;
CREATE TABLE batchmeter.budgets_period (
    budget_id text NOT NULL,
    bucket text NOT NULL,
    start bigint NOT NULL,
    ends bigint,
    spent bigint NOT NULL,
    spent_atto bigint NOT NULL,
    reserved bigint NOT NULL,
    uncertain bigint NOT NULL,
    batches bigint NOT NULL,
    PRIMARY KEY (budget_id, bucket, start)
);
CREATE TABLE batchmeter.budgets_reservation (
    submission text NOT NULL,
    budget_id text NOT NULL,
    bucket text NOT NULL,
    start bigint NOT NULL,
    account text NOT NULL,
    batch_id text,
    amount bigint NOT NULL,
    basis text NOT NULL,
    models text,
    state text NOT NULL,
    known bigint NOT NULL,
    known_atto bigint NOT NULL,
    uncertain bigint NOT NULL,
    revision integer NOT NULL,
    who text NOT NULL,
    reason text,
    created_at bigint NOT NULL,
    touched_at bigint NOT NULL,
    PRIMARY KEY (submission, budget_id, bucket)
);
CREATE INDEX budgets_reservation_batch ON batchmeter.budgets_reservation (batch_id, account);
CREATE INDEX budgets_reservation_period ON batchmeter.budgets_reservation (budget_id, bucket, start, created_at);
CREATE INDEX budgets_reservation_loose ON batchmeter.budgets_reservation (touched_at) WHERE state = 'open' AND batch_id IS NULL;
CREATE INDEX budgets_reservation_uncertain ON batchmeter.budgets_reservation (touched_at) WHERE state = 'uncertain';
CREATE TABLE batchmeter.budgets_waiting (
    budget_id text NOT NULL,
    bucket text NOT NULL,
    submission text NOT NULL,
    who text NOT NULL,
    since bigint NOT NULL,
    seen_at bigint NOT NULL,
    PRIMARY KEY (budget_id, bucket, submission)
);
CREATE TABLE batchmeter.budgets_alert (
    id text NOT NULL PRIMARY KEY,
    document text NOT NULL,
    told integer NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX budgets_alert_untold ON batchmeter.budgets_alert (created_at) WHERE told = 0;
CREATE TABLE batchmeter.budgets_open (
    account text NOT NULL,
    batch_id text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (account, batch_id)
);
CREATE INDEX budgets_open_age ON batchmeter.budgets_open (created_at);""",
    """ALTER TABLE batchmeter.budgets_reservation ADD COLUMN asked text;
CREATE TABLE batchmeter.budgets_change (
    id text NOT NULL PRIMARY KEY,
    budget_id text NOT NULL,
    action text NOT NULL,
    who text NOT NULL,
    settings text NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX budgets_change_budget ON batchmeter.budgets_change (budget_id, created_at);""",
)

STATEMENTS = """
-- name: budgets
SELECT * FROM batchmeter.budgets_budget ORDER BY name, created_at;

-- name: add_budget
INSERT INTO batchmeter.budgets_budget
    (id, name, settings, source, most, raised, raised_until, raised_why, active_from, counted, created_at, updated_at, deleted_at)
VALUES (%(id)s, %(name)s, %(settings)s, %(source)s, %(most)s, 0, 0, NULL, %(active_from)s, 0, %(now)s, %(now)s, NULL)
ON CONFLICT DO NOTHING RETURNING id;

-- name: change_budget
UPDATE batchmeter.budgets_budget SET settings = %(settings)s, most = %(most)s, source = %(source)s, updated_at = %(now)s
WHERE id = %(id)s AND deleted_at IS NULL;

-- name: raise_budget
UPDATE batchmeter.budgets_budget SET raised = %(raised)s, raised_until = %(until)s, raised_why = %(why)s::text, updated_at = %(now)s
WHERE id = %(id)s AND deleted_at IS NULL;

-- name: delete_budget
UPDATE batchmeter.budgets_budget SET deleted_at = %(now)s, updated_at = %(now)s WHERE id = %(id)s AND deleted_at IS NULL;

-- name: note_change
INSERT INTO batchmeter.budgets_change (id, budget_id, action, who, settings, created_at)
VALUES (%(change)s, %(id)s, %(action)s, %(who)s, %(settings)s, %(now)s);

-- name: changes
SELECT action, who, settings, created_at FROM batchmeter.budgets_change WHERE budget_id = %(budget_id)s
ORDER BY created_at DESC, id LIMIT %(limit)s;

-- name: budget_counted
UPDATE batchmeter.budgets_budget SET counted = 1 WHERE id = %(id)s;

-- name: add_period
INSERT INTO batchmeter.budgets_period (budget_id, bucket, start, ends, spent, spent_atto, reserved, uncertain, batches)
VALUES (%(budget_id)s, %(bucket)s, %(start)s, %(ends)s::bigint, 0, 0, 0, 0, 0)
ON CONFLICT DO NOTHING RETURNING budget_id;

-- name: add_reservation
INSERT INTO batchmeter.budgets_reservation (submission, budget_id, bucket, start, account, batch_id, amount, basis, models, state,
    known, known_atto, uncertain, revision, who, reason, created_at, touched_at)
VALUES (%(submission)s, %(budget_id)s, %(bucket)s, %(start)s, %(account)s, %(batch_id)s::text, %(amount)s, %(basis)s,
    %(models)s::text, %(state)s, %(known)s, %(known_atto)s, %(uncertain)s, %(revision)s, %(who)s, NULL, %(created_at)s, %(now)s)
ON CONFLICT DO NOTHING RETURNING budget_id, bucket;

-- name: ask
-- `asked` names the transaction that takes it. One that was given back is taken anew; any other is kept alive, and not counted
-- again: neither where it is asked again, nor where this transaction is repeated because its commit was not heard of.
INSERT INTO batchmeter.budgets_reservation AS r (submission, budget_id, bucket, start, account, batch_id, amount, basis, models,
    state, known, known_atto, uncertain, revision, who, reason, created_at, touched_at, asked)
VALUES (%(submission)s, %(budget_id)s, %(bucket)s, %(start)s, %(account)s, %(batch_id)s::text, %(amount)s, %(basis)s,
    %(models)s::text, 'open', 0, 0, 0, 0, %(who)s, NULL, %(created_at)s, %(now)s, %(asked)s)
ON CONFLICT (submission, budget_id, bucket) DO UPDATE SET touched_at = %(now)s,
    asked = CASE WHEN r.state = 'released' THEN excluded.asked END,
    amount = CASE WHEN r.state = 'released' THEN excluded.amount ELSE r.amount END,
    start = CASE WHEN r.state = 'released' THEN excluded.start ELSE r.start END,
    reason = CASE WHEN r.state <> 'released' THEN r.reason END,
    state = CASE WHEN r.state = 'released' THEN 'open' ELSE r.state END;

-- name: take
-- For all that this transaction asked of one period. Divides by zero where there is no room (SQLite: makes it null), which
-- undoes the whole: no answer is waited for.
UPDATE batchmeter.budgets_period AS p SET batches = p.batches + n.batches, reserved = p.reserved + n.amount
    / CASE WHEN %(enforced)s = 0 OR n.batches = 0 OR p.spent + CASE WHEN p.spent_atto > 0 THEN 1 ELSE 0 END + p.reserved
            + p.uncertain + n.amount <= (
        SELECT b.most + CASE WHEN b.raised_until > %(now)s THEN b.raised ELSE 0 END
        FROM batchmeter.budgets_budget AS b WHERE b.id = p.budget_id) THEN 1 ELSE 0 END
FROM (SELECT coalesce(sum(r.amount), 0)::bigint AS amount, count(*) AS batches FROM batchmeter.budgets_reservation AS r
    WHERE r.submission = ANY(%(submissions)s::text[]) AND r.budget_id = %(budget_id)s AND r.bucket = %(bucket)s
      AND r.asked = %(asked)s) AS n
WHERE p.budget_id = %(budget_id)s AND p.bucket = %(bucket)s AND p.start = %(start)s
RETURNING budget_id, bucket, start, ends, spent, spent_atto, reserved, uncertain;

-- name: move
-- spent_atto stays from 0 to below 10^9: what is added to it is, too.
UPDATE batchmeter.budgets_period SET reserved = reserved + %(reserved)s, uncertain = uncertain + %(uncertain)s,
    spent = spent + %(spent)s + (spent_atto + %(spent_atto)s) / 1000000000,
    spent_atto = (spent_atto + %(spent_atto)s) - (spent_atto + %(spent_atto)s) / 1000000000 * 1000000000,
    batches = batches + %(batches)s
WHERE budget_id = %(budget_id)s AND bucket = %(bucket)s AND start = %(start)s
RETURNING budget_id, bucket, start, ends, spent, spent_atto, reserved, uncertain;

-- name: period
SELECT * FROM batchmeter.budgets_period WHERE budget_id = %(budget_id)s AND bucket = %(bucket)s AND start = %(start)s;

-- name: periods
-- Those that begin so late, of one budget or all; `least`: only where so much is taken.
SELECT * FROM batchmeter.budgets_period WHERE start >= %(since)s
  AND budget_id = %(budget_id)s -- [budget_id]
  AND spent + 1 + reserved + uncertain >= %(least)s -- [least]
ORDER BY budget_id, bucket, start;

-- name: present
-- One period's buckets, those first that have taken most; or only some.
SELECT * FROM batchmeter.budgets_period WHERE budget_id = %(budget_id)s AND start = %(start)s
  AND bucket = ANY(%(buckets)s::text[]) -- [buckets]
ORDER BY spent + reserved + uncertain DESC, bucket LIMIT %(limit)s;

-- name: of_submission
SELECT * FROM batchmeter.budgets_reservation WHERE submission = %(submission)s ORDER BY budget_id, bucket FOR UPDATE;

-- name: of_batch
SELECT * FROM batchmeter.budgets_reservation WHERE batch_id = %(batch_id)s
  AND account = %(account)s -- [account]
ORDER BY submission, budget_id, bucket FOR UPDATE;

-- name: bind
UPDATE batchmeter.budgets_reservation SET batch_id = %(batch_id)s, account = %(account)s
WHERE submission = %(submission)s AND batch_id IS NULL;

-- name: touch
UPDATE batchmeter.budgets_reservation SET touched_at = %(now)s, state = %(state)s, reason = %(reason)s::text
WHERE submission = %(submission)s AND budget_id = %(budget_id)s AND bucket = %(bucket)s;

-- name: settle
UPDATE batchmeter.budgets_reservation SET state = %(state)s, known = %(known)s, known_atto = %(known_atto)s,
    uncertain = %(uncertain)s, revision = %(revision)s, touched_at = %(now)s
WHERE submission = %(submission)s AND budget_id = %(budget_id)s AND bucket = %(bucket)s;

-- name: write_off
UPDATE batchmeter.budgets_reservation SET state = 'written_off', uncertain = 0, reason = %(reason)s, touched_at = %(now)s
WHERE submission = %(submission)s AND budget_id = %(budget_id)s AND bucket = %(bucket)s;

-- name: loose
-- Reserved a while ago, and no batch is known.
SELECT DISTINCT submission, touched_at FROM batchmeter.budgets_reservation
WHERE state = 'open' AND batch_id IS NULL AND touched_at < %(before)s ORDER BY touched_at LIMIT %(limit)s;

-- name: old_uncertain
SELECT * FROM batchmeter.budgets_reservation WHERE state = 'uncertain' AND touched_at < %(before)s
ORDER BY touched_at LIMIT %(limit)s;

-- name: reservations
SELECT * FROM batchmeter.budgets_reservation WHERE budget_id = %(budget_id)s
  AND bucket = %(bucket)s -- [bucket]
  AND start = %(start)s -- [start]
  AND state = %(state)s -- [state]
ORDER BY created_at DESC, submission LIMIT %(limit)s;

-- name: days
-- By days since the period began: what was spent, and what is held for what was submitted then.
SELECT (created_at - start) / 86400000 AS day, sum(known)::bigint AS spent,
    sum(CASE WHEN state = 'open' THEN amount ELSE uncertain END)::bigint AS held, count(*) AS batches
FROM batchmeter.budgets_reservation
WHERE budget_id = %(budget_id)s AND bucket = %(bucket)s AND start = %(start)s AND state <> 'released'
GROUP BY (created_at - start) / 86400000 ORDER BY 1;

-- name: lock_periods
-- Nothing is taken or given back until the transaction ends, in the order in which others take.
SELECT budget_id FROM batchmeter.budgets_period ORDER BY budget_id, bucket, start FOR UPDATE;

-- name: sums
-- What each period's sums have to be.
SELECT p.budget_id, p.bucket, p.start, p.reserved, p.uncertain, p.spent, p.spent_atto, p.batches,
    coalesce(sum(CASE WHEN r.state = 'open' THEN r.amount ELSE 0 END), 0)::bigint AS open_amount,
    coalesce(sum(r.uncertain), 0)::bigint AS uncertain_amount,
    coalesce(sum(r.known), 0)::bigint AS known, coalesce(sum(r.known_atto), 0)::bigint AS known_atto,
    coalesce(sum(CASE WHEN r.state <> 'released' THEN 1 ELSE 0 END), 0)::bigint AS counted
FROM batchmeter.budgets_period AS p LEFT JOIN batchmeter.budgets_reservation AS r
    ON r.budget_id = p.budget_id AND r.bucket = p.bucket AND r.start = p.start
GROUP BY p.budget_id, p.bucket, p.start, p.reserved, p.uncertain, p.spent, p.spent_atto, p.batches
ORDER BY p.budget_id, p.bucket, p.start;

-- name: drift
-- By models and basis: what ended batches had reserved, and what they cost.
SELECT models, basis, sum(amount)::bigint AS reserved, sum(known)::bigint AS spent, count(*) AS batches
FROM batchmeter.budgets_reservation
WHERE budget_id = %(budget_id)s AND start >= %(since)s AND state = 'settled' AND amount > 0
GROUP BY models, basis ORDER BY sum(amount) DESC LIMIT %(limit)s;

-- name: correct
UPDATE batchmeter.budgets_period SET reserved = %(open_amount)s, uncertain = %(uncertain_amount)s, spent = %(spent)s,
    spent_atto = %(spent_atto)s, batches = %(counted)s
WHERE budget_id = %(budget_id)s AND bucket = %(bucket)s AND start = %(start)s;

-- name: wait
INSERT INTO batchmeter.budgets_waiting AS w (budget_id, bucket, submission, who, since, seen_at)
VALUES (%(budget_id)s, %(bucket)s, %(submission)s, %(who)s, %(now)s, %(now)s)
ON CONFLICT (budget_id, bucket, submission) DO UPDATE SET seen_at = %(now)s;

-- name: waiting
SELECT submission, who, since FROM batchmeter.budgets_waiting
WHERE budget_id = %(budget_id)s AND bucket = %(bucket)s AND seen_at > %(seen)s ORDER BY since, submission LIMIT 1000;

-- name: waited
DELETE FROM batchmeter.budgets_waiting WHERE submission = %(submission)s OR seen_at < %(now)s - 86400000;

-- name: add_alert
INSERT INTO batchmeter.budgets_alert (id, document, told, created_at) VALUES (%(id)s, %(document)s, 0, %(now)s)
ON CONFLICT DO NOTHING RETURNING id;

-- name: untold
SELECT id, document FROM batchmeter.budgets_alert WHERE told = 0 ORDER BY created_at LIMIT %(limit)s;

-- name: alert_told
UPDATE batchmeter.budgets_alert SET told = 1 WHERE id = %(id)s;

-- name: add_open
INSERT INTO batchmeter.budgets_open (account, batch_id, created_at) VALUES (%(account)s, %(batch_id)s, %(created_at)s)
ON CONFLICT DO NOTHING;

-- name: drop_open
DELETE FROM batchmeter.budgets_open WHERE account = %(account)s AND batch_id = %(batch_id)s;

-- name: open_since
SELECT * FROM batchmeter.budgets_open WHERE created_at < %(before)s ORDER BY created_at LIMIT %(limit)s;
"""
