-- What pruned batches came to, so that sums over all that was ever settled do not shrink.
CREATE TABLE forgotten (
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    status TEXT NOT NULL,
    sums TEXT NOT NULL,
    PRIMARY KEY (provider, account, status)
) STRICT, WITHOUT ROWID;
