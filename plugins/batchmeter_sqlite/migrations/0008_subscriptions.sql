-- Who is owed events, whichever process has it: loggers, redactors (kind `redact`), and the callbacks of programs.

-- kinds: ',acreate_batch,batch_success,' or '*' where they are not known. scoped: owed only the batches that name it.
CREATE TABLE subscription (
    name TEXT NOT NULL PRIMARY KEY,
    kinds TEXT NOT NULL,
    scoped INTEGER NOT NULL,
    since INTEGER NOT NULL,
    last_seen INTEGER,
    ended_at INTEGER,
    problem TEXT
) STRICT, WITHOUT ROWID;

-- A logger that had deliveries goes on; the next process that opens with it says what it handles.
INSERT INTO subscription (name, kinds, scoped, since, last_seen)
SELECT d.logger, '*', CASE WHEN substr(d.logger, 1, 3) = 'on:' THEN 1 ELSE 0 END, min(e.recorded_at), max(d.delivered_at)
FROM delivery AS d JOIN event AS e ON e.seq = d.event_seq
GROUP BY d.logger;
