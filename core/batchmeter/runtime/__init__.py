"""An open client: its settings are read, its parts opened and closed in one place, its plugins get a host and tables."""
