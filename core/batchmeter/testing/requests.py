"""Batch input files for tests."""

import json
from typing import Any


def lines_of(count: int, model: str, endpoint: str = "/v1/chat/completions") -> bytes:
    """OpenAI input lines `r-0`, `r-1`, …"""
    rows: list[dict[str, Any]] = [
        {
            "custom_id": f"r-{number}",
            "method": "POST",
            "url": endpoint,
            "body": {"model": model, "messages": [{"role": "user", "content": f"Say {number}."}]},
        }
        for number in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
