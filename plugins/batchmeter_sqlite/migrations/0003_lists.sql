-- What the lists of one key's batches and files are read from, in order.
CREATE INDEX batch_of_key_in_order ON batch (key_id, account, pk) WHERE key_id IS NOT NULL;
CREATE INDEX file_of_key_in_order ON file (json_extract(attribution, '$.key'), account, recorded_at, file_id)
    WHERE json_extract(attribution, '$.key') IS NOT NULL;
