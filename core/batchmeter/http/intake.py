"""What an intake's answer means for the event that was sent to it."""

from batchmeter.errors import APIStatusError, Rejected, RetryLater

_NEVER = frozenset({400, 413, 415, 422})
_LATER = frozenset({429, 503})


def delivery_error(error: APIStatusError) -> Exception:
    """Rejected for what will never be taken, RetryLater where the intake named a time, else the error itself.

    401 and 403 stay what they are: the deliverer pauses that logger instead of counting attempts.
    """
    if error.status_code in _NEVER:
        return Rejected(str(error))
    if error.status_code in _LATER and error.retry_after is not None:
        return RetryLater(str(error), after=error.retry_after)
    return error
