-- What the lists of one key's batches and files are read from, in order.
CREATE INDEX batch_of_key_in_order ON batchmeter.batch (key_id, account, pk) WHERE key_id IS NOT NULL;

-- A quote inside JSON text is escaped, so this is the member; and a JSON function would refuse \u0000 in a tag.
CREATE FUNCTION batchmeter.key_of(attribution text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN substring(attribution FROM '"key":"([^"\\]*)"');
CREATE INDEX file_of_key_in_order ON batchmeter.file (batchmeter.key_of(attribution), account, recorded_at, file_id)
    WHERE batchmeter.key_of(attribution) IS NOT NULL;
