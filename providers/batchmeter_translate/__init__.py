"""OpenAI lines to Gemini and Claude requests, and their answers back: shared by the providers that need it."""
