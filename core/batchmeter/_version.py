"""The version, read by the build and by `batchmeter version`."""

__version__ = "0.1.0"
