"""Faces of the async client: the module's functions with their default client, and the blocking client."""
