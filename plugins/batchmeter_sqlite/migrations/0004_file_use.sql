-- When a batch last read the file: what is in use is not forgotten, however long ago it was uploaded.
ALTER TABLE file ADD COLUMN used_at INTEGER;
