-- A repeated idempotency key with another request is refused: what was asked, and what an uploaded file held, by SHA-256.
ALTER TABLE intent ADD COLUMN request_sha256 TEXT;
ALTER TABLE answer ADD COLUMN request_sha256 TEXT;
ALTER TABLE file ADD COLUMN sha256 TEXT;
