"""Jobs: input files of any size as the batches that their provider's limits ask for, followed to their end."""
