-- Batches by the known part of their cost, for people who look through them.
CREATE INDEX batch_by_cost ON batch (known_usd, pk) WHERE known_usd IS NOT NULL;
