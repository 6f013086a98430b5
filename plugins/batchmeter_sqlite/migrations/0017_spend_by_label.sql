-- Sums by day and one label (a tag, or a metadata key's value), added to spend_sum.kind as 256; a label with an empty value
-- is that of all batches that have one of this name. The sums are added up anew, from all events, before they are next read.
UPDATE spend_mark SET seq = -1 WHERE name = 'events';
