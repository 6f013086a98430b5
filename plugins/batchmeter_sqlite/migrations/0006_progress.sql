-- progress: the most completed requests that any look at the batch has shown; -1 until one shows that it has started.
-- attempts: the troubles that kept its answers from being read, with how often and since when, as JSON.
ALTER TABLE batch ADD COLUMN progress INTEGER NOT NULL DEFAULT -1;
ALTER TABLE batch ADD COLUMN attempts TEXT;
