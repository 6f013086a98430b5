-- The last change of the sums of each day, by the number of changes in spend_mark; period -1 is that of all days at once.
CREATE TABLE spend_touched (
    period INTEGER NOT NULL PRIMARY KEY,
    changes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spend_touched_lately ON spend_touched (changes, period);
