"""AWS's refusals as batchmeter's own errors: by the name of the exception, which tells more than the status.

Bedrock says `ServiceQuotaExceededException` and `ConflictException` with 400; S3 says what is wrong in XML.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from html import unescape

from batchmeter import errors

from .names import Blob

QUOTA = "ServiceQuotaExceededException"
THROTTLED = "ThrottlingException"
_CLASSES: dict[str, tuple[type[errors.APIStatusError], int]] = {
    "AccessDenied": (errors.PermissionDeniedError, 403),
    "AccessDeniedException": (errors.PermissionDeniedError, 403),
    "AllAccessDisabled": (errors.PermissionDeniedError, 403),
    "ConflictException": (errors.ConflictError, 409),
    "ExpiredToken": (errors.AuthenticationError, 401),
    "ExpiredTokenException": (errors.AuthenticationError, 401),
    "IncompleteSignature": (errors.AuthenticationError, 401),
    "InternalError": (errors.InternalServerError, 500),
    "InternalServerException": (errors.InternalServerError, 500),
    "InvalidAccessKeyId": (errors.AuthenticationError, 401),
    "InvalidClientTokenId": (errors.AuthenticationError, 401),
    "InvalidSignatureException": (errors.AuthenticationError, 401),
    "InvalidToken": (errors.AuthenticationError, 401),
    "MissingAuthenticationToken": (errors.AuthenticationError, 401),
    "NoSuchBucket": (errors.NotFoundError, 404),
    "NoSuchKey": (errors.NotFoundError, 404),
    "NoSuchUpload": (errors.NotFoundError, 404),
    "RequestTimeTooSkewed": (errors.AuthenticationError, 401),
    "ResourceNotFoundException": (errors.NotFoundError, 404),
    QUOTA: (errors.RateLimitError, 429),
    "ServiceUnavailableException": (errors.InternalServerError, 503),
    "SignatureDoesNotMatch": (errors.AuthenticationError, 401),
    "SlowDown": (errors.InternalServerError, 503),
    THROTTLED: (errors.RateLimitError, 429),
    "TooManyRequestsException": (errors.RateLimitError, 429),
    "UnrecognizedClientException": (errors.AuthenticationError, 401),
    "ValidationException": (errors.BadRequestError, 400),
}
"""Name of an exception or of an S3 error -> class and status. Any other name keeps the status that it came with."""
_HINTS = {
    "AuthorizationHeaderMalformed": "is `region` (or bucket_region) the region of the bucket?",
    "NoSuchBucket": 'set "bucket" in the account, or AWS_S3_BUCKET_NAME',
    "PermanentRedirect": "the bucket is in another region: set `bucket_region`",
    "RequestTimeTooSkewed": "set this machine's clock",
}
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
_TAG = r"<{0}>([^<]*)</{0}>"


@contextmanager
def aws_errors(blob: Blob | None = None) -> Generator[None]:
    """Errors of calls inside, renamed; those of a HEAD, which say nothing, are told about `blob`."""
    try:
        yield
    except errors.APIStatusError as error:
        raise renamed(error, blob) from error


def renamed(error: errors.APIStatusError, blob: Blob | None = None) -> errors.APIStatusError:
    code = code_of(error)
    kind, status = _CLASSES.get(code, (type(error), error.status_code))
    text = xml_text(error.content, "Message") if error.content.lstrip().startswith(b"<") else None
    message = str(error) if text is None else f"{str(error).split(':', 1)[0]}: {text}"
    if blob is not None and status == 404:  # noqa: PLR2004 - not found
        message = f"No such {'bucket: ' + blob.bucket if code == 'NoSuchBucket' else 'file: ' + blob.uri}"
    if code in _HINTS:
        message += f"; {_HINTS[code]}"
    shown = {"message": message, "type": _TYPES.get(status, "api_error"), "param": None, "code": code or None}
    return kind(message, status_code=status, body={"error": shown}, content=error.content, headers=error.headers)


def code_of(error: errors.APIStatusError) -> str:
    """`ValidationException`, from the header (which goes on with an address), or from S3's XML."""
    header = error.headers.get("x-amzn-errortype", "")
    return header.partition(":")[0].rpartition("#")[2] or xml_text(error.content, "Code") or ""


def xml_text(content: bytes, tag: str) -> str | None:
    """The text of the first such element of a short answer of S3's."""
    match = re.search(_TAG.format(tag).encode(), content)
    return unescape(match[1].decode("utf-8", "replace")) if match else None
