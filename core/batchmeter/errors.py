"""Every error batchmeter raises.

BatchmeterError
├── UsageError                    the call, file or configuration has to change (CLI exit code 2)
│   ├── ConfigError               a setting is unknown, missing or wrong; the message names it and its file or variable
│   ├── UnknownAccountError       custom_llm_provider names no account
│   ├── SubmissionRefusedError    a plugin's before_submit refused a new batch
│   │   ├── BudgetExceededError       it may cost more than a budget has left (CLI exit code 3)
│   │   └── QueueFullError            not now: a queue is full; .retry_after seconds
│   ├── IdempotencyMismatchError  an idempotency key was used before with another input or options; nothing was sent
│   └── InvalidInputError         a batch input file is refused; .problems lists line, custom_id and why
├── ProviderError                 something at the provider (CLI exit code 1)
│   ├── APIStatusError            it answered with an error: .status_code .body .headers .request_id .retry_after
│   │   ├── BadRequestError           400
│   │   ├── AuthenticationError       401
│   │   ├── PermissionDeniedError     403
│   │   ├── NotFoundError             404
│   │   ├── ConflictError             409
│   │   ├── UnprocessableEntityError  422
│   │   ├── RateLimitError            429
│   │   └── InternalServerError       5xx
│   ├── APIConnectionError        no answer at all: name, socket or TLS
│   │   ├── APITimeoutError       … in time
│   │   └── CreateUnknownError    a create got no answer: the batch may exist; the tracker will find out
│   └── APIResponseError          an answer that is not what its API promises (HTML, truncated, wrong length)
├── NotAnOutputError              a file that is to be metered holds no answers; the message says what it is
├── NotSupportedError             this provider cannot do that
├── LedgerError                   the ledger cannot be used; the message says how to mend it
│   └── LedgerTooNewError         written by a newer batchmeter
├── ClosedError                   batchmeter was closed, or the interpreter ends, while a call was under way
├── RedactorMissingError          a plugin that redacts events does not work here: none leaves until it does or is abandoned
├── SettlementError               a batch ended but could not be settled in time
└── DeliveryError                 raised BY logger plugins, to say what to do with an event
    ├── RetryLater                again, not before .after seconds
    │   └── NotDue                … since it is too early: nothing is wrong
    └── Rejected                  never again: .reason
"""

import email.utils
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal


class BatchmeterError(Exception):
    """Base of everything raised on purpose."""


class UsageError(BatchmeterError): ...


class ConfigError(UsageError): ...


class UnknownAccountError(UsageError): ...


class SubmissionRefusedError(UsageError):
    """A plugin's `before_submit` refused the batch; nothing was sent."""


class BudgetExceededError(SubmissionRefusedError):
    """A budget has too little left for what the batch may cost; nothing was sent, and nothing is reserved for it."""

    def __init__(
        self,
        message: str,
        *,
        budget: str,
        limit: "Decimal",
        spent: "Decimal",
        reserved: "Decimal",
        amount: "Decimal | None",
        until: "datetime | None",
        code: str = "budget_exceeded",
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.budget = budget
        self.limit = limit
        """USD, as all amounts here."""
        self.spent = spent
        self.reserved = reserved
        """For batches under way, those whose cost stayed unknown included."""
        self.amount = amount
        """Of this batch; None where nobody can tell (`code` is then `cost_unknown` or `input_file_not_checked`)."""
        self.until = until
        """When the budget's period ends; None for one without end."""
        self.code = code
        self.retry_after = retry_after
        """Seconds to `until`."""


class QueueFullError(SubmissionRefusedError):
    """A limit of what may be under way at once is reached; nothing was sent."""

    def __init__(
        self, message: str, *, code: str = "enqueued_token_limit", retry_after: int = 60, waits: bool = True
    ) -> None:
        super().__init__(message)
        self.waits = waits
        """Whether a create that may wait tries again."""
        self.code = code
        self.retry_after = retry_after
        """Seconds."""


class IdempotencyMismatchError(UsageError): ...


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input file; codes are OpenAI's (`invalid_json_line`, `duplicate_custom_id`, …)."""

    code: str
    message: str
    line: int | None = None
    """1-based."""
    custom_id: str | None = None
    param: str | None = None
    """The field that is wrong, as OpenAI names it: `body.messages`."""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        who = f" (custom_id {self.custom_id!r})" if self.custom_id is not None else ""
        return f"{where}{self.message}{who} [{self.code}]"


class InvalidInputError(UsageError):
    """A batch input file breaks the provider's rules; nothing was uploaded or submitted."""

    def __init__(self, source: str, problems: Sequence[Problem], more: int = 0) -> None:
        self.problems = tuple(problems)
        shown = "\n  ".join(str(problem) for problem in problems)
        rest = f"\n  … and {more} more" if more else ""
        super().__init__(f"{source} is not a valid batch input file:\n  {shown}{rest}")


class NotAnOutputError(BatchmeterError): ...


class ProviderError(BatchmeterError): ...


class APIStatusError(ProviderError):
    """The provider answered with an error status; status, body and headers are as it sent them."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        body: object | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.body = body
        """Parsed JSON where it was JSON, else the text."""
        self.content = content
        self.headers: Mapping[str, str] = dict(headers or {})

    @property
    def request_id(self) -> str | None:
        names = ("x-request-id", "apim-request-id", "request-id")
        return next((found for name in names if (found := self.headers.get(name))), None)

    @property
    def retry_after(self) -> float | None:
        """Seconds, from `retry-after-ms` or `retry-after`."""
        return retry_after_seconds(self.headers)

    @property
    def code(self) -> str | None:
        """OpenAI's `error.code`, where the body has one."""
        raw: object = self.body
        if not isinstance(raw, dict):
            return None
        body = cast("dict[str, object]", raw)
        error = body.get("error", body)
        code = cast("dict[str, object]", error).get("code") if isinstance(error, dict) else None
        return None if code is None else str(code)


class BadRequestError(APIStatusError): ...


class AuthenticationError(APIStatusError): ...


class PermissionDeniedError(APIStatusError): ...


class NotFoundError(APIStatusError): ...


class ConflictError(APIStatusError): ...


class UnprocessableEntityError(APIStatusError): ...


class RateLimitError(APIStatusError): ...


class InternalServerError(APIStatusError): ...


class APIConnectionError(ProviderError):
    """No answer: the name did not resolve, nobody listened, or the connection broke."""

    def __init__(self, message: str, *, never_sent: bool = False) -> None:
        super().__init__(message)
        self.never_sent = never_sent
        """True when no byte of the request left: nothing can have happened at the provider."""


class APITimeoutError(APIConnectionError): ...


class APIResponseError(ProviderError): ...


def made_nothing(error: ProviderError) -> bool:
    """A 4xx, or a request that never left. After a 5xx, a time-out or a cut line, nobody knows what a create made."""
    if isinstance(error, APIStatusError):
        return error.status_code < 500 and error.status_code != 408  # noqa: PLR2004 - 5xx; 408 request timeout
    return isinstance(error, APIConnectionError) and error.never_sent


class CreateUnknownError(APIConnectionError):
    """The provider may or may not have made the batch; the intent stays open until the tracker knows."""

    def __init__(self, message: str, *, intent_id: str) -> None:
        super().__init__(message)
        self.intent_id = intent_id
        """The value of the metadata key `batchmeter_id` that the batch carries, if it exists."""


class NotSupportedError(BatchmeterError): ...


class LedgerError(BatchmeterError): ...


class LedgerTooNewError(LedgerError): ...


class ClosedError(BatchmeterError): ...


class RedactorMissingError(BatchmeterError): ...


class SettlementError(BatchmeterError): ...


class DeliveryError(BatchmeterError): ...


class RetryLater(DeliveryError):  # noqa: N818 - plugin authors read `raise RetryLater`
    """Deliver again, not before `after` seconds (None: the deliverer's own back-off)."""

    def __init__(self, message: str = "", *, after: float | None = None) -> None:
        super().__init__(message or "the logger asked to be called again")
        self.after = after


class NotDue(RetryLater):
    """Too early for this event: nothing is wrong, and the logger's other events are delivered meanwhile."""

    def __init__(self, message: str, *, after: float) -> None:
        super().__init__(message, after=after)


class Rejected(DeliveryError):  # noqa: N818 - plugin authors read `raise Rejected`
    """This event will never be accepted; it is kept as dead and can be replayed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def retry_after_seconds(headers: Mapping[str, object]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or an HTTP date), names in any case.

    Some vendors send `retry-after-ms: 0` beside the seconds that it means. Of a header that came twice, as a list of
    a plugin's HTTP library, the first one counts.
    """
    given = {str(name).lower(): _first(value) for name, value in headers.items()}
    millis, seconds = _finite(given.get("retry-after-ms")), _finite(given.get("retry-after"))
    if millis is not None and (millis > 0 or "retry-after" not in given):
        return max(0.0, millis / 1000)
    return _until(given.get("retry-after")) if seconds is None else max(0.0, seconds)


def seconds_of(header: object) -> float | None:
    """A pause as a backend or a plugin gave it, a number or its text; None for NaN and for all that is no number."""
    try:
        number = float(cast("str", header))
    except OverflowError:
        return math.inf
    except Exception:  # noqa: BLE001 - a class of numbers of somebody else's may raise anything
        return None
    return None if math.isnan(number) else number


def _finite(value: object) -> float | None:
    number = seconds_of(value)
    return None if number is None or math.isinf(number) else number


def _until(date: object) -> float | None:
    found = email.utils.parsedate_tz(date) if isinstance(date, str) else None
    try:
        return None if found is None else max(0.0, email.utils.mktime_tz(found) - time.time())
    except (ValueError, OverflowError):  # a year that no calendar has
        return None


def _first(value: object) -> object:
    if isinstance(value, list | tuple):
        several = cast("Sequence[object]", value)
        value = several[0] if several else None
    return value.decode("latin-1") if isinstance(value, bytes) else value
