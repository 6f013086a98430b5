"""A place on disk for the input files of vendors that keep none, shared by any number of workers."""
