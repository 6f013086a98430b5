-- Keys and their use were tables of the ledger's own (its migration 2) and become the plugin's; keys have their name already.
ALTER TABLE batchmeter.key_use RENAME TO proxy_use;

-- Notes of amounts that are counted towards a limit already, so that a repeat counts once.
CREATE TABLE batchmeter.proxy_counted (
    scope text NOT NULL,
    name text NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (scope, name)
);
INSERT INTO batchmeter.proxy_counted (scope, name, recorded_at)
SELECT scope, name, recorded_at FROM batchmeter.answer WHERE substr(scope, 1, 8) = 'counted ';
DELETE FROM batchmeter.answer WHERE substr(scope, 1, 8) = 'counted ';

-- Places of open batches that are just being submitted.
CREATE TABLE batchmeter.proxy_place (
    key_id text NOT NULL,
    name text NOT NULL,
    busy_until bigint NOT NULL,
    PRIMARY KEY (key_id, name)
);
