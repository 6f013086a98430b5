-- The last change of the sums of each day, by the number of changes in spend_mark; period -1 is that of all days at once.
CREATE TABLE batchmeter.spend_touched (
    period integer NOT NULL PRIMARY KEY,
    changes bigint NOT NULL
);
CREATE INDEX spend_touched_lately ON batchmeter.spend_touched (changes, period);
