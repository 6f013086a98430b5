"""One create's submission, before the batch is made: its facts for the ledger, and the hash by which repeats are the same."""

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from batchmeter.events import full_endpoint
from batchmeter.ledger.records import Again, Submission
from batchmeter.models import Attribution
from batchmeter.parts import Parts
from batchmeter.providers import BatchRequest, Provider, waits_for_room
from batchmeter.tracker.metadata_tag import untagged


def submission_of(
    provider: Provider,
    request: BatchRequest,
    attribution: Attribution | None,
    traceparent: str | None,
    extra_body: Mapping[str, Any] | None,
) -> Submission:
    """The facts known of a batch before it is made; the caller's own trace where none is given."""
    extra = extra_body or {}
    source = request.input_file_id or extra.get("input_blob")
    signed = any("?" in str(url) for url in (source, extra.get("input_blob"), extra.get("output_folder")))
    if source and source.startswith(("https://", "http://")):
        source = source.partition("?")[0]  # a blob's URL as it may be kept
    expiry = None if request.output_expires_after is None else dict(request.output_expires_after)
    return Submission(
        account=provider.account,
        provider=provider.name,
        endpoint=request.endpoint,
        region=provider.region,
        input_file_id=source,
        model=request.model,
        metadata=untagged(request.metadata),
        attribution=attribution or Attribution(),
        traceparent=traceparent or current_traceparent(),
        # A signature is not kept, and without it there is no second try.
        again=Again(expiry, dict(extra)) if waits_for_room(provider) and not signed else None,
    )


def current_traceparent() -> str | None:
    """The caller's W3C trace context, if OpenTelemetry is in use in this process."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


async def request_sha256(parts: Parts, account: str, request: BatchRequest, extra: Mapping[str, Any]) -> str:
    """Of all that makes two requests the same. An input file is its content where it was uploaded through us.

    Two spellings of one thing are the same: an endpoint without `/v1`, and what is empty or left out.
    """
    content = None
    if request.input_file_id is not None:
        content = await parts.ledger.file_sha256(account, request.input_file_id)
    parts_of_it = [
        content or request.input_file_id,
        full_endpoint(request.endpoint),
        request.completion_window,
        untagged(request.metadata),
        request.output_expires_after or None,
        request.model or None,
        extra,
    ]
    return hashlib.sha256(json.dumps(parts_of_it, sort_keys=True, default=dict).encode()).hexdigest()
