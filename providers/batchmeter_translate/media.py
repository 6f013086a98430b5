"""Images, audio, files and video of a message as Gemini parts."""

import re
from collections.abc import Callable
from typing import Any

from .shape import Json, mapping
from .untranslatable import UntranslatableError

_DATA = re.compile(r"data:([^;,]+)((?:;[^,]*)?),", re.DOTALL)
_BY_EXTENSION = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "m4a": "audio/m4a",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "flac": "audio/flac",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "avi": "video/avi",
    "webm": "video/webm",
    "wmv": "video/wmv",
    "3gp": "video/3gpp",
    "flv": "video/x-flv",
}
_SCHEMES = ("gs://", "https://", "http://")


def data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 of a `data:` URL; None for another URL."""
    match = _DATA.match(url)
    if match is None:
        return None
    if ";base64" not in match[2]:
        raise UntranslatableError("messages", "a data: URL has to be base64", "invalid_value")
    return match[1], url[match.end() :]


def source(url: str, media_type: object, param: str) -> Json:
    """`{inlineData}` or `{fileData}`; the media type as given, or by the name's extension."""
    inline = data_url(url)
    if inline is not None:
        return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}
    if not url.startswith(_SCHEMES):
        raise UntranslatableError(param, f"{url[:80]!r} is neither a data:, gs:// nor https:// URL", "invalid_value")
    extension = url.split("?", 1)[0].rsplit("/", 1)[-1].rpartition(".")[2].lower()
    found = media_type or _BY_EXTENSION.get(extension)
    if not found:
        raise UntranslatableError(
            param, f"the media type of {url[:80]!r} is not to be seen from its name; add `format`", "invalid_value"
        )
    return {"fileData": {"mimeType": str(found), "fileUri": url}}


def _text(part: Json) -> Json | None:
    text = part.get("text")
    if not isinstance(text, str):
        raise UntranslatableError("messages", "a text part without text", "invalid_value")
    return {"text": text} if text else None


def _refusal(part: Json) -> Json:
    return {"text": str(part.get("refusal") or "")}


def _image(part: Json) -> Json:
    return _url("image_url", part)


def _video(part: Json) -> Json:
    return _url("video_url", part)


def _url(kind: str, part: Json) -> Json:
    value: Any = part.get(kind)
    given = mapping(value)
    url = value if isinstance(value, str) else given.get("url")
    if not isinstance(url, str):
        raise UntranslatableError("messages", f"{kind} without a url", "invalid_value")
    return source(url, given.get("format"), f"messages.{kind}")


def _audio(part: Json) -> Json:
    audio = mapping(part.get("input_audio"))
    if not isinstance(audio.get("data"), str):
        raise UntranslatableError("messages", "input_audio without data", "invalid_value")
    return {"inlineData": {"mimeType": f"audio/{audio.get('format') or 'wav'}", "data": audio["data"]}}


def _file(part: Json) -> Json:
    file = mapping(part.get("file"))
    data, file_id = file.get("file_data"), file.get("file_id")
    if isinstance(data, str):
        url = data if data.startswith("data:") else f"data:{_named(file)};base64,{data}"
        return source(url, file.get("format"), "messages.file")
    if isinstance(file_id, str) and file_id.startswith(_SCHEMES):
        return source(file_id, file.get("format"), "messages.file")
    raise UntranslatableError("messages", "Gemini reads a file from file_data, or a file_id that is a gs:// URI")


def _named(file: Json) -> str:
    extension = str(file.get("filename") or "").rpartition(".")[2].lower()
    return str(file.get("format") or _BY_EXTENSION.get(extension, "application/pdf"))


PARTS: dict[str, Callable[[Json], Json | None]] = {
    "text": _text,
    "input_text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "video_url": _video,
    "input_audio": _audio,
    "file": _file,
}
"""OpenAI's content part types -> how each becomes a Gemini part."""
