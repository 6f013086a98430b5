-- progress: the most completed requests that any look at the batch has shown; -1 until one shows that it has started.
-- attempts: the troubles that kept its answers from being read, with how often and since when, as JSON.
ALTER TABLE batchmeter.batch ADD COLUMN progress bigint NOT NULL DEFAULT -1;
ALTER TABLE batchmeter.batch ADD COLUMN attempts text;
