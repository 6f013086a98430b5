-- Sums of settled batches by day and month, fed from the events in their order. '' stands for no team, user, key, model.

-- What batches, or their models' shares, have in common. id: from a hash of the rest, so the same in every ledger.
-- labels: JSON of the batches' tags and of the metadata that reports group by; '' where these are left out.
CREATE TABLE batchmeter.spend_group (
    id bigint NOT NULL PRIMARY KEY,
    account text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    team text NOT NULL,
    user_name text NOT NULL,
    key_id text NOT NULL,
    status text NOT NULL,
    labels text NOT NULL
);

-- The labels of a group, one by one. name: '' for a tag, else the metadata key.
CREATE TABLE batchmeter.spend_label (
    group_id bigint NOT NULL,
    name text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (group_id, name, value)
);

-- kind: a sum of 1 (shares of models, else whole batches), 2 (groups with labels), 4 (months, else days),
-- 8 (batches that were pruned, kept apart for a rebuild). period: days or months since 1970.
-- A cost is usd + nano / 10^9 + atto / 10^18; list_: at the price without a batch discount, of list_lines lines.
CREATE TABLE batchmeter.spend_sum (
    kind smallint NOT NULL,
    period integer NOT NULL,
    group_id bigint NOT NULL,
    batches bigint NOT NULL, incomplete bigint NOT NULL, inexact bigint NOT NULL, lines bigint NOT NULL,
    failed bigint NOT NULL, unpriced bigint NOT NULL, usd bigint NOT NULL, nano bigint NOT NULL,
    atto bigint NOT NULL, list_lines bigint NOT NULL, list_usd bigint NOT NULL, list_nano bigint NOT NULL,
    list_atto bigint NOT NULL, saved_usd bigint NOT NULL, saved_nano bigint NOT NULL, saved_atto bigint NOT NULL,
    input_tokens bigint NOT NULL, cached_input_tokens bigint NOT NULL, cache_write_5m_tokens bigint NOT NULL,
    cache_write_1h_tokens bigint NOT NULL, audio_input_tokens bigint NOT NULL, image_input_tokens bigint NOT NULL,
    video_input_tokens bigint NOT NULL, output_tokens bigint NOT NULL, audio_output_tokens bigint NOT NULL,
    image_output_tokens bigint NOT NULL, video_output_tokens bigint NOT NULL, reasoning_tokens bigint NOT NULL,
    web_searches bigint NOT NULL, file_searches bigint NOT NULL, maps_queries bigint NOT NULL,
    tool_calls bigint NOT NULL, containers bigint NOT NULL, sessions bigint NOT NULL,
    generated_images bigint NOT NULL, input_images bigint NOT NULL, audio_seconds bigint NOT NULL,
    pages bigint NOT NULL,
    PRIMARY KEY (kind, period, group_id)
);

-- Why lines of these groups have no known cost.
CREATE TABLE batchmeter.spend_unknown (
    kind smallint NOT NULL,
    period integer NOT NULL,
    group_id bigint NOT NULL,
    reason text NOT NULL,
    batches bigint NOT NULL,
    lines bigint NOT NULL,
    PRIMARY KEY (kind, period, group_id, reason)
);

-- seq: the last event in the sums.
CREATE TABLE batchmeter.spend_mark (
    name text NOT NULL PRIMARY KEY,
    seq bigint NOT NULL
);

-- The metadata keys that batches are grouped by, of those that ended after the event `since`.
CREATE TABLE batchmeter.spend_metadata_key (
    name text NOT NULL PRIMARY KEY,
    since bigint NOT NULL
);
