"""The error answers of the sandbox, in OpenAI's envelope."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class Refusal(Exception):  # noqa: N818 - an answer to send, not a failure of ours
    """An error to answer with."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        return self.message

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class Dropped(Exception):  # noqa: N818 - what happens to the connection, not a failure of ours
    """The connection is to break now, without an answer."""


def missing(param: str) -> Refusal:
    return Refusal(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def invalid(param: str, message: str) -> Refusal:
    return Refusal(400, message, param=param, code="invalid_value")


def no_file(file_id: str) -> Refusal:
    return Refusal(404, f"No such File object: {file_id}", param="id")


def no_batch(batch_id: str) -> Refusal:
    return Refusal(404, f"No batch found with id '{batch_id}'.")


def full() -> Refusal:
    return Refusal(413, "The sandbox is full: delete files, or raise its max_bytes.", code="storage_full")
