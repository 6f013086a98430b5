-- Sums of pruned batches: the table is named after them.
ALTER TABLE batchmeter.forgotten RENAME TO pruned_totals;
