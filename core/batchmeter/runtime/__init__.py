"""An open client: its parts are opened and closed in one place, its plugins get a host, and tables of their own."""
