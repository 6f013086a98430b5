-- Sums of settled batches by day and month, fed from the events in their order. '' stands for no team, user, key, model.

-- What batches, or their models' shares, have in common. id: from a hash of the rest, so the same in every ledger.
-- labels: JSON of the batches' tags and of the metadata that reports group by; '' where these are left out.
CREATE TABLE spend_group (
    id INTEGER NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    team TEXT NOT NULL,
    user_name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    status TEXT NOT NULL,
    labels TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The labels of a group, one by one. name: '' for a tag, else the metadata key.
CREATE TABLE spend_label (
    group_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (group_id, name, value)
) STRICT, WITHOUT ROWID;

-- kind: a sum of 1 (shares of models, else whole batches), 2 (groups with labels), 4 (months, else days),
-- 8 (batches that were pruned, kept apart for a rebuild). period: days or months since 1970.
-- A cost is usd + nano / 10^9 + atto / 10^18; list_: at the price without a batch discount, of list_lines lines.
CREATE TABLE spend_sum (
    kind INTEGER NOT NULL,
    period INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    batches INTEGER NOT NULL, incomplete INTEGER NOT NULL, inexact INTEGER NOT NULL, lines INTEGER NOT NULL,
    failed INTEGER NOT NULL, unpriced INTEGER NOT NULL, usd INTEGER NOT NULL, nano INTEGER NOT NULL,
    atto INTEGER NOT NULL, list_lines INTEGER NOT NULL, list_usd INTEGER NOT NULL, list_nano INTEGER NOT NULL,
    list_atto INTEGER NOT NULL, saved_usd INTEGER NOT NULL, saved_nano INTEGER NOT NULL,
    saved_atto INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cached_input_tokens INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL, cache_write_1h_tokens INTEGER NOT NULL,
    audio_input_tokens INTEGER NOT NULL, image_input_tokens INTEGER NOT NULL, video_input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, audio_output_tokens INTEGER NOT NULL, image_output_tokens INTEGER NOT NULL,
    video_output_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, web_searches INTEGER NOT NULL,
    file_searches INTEGER NOT NULL, maps_queries INTEGER NOT NULL, tool_calls INTEGER NOT NULL,
    containers INTEGER NOT NULL, sessions INTEGER NOT NULL, generated_images INTEGER NOT NULL,
    input_images INTEGER NOT NULL, audio_seconds INTEGER NOT NULL, pages INTEGER NOT NULL,
    PRIMARY KEY (kind, period, group_id)
) STRICT, WITHOUT ROWID;

-- Why lines of these groups have no known cost.
CREATE TABLE spend_unknown (
    kind INTEGER NOT NULL,
    period INTEGER NOT NULL,
    group_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    batches INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    PRIMARY KEY (kind, period, group_id, reason)
) STRICT, WITHOUT ROWID;

-- seq: the last event in the sums.
CREATE TABLE spend_mark (
    name TEXT NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The metadata keys that batches are grouped by, of those that ended after the event `since`.
CREATE TABLE spend_metadata_key (
    name TEXT NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
