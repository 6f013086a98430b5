"""The answers of an ended batch: line by line, by custom_id, as a table."""
