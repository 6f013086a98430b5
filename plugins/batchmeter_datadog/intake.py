"""Datadog's HTTPS intake: every post is acknowledged, or raises."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from batchmeter.errors import APIResponseError, APIStatusError, Rejected
from batchmeter.http import HttpClient, delivery_error, error_message
from batchmeter.http.failure import without_secrets

from .notes import Note
from .points import Counts, Samples
from .settings import DatadogSettings
from .spans import Span

_COUNT = 1
_SERIES = 1000
"""In one request: the intake takes half a megabyte."""


class Intake:
    """Agentless."""

    adds_up = False

    def __init__(self, settings: DatadogSettings) -> None:
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._version = settings.series
        self._http = HttpClient(settings.base_url, headers={"dd-api-key": key}, timeout=settings.timeout, max_retries=0)

    async def counts(self, second: int, counts: Counts) -> None:
        make = {"v1": _series_v1, "v2": _series_v2}[self._version]
        series = [make(metric, second, float(value), tags) for (metric, tags), value in counts.items()]
        for start in range(0, len(series), _SERIES):
            await post(self._http, f"api/{self._version}/series", {"series": series[start : start + _SERIES]})

    async def samples(self, second: int, samples: Samples) -> None:
        series = [
            {"metric": metric, "type": "distribution", "points": [[second, [value]]], "tags": tags}
            for (metric, tags), value in samples.items()
        ]
        await post(self._http, "api/v1/distribution_points", {"series": series})

    async def note(self, note: Note) -> None:
        body = {
            "title": note.title,
            "text": note.text,
            "alert_type": note.alert,
            "aggregation_key": note.group,
            "date_happened": note.happened,
            "tags": note.tags,
        }
        await post(self._http, "api/v1/events", body)

    async def spans(self, spans: Sequence[Span], tags: Sequence[str], ml_app: str, session: str | None) -> None:
        about = {"ml_app": ml_app, "tags": tags, "spans": spans, **({"session_id": session} if session else {})}
        body = {"data": {"type": "span", "attributes": about}}
        await post(self._http, "api/intake/llm-obs/v1/trace/spans", body)

    async def aclose(self) -> None:
        await self._http.aclose()


async def post(http: HttpClient, path: str, body: object, **headers: str) -> None:
    """Returns when it was accepted."""
    try:
        answer = await http.request("POST", path, json_body=body, headers=headers)
    except APIStatusError as error:
        raise delivery_error(error) from error
    content = without_secrets(answer.content, http.headers).strip()
    if answer.status_code >= 300 or content.startswith(b"<"):  # noqa: PLR2004 - a redirect, or somebody's login page
        raise APIResponseError(f"Datadog's intake answered {answer.status_code} {content[:60]!r}; is this its address?")
    document: object = (
        replace(answer, content=content).json() if content.startswith(b"{") else None
    )  # an agent may say plain OK
    errors: object = cast("dict[str, Any]", document).get("errors") if isinstance(document, dict) else None
    if errors:
        raise Rejected(f"Datadog accepted the request and refused what was in it: {error_message({'errors': errors})}")


def _series_v2(metric: str, second: int, value: float, tags: Sequence[str]) -> dict[str, Any]:
    """No host: from whichever machine it comes, it is the same series."""
    return {"metric": metric, "type": _COUNT, "points": [{"timestamp": second, "value": value}], "tags": tags}


def _series_v1(metric: str, second: int, value: float, tags: Sequence[str]) -> dict[str, Any]:
    return {"metric": metric, "type": "count", "points": [[second, value]], "tags": tags}
