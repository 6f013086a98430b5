"""A scan's sums, the job that they belong to, and the way from sums to money."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, SkipValidation

from batchmeter.models import Cost, Frozen, LineCounts, ModelUsage, RatesUsed, ReportedCost, Usage
from batchmeter.pricing.groups import INPUT_BUCKETS, Group, GroupKey, Groups, PriceQuery, PriceSource, Rates
from batchmeter.pricing.price import MAX_DETAILS, Ask, Priced, PriceModel, Pricing, Share, Terms, price_groups

from .dialects import Dialects

if TYPE_CHECKING:
    from batchmeter.providers import ContentStream

UNKNOWN = "unknown"
"""The name under which lines are shown that no line, batch or input names a model for."""
LINES_MALFORMED = "lines_malformed"
"""Reason: lines that cannot be read, and may be answers that were billed."""
MAX_MODELS = 10_000
"""Different model names kept apart; a file that invents one a line must not fill the memory."""
FREE = "free"
"""`GroupKey.processing` of lines that their vendor does not bill (moderations): zero, and known to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Facts of a job that its lines do not state."""

    provider: str = "openai"
    endpoint: str | None = None
    region: str | None = None
    model: str | None = None
    """For lines that name none; for all lines where the vendor bills by the job's model."""
    models: Mapping[int, str] = field(default_factory=dict[int, str])
    """hash(custom_id) -> the model that the input names, for lines that name none."""
    priced_at: date | None = None
    """UTC date whose prices count; by default today."""
    completed: int | None = None
    """How many good answers there are, where the provider says: unreadable lines beyond these cost nothing."""
    created: date | None = None
    """UTC date the batch was created, to flag a price change since."""
    prices: PriceSource
    price_model: PriceModel | None = None
    """From a line's model to the one to price (a deployment -> its model)."""
    terms: Terms = field(default_factory=Terms)
    """The provider's declarations about its prices."""
    ask: Ask | None = None
    """Tried before `prices` (the `price_lines` hook)."""
    dialects: Dialects | None = None
    """How the rows count, where the provider's class says it itself; else as declared under the provider's name."""
    input_file: "Callable[[], AbstractAsyncContextManager[ContentStream]] | None" = None
    """Opens the batch's input; read only when a line names no model and neither does the job."""


@dataclass(frozen=True, slots=True)
class MalformedLine:
    """A line that is no answer at all."""

    file: str | None
    line: int
    """1-based, blank lines counted."""
    reason: str
    """`invalid_json`, `not_an_answer`, `a_request`, `line_too_long`, `gzip_corrupt`, `gzip_truncated`, …"""
    sample: str
    """Its first 120 bytes."""


@dataclass(slots=True)
class Tally:
    """Sums over all lines of a job."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    malformed: int = 0
    duplicates: int = 0
    """Lines whose custom_id came before; they are counted and billed, as vendors do."""
    repeated: int = 0
    """Rows that were exported twice, or are in two files: counted and billed once."""
    groups: dict[GroupKey, Group] = field(default_factory=dict[GroupKey, Group])
    unmetered: Counter[tuple[str | None, str]] = field(default_factory=Counter[tuple[str | None, str]])
    """(model, reason) -> succeeded lines without usable usage."""
    details: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Reason of `unmetered` -> its first lines, as `file-abc line 7`."""
    failures: Counter[str] = field(default_factory=Counter[str])
    """Error code -> lines."""
    bad_lines: list[MalformedLine] = field(default_factory=list[MalformedLine])
    notes: Counter[str] = field(default_factory=Counter[str])
    manifest: Mapping[str, int] | None = None
    """Bucket -> units: the vendor's own sums of the job."""
    strangers: Counter[str] = field(default_factory=Counter[str])
    """Lines that are something else than answers, by what they are."""

    def lacks(self, model: str | None, reason: str, detail: str) -> None:
        """One succeeded line without usable usage."""
        many = len(self.unmetered) >= MAX_MODELS and (model, reason) not in self.unmetered
        self.unmetered[None if many else model, reason] += 1
        kept = self.details.setdefault(reason, [])
        if len(kept) < MAX_DETAILS:
            kept.append(detail)

    def is_nameless(self) -> bool:
        """Whether some of its lines name no model."""
        return any(key.model is None for key in self.groups) or any(model is None for model, _ in self.unmetered)

    def doubtful(self, completed: int | None) -> int:
        """Unreadable lines that may be billed answers: all of them, unless the provider counts fewer."""
        return self.malformed if completed is None else min(self.malformed, max(completed - self.succeeded, 0))


_USAGE = {
    "input_tokens": INPUT_BUCKETS,
    "cached_input_tokens": ("cached_input", "cached_audio_in", "cached_image_in", "cached_video_in"),
    "cache_write_5m_tokens": ("cache_write_5m",),
    "cache_write_1h_tokens": ("cache_write_1h",),
    "audio_input_tokens": ("audio_in",),
    "image_input_tokens": ("image_in",),
    "video_input_tokens": ("video_in",),
    "output_tokens": ("output", "audio_out", "image_out", "video_out"),
    "audio_output_tokens": ("audio_out",),
    "image_output_tokens": ("image_out",),
    "video_output_tokens": ("video_out",),
    "web_searches": ("web_search",),
    "file_searches": ("file_search",),
    "maps_queries": ("maps_query",),
    "tool_calls": ("tool_call",),
    "containers": ("container",),
    "sessions": ("session",),
    "generated_images": ("image_generation",),
    "input_images": ("input_image",),
    "audio_seconds": ("audio_second",),
    "pages": ("page",),
}
"""Usage field -> the buckets it sums."""


class Metering(Frozen, frozen=True):
    """The result of metering a job's output."""

    lines: LineCounts = LineCounts()
    usage: Usage = Usage()
    cost: Cost = Cost()
    models: dict[str, ModelUsage] = Field(default_factory=dict[str, ModelUsage])
    failures: dict[str, int] = Field(default_factory=dict[str, int])
    """Error code -> failed lines."""
    malformed_lines: tuple[MalformedLine, ...] = ()
    """The first twenty."""
    duplicates: int = 0
    """Lines with a custom_id that came before; counted and billed."""
    notes: tuple[str, ...] = ()
    """Notes for the reader: `usage_read_by_total`, `usage_from_manifest`, `rows_repeated`, …"""
    rates: tuple[RatesUsed, ...] = ()
    """Rates that every group of lines was priced at."""
    reported_cost: ReportedCost | None = None
    """The vendor's own amounts on the rows, where it names any."""
    groups: Annotated[Groups, SkipValidation] = Field(default_factory=dict[GroupKey, Group], exclude=True, repr=False)
    """Groups that were priced: the ledger keeps them, to price again without the file."""


def metered(tally: Tally, job: Job) -> Metering:
    """Price a finished scan."""
    _fill(tally, job)
    if tally.repeated:
        tally.notes["rows_repeated"] = tally.repeated
    if tally.duplicates:
        tally.notes["duplicate_custom_ids"] = tally.duplicates
    reasons: Counter[str] = Counter()
    lacking: dict[str, Counter[str]] = {}
    for (model, reason), lines in tally.unmetered.items():
        reasons[reason] += lines
        lacking.setdefault(model or UNKNOWN, Counter())[reason] += lines
    if doubtful := tally.doubtful(job.completed):
        reasons[LINES_MALFORMED] = doubtful
    details = {**tally.details, LINES_MALFORMED: [_place(line) for line in tally.bad_lines]}
    priced = price(tally.groups, job, reasons, details)
    return Metering(
        lines=LineCounts(
            total=tally.total,
            succeeded=tally.succeeded,
            failed=tally.failed,
            malformed=tally.malformed,
            unpriced=priced.unpriced_lines - doubtful,
        ),
        usage=usage_of(tally.groups.values()),
        cost=priced.cost,
        models=models_of(tally.groups, lacking, priced),
        failures=dict(tally.failures.most_common()),
        malformed_lines=tuple(tally.bad_lines),
        duplicates=tally.duplicates,
        notes=tuple(sorted({*tally.notes, *priced.notes})),
        rates=priced.rates,
        reported_cost=priced.reported,
        groups=tally.groups,
    )


def _place(line: MalformedLine) -> str:
    return f"line {line.line}" if line.file is None else f"{line.file} line {line.line}"


def _fill(tally: Tally, job: Job) -> None:
    """Where no row of a job counted and its manifest does, the manifest's sums are the usage of all its rows."""
    sums, models = tally.manifest, {model for model, _ in tally.unmetered}
    if sums is None or tally.groups or len(models) != 1 or not any(sums.values()):
        return
    if all(reason == "usage_missing" for _, reason in tally.unmetered):
        counts = {bucket: units for bucket, units in sums.items() if units}
        tally.groups[GroupKey(models.pop() or job.model)] = Group(tally.unmetered.total(), counts)
        tally.unmetered.clear()
        tally.notes["usage_from_manifest"] += 1


def price(
    groups: Groups, job: Job, unknown: Mapping[str, int], details: Mapping[str, Sequence[str]] | None = None
) -> Priced:
    """`unknown`: lines in no group, by reason; `details`: the first of them."""

    def ask(query: PriceQuery) -> Rates | None:
        if query.processing == FREE:
            return Rates({}, origin="free")
        return job.ask(query) if job.ask else None

    pricing = Pricing(
        provider=job.provider,
        source=job.prices,
        at=job.priced_at or datetime.now(UTC).date(),
        region=job.region,
        batch_created=job.created,
        price_model=job.price_model,
        ask=ask,
        terms=job.terms,
    )
    return price_groups(groups, pricing, unknown=unknown, details=details)


def models_of(groups: Groups, lacking: Mapping[str, Mapping[str, int]], priced: Priced) -> dict[str, ModelUsage]:
    """By name, most lines first. `lacking`: lines in no group, by model and reason; they leave its cost unknown."""
    lines = Counter({name: sum(reasons.values()) for name, reasons in lacking.items()})
    by_name: dict[str, list[Group]] = {}
    for key, group in groups.items():
        name = key.model or UNKNOWN
        lines[name] += group.lines
        by_name.setdefault(name, []).append(group)
    shares = {model or UNKNOWN: share for model, share in priced.models.items()}
    models: dict[str, ModelUsage] = {}
    for name, count in lines.most_common():
        share = shares.get(name, Share())
        unknown = share.unknown + Counter[str](lacking.get(name, {}))
        models[name] = ModelUsage(
            lines=count,
            usage=usage_of(by_name.get(name, ())),
            cost=None if unknown else share.known,
            known=share.known,
            unknown=dict(sorted(unknown.items())),
            list_price=None if unknown else share.list_price,
        )
    return models


def usage_of(groups: Iterable[Group]) -> Usage:
    """Tokens over these groups."""
    counts: Counter[str] = Counter()
    reasoning = 0
    for group in groups:
        counts.update(group.counts)
        reasoning += group.reasoning
    sums = {name: sum(counts[bucket] for bucket in buckets) for name, buckets in _USAGE.items()}
    return Usage(**sums, reasoning_tokens=reasoning)
