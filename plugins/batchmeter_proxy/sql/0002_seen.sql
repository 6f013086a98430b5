-- When a key last asked for something, to the minute.
CREATE TABLE batchmeter.proxy_seen (
    key_id text NOT NULL PRIMARY KEY,
    at bigint NOT NULL
);
