-- Sums by day and a single thing that batches have in common, added to spend_sum.kind as 32 (account), 64 (provider),
-- 96 (model), 128 (team), 160 (user), 192 (key), 224 (status): a group of such a row names that thing only. The sums are added
-- up anew, from all events, before they are next read: a mark below 0 says so.
UPDATE spend_mark SET seq = -1 WHERE name = 'events';
