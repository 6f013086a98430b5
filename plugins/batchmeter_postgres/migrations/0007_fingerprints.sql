-- A repeated idempotency key with another request is refused: what was asked, and what an uploaded file held, by SHA-256.
ALTER TABLE batchmeter.intent ADD COLUMN request_sha256 text;
ALTER TABLE batchmeter.answer ADD COLUMN request_sha256 text;
ALTER TABLE batchmeter.file ADD COLUMN sha256 text;
