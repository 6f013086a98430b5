"""The OpenAI endpoints whose lines can be translated."""

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
