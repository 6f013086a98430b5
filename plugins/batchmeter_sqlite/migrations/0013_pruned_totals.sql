-- Sums of pruned batches: the table is named after them.
ALTER TABLE forgotten RENAME TO pruned_totals;
