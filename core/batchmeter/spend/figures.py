"""Spend figures: the exact integers that one settled batch adds to the sums, by account, model, labels and status."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import IntFlag

from batchmeter.events import INVENTED
from batchmeter.ledger.serialize import storable
from batchmeter.models import Usage

from .periods import DAY_MILLIS, month_of
from .settled import Settled, Share, Sums

UNITS = tuple(Usage.model_fields)
COLUMNS = (
    "batches", "incomplete", "inexact", "lines", "failed", "unpriced",
    "usd", "nano", "atto", "list_lines", "list_usd", "list_nano", "list_atto", "saved_usd", "saved_nano", "saved_atto",
    *UNITS,
)  # fmt: skip
"""The sums of a row. `incomplete`: batches or shares whose cost is unknown, at least in part. `inexact`: costs with more
than 18 decimals, rounded in the sums only."""
Figures = Mapping[str, int]
"""Column -> number; columns that are 0 are left out."""

_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_ATTO = 10**18
_MOST_USD = Decimal(10) ** 12
_MOST_UNITS = 2**45
"""Bounds of one batch's figures: larger ones count as these, so that no sum of 64 bits overflows."""


class Kind(IntFlag):
    """Kinds of sums; see the tables' own comments."""

    MODELS = 1
    """Shares of models; else whole batches."""
    LABELLED = 2
    MONTHS = 4
    PRUNED = 8
    INVENTED = 16
    """A sandbox's batches, whose costs nobody pays: apart from all others."""

    ONE = 32
    """Times the number of the field in `ONES`: by day, of groups that name this field only."""


ONES = ("account", "provider", "model", "team", "user_name", "key_id", "status")
"""Fields of a group that have sums by day of their own, numbered from 1."""
LABEL = len(ONES) + 1
"""The number of the sums by day and one label; those with an empty value are of all batches that have a label of this name."""
DAYS = Kind(0)
"""Whole batches by day, without labels."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of batches, or of shares of models; empty texts where there is nothing."""

    account: str
    provider: str
    model: str
    team: str
    user_name: str
    key_id: str
    status: str
    labels: str = ""
    """JSON of [name, value] pairs, of tags with the name ''; empty where labels are left out."""

    @property
    def id(self) -> int:
        """64 bits of a hash: the same from any process, without a look at the table."""
        text = json.dumps(self.columns(), separators=(",", ":"), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], signed=True)

    def columns(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}

    def unlabelled(self) -> "Group":
        return Group(**{**self.columns(), "labels": ""})

    def labelled(self, labels: Sequence[tuple[str, str]]) -> "Group":
        return replace(self, labels=_document(labels))

    def only(self, name: str) -> "Group":
        """With nothing but this field."""
        return Group(**{**dict.fromkeys(self.__slots__, ""), name: getattr(self, name)})


NOBODY = Group(**dict.fromkeys(Group.__slots__, ""))
Place = tuple[Kind, int, Group]
"""Kind, period and group of a row."""


@dataclass(slots=True)
class Tally:
    """Sums under way, of any number of places."""

    sums: defaultdict[Place, Counter[str]] = field(
        default_factory=lambda: defaultdict[Place, Counter[str]](Counter[str])
    )
    unknown: defaultdict[tuple[Place, str], Counter[str]] = field(
        default_factory=lambda: defaultdict[tuple[Place, str], Counter[str]](Counter[str])
    )
    """By place and reason: batches and lines."""

    def add(self, settled: Settled, keys: Iterable[str], sign: int = 1, kind: Kind = DAYS) -> None:
        """One batch, into the finest places: days, with labels. `keys`: the metadata keys that are labels."""
        day = settled.settled_at // DAY_MILLIS
        kind |= Kind.INVENTED if is_invented(settled) else DAYS
        for model, part in parts(settled.settlement):
            which = Kind(0) if model is None else Kind.MODELS
            place = (kind | which | Kind.LABELLED, day, group_of(settled, model or "", keys))
            _plus(self.sums[place], part.figures, sign)
            for reason, lines in part.unknown.items():
                _plus(self.unknown[place, _text(reason)], {"batches": 1, "lines": _count(lines)}, sign)

    @property
    def days(self) -> set[int]:
        """The days of its places, before these are spread."""
        return {day for _, day, _ in self.sums}

    def spread(self) -> "Tally":
        """The same, also without labels and by month: every place that a report reads from."""
        spread = Tally()
        for (kind, day, group), figures in self.sums.items():
            for place in (*_places(kind, day, group), *_ones(kind, day, group)):
                _plus(spread.sums[place], figures, 1)
        for ((kind, day, group), reason), figures in self.unknown.items():
            for place in _places(kind, day, group):
                _plus(spread.unknown[place, reason], figures, 1)
        return spread


@dataclass(frozen=True, slots=True)
class Part:
    """A whole batch, or its share of a model."""

    figures: Figures
    unknown: Mapping[str, int]
    """Reason -> lines."""


def is_invented(settled: Settled) -> bool:
    return INVENTED in settled.settlement.notes


def parts(settlement: Sums) -> Iterator[tuple[str | None, Part]]:
    """(None, the whole batch), then (model, share) of each; a share of no model ('') where something belongs to none."""
    cost = settlement.cost
    unpriced = sum(cost.unknown.values())
    failed = settlement.request_counts.failed + settlement.request_counts.malformed
    saving = _listed(settlement.models.values())
    total = settlement.request_counts.total
    yield (
        None,
        _part(total, settlement.usage, cost.known, cost.total is not None, unpriced, cost.unknown, failed, saving),
    )
    yield from _shares(settlement)


def _shares(settlement: Sums) -> Iterator[tuple[str, Part]]:
    """Older settlements keep what is known of a partly priced model with the batch only: it goes to the one model that
    it can belong to, else to none."""
    shares, cost = settlement.models, settlement.cost
    clear = {name: known for name, share in shares.items() if (known := _known(share)) is not None}
    rest = _EXACT.subtract(cost.known, sum(clear.values(), Decimal(0)))
    unclear = [name for name in shares if name not in clear]
    for name, share in shares.items():
        known = clear[name] if name in clear else rest if len(unclear) == 1 else Decimal(0)
        complete = share.cost is not None
        unpriced = 0 if complete else sum(share.unknown.values()) or share.lines
        reasons = share.unknown or (cost.unknown if len(shares) == 1 and not complete else {})
        yield name, _part(share.lines, share.usage, known, complete, unpriced, reasons, 0, _listed([share]))
    whole = cost.total is not None
    if (rest and len(unclear) != 1) or (not shares and not whole):
        lacking: Mapping[str, int] = {} if shares else cost.unknown
        yield "", _part(0, {}, rest, whole or bool(shares), sum(lacking.values()), lacking, 0, _listed([]))


def _known(share: Share) -> Decimal | None:
    return share.cost if share.known is None else share.known


def _listed(shares: Iterable[Share]) -> tuple[int, Decimal, Decimal]:
    """Lines whose list price and cost are both known; the list price of them, and how much less they cost."""
    both = [(share.lines, share.list_price, share.cost) for share in shares]
    found = [(lines, price, cost) for lines, price, cost in both if price is not None and cost is not None]
    price = sum((price for _, price, _ in found), Decimal(0))
    return sum(lines for lines, _, _ in found), price, _EXACT.subtract(price, sum((c for _, _, c in found), Decimal(0)))


def _part(
    lines: int,
    usage: Mapping[str, int],
    known: Decimal,
    complete: bool,
    unpriced: int,
    unknown: Mapping[str, int],
    failed: int,
    listed: tuple[int, Decimal, Decimal],
) -> Part:
    figures = {"batches": 1, "incomplete": int(not complete), "lines": lines, "failed": failed, "unpriced": unpriced}
    figures |= {name: usage[name] for name in UNITS if usage.get(name)} | {"list_lines": listed[0]}
    inexact = 0
    amounts: dict[str, int] = {}
    for prefix, amount in (("", known), ("list_", listed[1]), ("saved_", listed[2])):
        split, rounded = split_usd(amount)
        inexact |= rounded
        amounts |= {f"{prefix}{name}": number for name, number in split.items()}
    whole = {name: _count(number) for name, number in figures.items()} | amounts | {"inexact": int(inexact)}
    return Part({name: number for name, number in whole.items() if number}, unknown)


def split_usd(amount: Decimal) -> tuple[dict[str, int], bool]:
    """`usd`, `nano` and `atto` of it, and whether it was rounded."""
    if not amount:
        return {}, False
    bounded = min(max(amount, -_MOST_USD), _MOST_USD)
    scaled = _EXACT.scaleb(bounded, 18)
    number = int(scaled.to_integral_value(ROUND_HALF_EVEN, _EXACT))
    usd, rest = divmod(number, _ATTO)
    nano, atto = divmod(rest, 10**9)
    return {"usd": usd, "nano": nano, "atto": atto}, number != scaled or bounded != amount


def joined_usd(usd: int, nano: int, atto: int) -> Decimal:
    """The amount that such sums stand for, exactly and without needless zeros."""
    number = usd * _ATTO + nano * 10**9 + atto
    amount = _EXACT.scaleb(Decimal(number), -18)
    return amount.quantize(Decimal(1), context=_EXACT) if number % _ATTO == 0 else amount.normalize(_EXACT)


def group_of(settled: Settled, model: str, keys: Iterable[str]) -> Group:
    submission, settlement = settled.submission, settled.settlement
    who = submission.attribution
    return Group(
        account=submission.account,
        provider=_text(settlement.provider),
        model=_text(model),
        team=_text(who.team),
        user_name=_text(who.user),
        key_id=_text(who.key),
        status=_text(settlement.status),
        labels=_labels(who.tags, submission.metadata, keys),
    )


def _labels(tags: Iterable[str], metadata: Mapping[str, str], keys: Iterable[str]) -> str:
    pairs = {("", _text(tag)) for tag in tags} | {(key, _text(metadata[key])) for key in keys if key in metadata}
    return _document(sorted(pairs))


def _document(labels: Sequence[tuple[str, str]]) -> str:
    return json.dumps(labels, separators=(",", ":"))


def labels_of(group: Group) -> list[tuple[str, str]]:
    return [(name, value) for name, value in json.loads(group.labels)] if group.labels else []


def _places(kind: Kind, day: int, group: Group) -> Iterator[Place]:
    bare, plain, month = group.unlabelled(), kind & ~Kind.LABELLED, month_of(day)
    yield kind, day, group
    yield kind | Kind.MONTHS, month, group
    yield plain, day, bare
    yield plain | Kind.MONTHS, month, bare


def _ones(kind: Kind, day: int, group: Group) -> Iterator[Place]:
    """Where a row by day is summed by one thing alone: by model its shares, by all else whole batches."""
    if kind & Kind.PRUNED:
        return
    if kind & Kind.LABELLED and not kind & Kind.MODELS:
        labels = labels_of(group)
        for label in dict.fromkeys([*labels, *((name, "") for name, _ in labels)]):
            yield one_of(kind, LABEL), day, NOBODY.labelled([label])
    for number, name in enumerate(ONES, 1):
        if (name == "model") == bool(kind & Kind.MODELS):
            yield one_of(kind, number), day, group.only(name)


def one_of(kind: Kind, number: int) -> Kind:
    """The kind of the sums by the field of this number."""
    return Kind((kind & (Kind.MODELS | Kind.INVENTED)) + number * Kind.ONE)


def _plus(sums: Counter[str], figures: Figures, sign: int) -> None:
    for name, number in figures.items():
        sums[name] += sign * number


def _count(number: int) -> int:
    return max(min(number, _MOST_UNITS), -_MOST_UNITS)


def _text(text: str | None) -> str:
    return storable(text) or ""
