"""Calls at any account in OpenAI's shapes: files, and batches from their submission to their settlement."""
