"""Lines in, Bedrock's records out: OpenAI's translated by the family of their model, Bedrock's own checked and passed on."""

import json
from collections.abc import Iterable

from batchmeter.inputs import InputLimits
from batchmeter_translate.endpoints import CHAT, EMBEDDINGS
from batchmeter_translate.lines_in import LineTranslation
from batchmeter_translate.shape import Json, is_object
from batchmeter_translate.untranslatable import UntranslatableError

from .families import Family, family_of, texts_of
from .names import foundation, model_id
from .record_ids import FITS, part_name, to_record
from .settings import BedrockSettings

MOST_BYTES = 1_000_000_000
"""Bytes of one file."""


def limits_by(settings: BedrockSettings) -> InputLimits:
    return InputLimits(
        bytes=MOST_BYTES,
        lines=settings.max_records,
        embedding_inputs=settings.max_records,
        endpoints=frozenset({CHAT, EMBEDDINGS}),
    )


class RowWriter(LineTranslation):
    """One file's records."""

    def __init__(self, source: str, settings: BedrockSettings, *, checked: bool = True) -> None:
        super().__init__(source, limits_by(settings) if checked else None)
        self._settings = settings
        self._kept_size = 0
        self._last_kept = ("", 0)
        self.kept: list[bytes] = []
        """Long ids since the last look: one JSON text a line."""
        self.count = 0
        """Records so far."""
        self.model = ""
        """The model as the job will name it, once a line told."""
        self.family: Family | None = None

    def rows(self, url: str, custom_id: str, body: Json) -> Iterable[Json]:
        if self.family is None:
            self.family = self._choose(url, body.get("model"))
        model = self._behind(self.model)
        if not self.family.one_text:
            body = self._limited(body) if self.family.name == "claude" else body
            return [self._record(to_record(custom_id, self._keep), self.family.write(body, model, self.notes))]
        texts = texts_of(body)
        in_base64 = body.get("encoding_format") == "base64"
        return [
            self._record(self._part(custom_id, number, len(texts), in_base64), self._one(body, text, model))
            for number, text in enumerate(texts)
        ]

    def _part(self, custom_id: str, number: int, count: int, in_base64: bool) -> str:
        alone = count == 1 and not in_base64
        return to_record(custom_id, self._keep, "" if alone else part_name(number, count, base64=in_base64))

    def _one(self, body: Json, text: str, model: str) -> Json:
        assert self.family is not None
        return self.family.write({**body, "input": text}, model, self.notes)

    def _limited(self, body: Json) -> Json:
        named = body.get("max_tokens") or body.get("max_completion_tokens") or not self._settings.max_tokens
        return body if named else {**body, "max_tokens": self._settings.max_tokens}

    def _record(self, record_id: str, model_input: Json) -> Json:
        self.count += 1
        return {"recordId": record_id, "modelInput": model_input}

    def _keep(self, custom_id: str) -> int:
        """One place for all records of a request."""
        if custom_id == self._last_kept[0]:
            return self._last_kept[1]
        place, line = self._kept_size, json.dumps(custom_id).encode() + b"\n"
        self._kept_size += len(line)
        self.kept.append(line)
        self._last_kept = (custom_id, place)
        return place

    def _behind(self, model: str) -> str:
        return foundation(self._settings.models.get(model, model))

    def _choose(self, url: str, model: object) -> Family:
        """The first line decides for the file: a job has one model, and one way to ask it."""
        if not isinstance(model, str) or not model:
            raise UntranslatableError("model", "`body` has no `model`", "missing_required_parameter")
        self.model = model_id(model)
        family = family_of(self._behind(self.model))
        if family is None or "application-inference-profile" in self._behind(self.model):
            raise UntranslatableError(
                "model",
                f"no translation for {model!r}: name the model behind it under `models` in the account, or send its own "
                'rows, with format = "native"',
                "model_not_found",
            )
        if family.endpoint != url:
            raise UntranslatableError("model", f"{model!r} answers {family.endpoint}, not {url}", "model_not_found")
        return family


class NativeWriter(RowWriter):
    """A file of Bedrock's own records."""

    body_name = "modelInput"

    def __init__(self, source: str, settings: BedrockSettings) -> None:
        super().__init__(source, settings, checked=False)
        self._lines_of: dict[int, int] = {}
        """Hash of a recordId -> its line."""

    def request(self, line: Json) -> tuple[str, str, Json]:
        record, model_input = line.get("recordId"), line.get("modelInput")
        if not is_object(model_input) or not model_input:
            raise UntranslatableError("modelInput", "the line has no `modelInput`", "missing_required_parameter")
        if record is None:
            return "", "", model_input
        if not isinstance(record, str) or not FITS.fullmatch(record):
            raise UntranslatableError(
                "recordId", f"`recordId` is {record!r}; Bedrock takes 1 to 64 letters and digits", "invalid_value"
            )
        first = self._lines_of.setdefault(hash(record), self.number)
        if first != self.number:
            raise UntranslatableError(
                "recordId", f"recordId already used on line {first}; make it unique", "duplicate_custom_id"
            )
        return record, "", model_input

    def rows(self, url: str, custom_id: str, body: Json) -> Iterable[Json]:
        del url
        record = self._record(custom_id, body)
        return [record if custom_id else {"modelInput": body}]
