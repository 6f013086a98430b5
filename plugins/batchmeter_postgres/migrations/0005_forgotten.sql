-- What pruned batches came to, so that sums over all that was ever settled do not shrink.
CREATE TABLE batchmeter.forgotten (
    provider text NOT NULL,
    account text NOT NULL,
    status text NOT NULL,
    sums text NOT NULL,
    PRIMARY KEY (provider, account, status)
);
