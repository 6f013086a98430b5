-- What an uploaded batch input may use: counted as it passed, priced when it is submitted. JSON of less than 2 kB.
ALTER TABLE file ADD COLUMN estimate TEXT;
