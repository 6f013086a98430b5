-- Batches by what is known of their cost, the costliest first, for people who look through them.
CREATE INDEX batch_by_cost ON batch (known_usd, pk) WHERE known_usd IS NOT NULL;
