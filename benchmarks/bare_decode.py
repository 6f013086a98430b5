"""The floor under a meter: decoding a line into the members that no meter can do without, and nothing else."""

import msgspec


class _Cached(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    audio_tokens: int | None = None


class _Reasoned(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Reasoned | None = None


class _Body(msgspec.Struct, gc=False):
    model: str | None = None
    usage: _Usage | None = None


class _Response(msgspec.Struct, gc=False):
    status_code: int | None = None
    body: _Body | None = None


class _Line(msgspec.Struct, gc=False):
    """The members that a meter cannot do without."""

    custom_id: str | None = None
    response: _Response | None = None


decode = msgspec.json.Decoder(_Line).decode
