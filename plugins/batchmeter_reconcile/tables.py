"""The plugin's table: reconciliations as they were made, which nothing changes, newest first."""

MIGRATIONS = (
    """CREATE TABLE batchmeter.reconcile_document (
    id text NOT NULL PRIMARY KEY,
    account text NOT NULL,
    first_day text NOT NULL,
    last_day text NOT NULL,
    made_at bigint NOT NULL,
    source text NOT NULL,
    source_sha256 text NOT NULL,
    status text NOT NULL,
    drift_usd text NOT NULL,
    result text NOT NULL
);
CREATE INDEX reconcile_document_account ON batchmeter.reconcile_document (account, made_at);
CREATE INDEX reconcile_document_made ON batchmeter.reconcile_document (made_at);""",
    """ALTER TABLE batchmeter.reconcile_document ADD COLUMN days text NOT NULL DEFAULT '{}';""",
)

STATEMENTS = """
-- name: add
INSERT INTO batchmeter.reconcile_document (id, account, first_day, last_day, made_at, source, source_sha256, status, drift_usd, days, result)
VALUES (%(id)s, %(account)s, %(first)s, %(last)s, %(made_at)s, %(source)s, %(sha256)s, %(status)s, %(drift_usd)s, %(days)s, %(result)s);

-- name: listed
SELECT id, account, first_day, last_day, made_at, source, source_sha256, status, drift_usd FROM batchmeter.reconcile_document
WHERE made_at >= 0
  AND account = %(account)s -- [account]
ORDER BY made_at DESC, id LIMIT %(limit)s;

-- name: shown
SELECT result FROM batchmeter.reconcile_document WHERE id = %(id)s;

-- name: newest
-- Of each account.
SELECT d.id, d.account, d.first_day, d.last_day, d.made_at, d.source, d.source_sha256, d.status, d.drift_usd
FROM batchmeter.reconcile_document AS d
WHERE d.made_at = (SELECT max(n.made_at) FROM batchmeter.reconcile_document AS n WHERE n.account = d.account)
ORDER BY d.account, d.id LIMIT %(limit)s;

-- name: days
-- Days of documents that reach a day, newest first.
SELECT account, days FROM batchmeter.reconcile_document WHERE last_day >= %(since)s ORDER BY made_at DESC, id LIMIT %(limit)s;
"""
