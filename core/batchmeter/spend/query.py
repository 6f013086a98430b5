"""Spend queries: the sums of a time, grouped by one or two things and filtered by any, read in a few statements."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from batchmeter.errors import UsageError
from batchmeter.ledger.records import Millis
from batchmeter.ledger.session import Reader, Row, Session

from .figures import (
    DAYS,
    LABEL,
    ONES,
    UNITS,
    Figures,
    Group,
    Kind,
    group_of,
    is_invented,
    labels_of,
    one_of,
    parts,
)
from .periods import (
    DAY_MILLIS,
    MONDAY,
    TIMES,
    Segment,
    edges,
    first_day,
    month_of,
    period_of,
    segments,
    shown,
    whole_days,
)
from .rolling import settled_between
from .settled import Settled

_FIELDS = {
    "account": "account",
    "provider": "provider",
    "model": "model",
    "team": "team",
    "user": "user_name",
    "key": "key_id",
    "status": "status",
}
"""Name of a group -> the column that holds it."""
_FEW = {"account", "provider", "status"}
"""Groups of which there are few in a ledger: the sums by one of them alone are few, whole batches by status the fewest."""
USUAL = frozenset({*_FIELDS, *TIMES, "tag", "job"})
"""Groups of any ledger."""
METADATA = "metadata."
_JOB = "job:"
"""How the tags begin that name a job larger than a batch."""
_MOST_GROUPS = 2
_SHOWN = ("batches", "incomplete", "lines", "unpriced", "usd", "nano", "atto")
_LISTED = ("list_lines", "list_usd", "list_nano", "list_atto", "saved_usd", "saved_nano", "saved_atto")
"""All 0 where the first is."""
_COUNTED = ("list_lines", *UNITS)
_USED = (
    f"SELECT {', '.join(f'max({name}) AS {name}' for name in _COUNTED)} FROM batchmeter.spend_sum "  # noqa: S608 - names of our own
    "WHERE kind = %(kind)s AND period >= %(first)s AND period <= %(last)s"
)
_PAGE = 25
"""Settlements summed before the event loop gets a turn: a millisecond, as fast as more at a time."""
Wanted = str | Sequence[str] | None
"""The name that a group must have, or names of which it must have one; None: it has none."""
Names = tuple[str | None, ...]
"""The names of a row's groups; None for what has none."""
Found = dict[Names, dict[str, int]]
"""Names of the groups -> figures."""


@dataclass(frozen=True, slots=True)
class SpendQuery:
    """A choice of sums: of batches first settled from `since` to before `until`, in groups, where all filters hold."""

    group_by: tuple[str, ...] = ()
    since: Millis | None = None
    until: Millis | None = None
    where: Mapping[str, Wanted] = field(default_factory=dict[str, Wanted])
    invented: bool = False
    """A sandbox's batches, else all others."""

    @property
    def kind(self) -> Kind:
        named = {*self.group_by, *self.where}
        models = Kind.MODELS if "model" in named else DAYS
        invented = Kind.INVENTED if self.invented else DAYS
        return models | invented | (Kind.LABELLED if any(_label(name) is not None for name in named) else DAYS)

    @property
    def by_day(self) -> bool:
        """Whether the sums of days are read throughout: for days and weeks, and where they are the fewest rows."""
        named = {*self.group_by, *self.where}
        return "day" in named or "week" in named or (len(named) <= 1 and named <= _FEW)

    def segment_kind(self, months: bool) -> Kind:
        """Of the rows to read: of days those by one thing alone, where that or nothing is asked."""
        if months:
            return self.kind | Kind.MONTHS
        named = {*self.group_by, *self.where} - set(TIMES)
        if self.by_label:
            return one_of(self.kind, LABEL)
        one = named.pop() if len(named) == 1 else "" if named else "status"  # which has the fewest rows
        if one not in _FIELDS:
            return self.kind
        return one_of(self.kind, ONES.index(_FIELDS[one]) + 1)

    @property
    def by_label(self) -> bool:
        """By day or week and one label alone, of which there are sums apart."""
        named = set(self.group_by) - set(TIMES)
        return (
            self.by_day
            and not self.where
            and len(named) == 1
            and _label(name := named.pop()) is not None
            and name != "job"
        )

    def apart(self, months: bool) -> bool:
        """Whether no two of these rows have the same names: by day and one field, nothing is left to add up."""
        named = set(self.group_by) - set(TIMES)
        return not months and "day" in self.group_by and len(named) == 1 and self.segment_kind(months) >= Kind.ONE

    @property
    def key(self) -> object:
        """The same for queries that ask the same."""
        where = sorted(
            (name, value if value is None or isinstance(value, str) else tuple(value))
            for name, value in self.where.items()
        )
        return self.group_by, self.since, self.until, self.invented, tuple(where)

    @property
    def size(self) -> int:
        """Names in its filters, and one."""
        return 1 + sum(1 if value is None or isinstance(value, str) else len(value) for value in self.where.values())

    @property
    def days(self) -> range:
        """The whole days of its time."""
        return range(*whole_days(self.since, self.until))

    @property
    def has_edges(self) -> bool:
        """Whether its time begins or ends within a day."""
        return any(True for _ in edges(self.since, self.until))

    def of_days(self, days: range) -> "SpendQuery":
        return replace(self, since=days.start * DAY_MILLIS, until=days.stop * DAY_MILLIS)

    def around(self, day: int) -> range:
        """The days that are summed with it: all of its month, where months are read."""
        month = month_of(day)
        whole = range(first_day(month), first_day(month + 1))
        days = self.days
        return range(day, day + 1) if self.by_day or whole.start < days.start or whole.stop > days.stop else whole

    @property
    def nothing(self) -> bool:
        """A filter that no batch can pass: no name is empty."""
        return any(value is not None and not _wanted(value) for value in self.where.values())


def _wanted(value: str | Sequence[str]) -> list[str]:
    """Names that there may be: no name is empty."""
    return [name for name in ([value] if isinstance(value, str) else value) if name]


def check_groups(group_by: Sequence[str], where: Mapping[str, Wanted], metadata_keys: Sequence[str]) -> None:
    """UsageError for what there are no sums by."""
    known = (*_FIELDS, "tag", "job", *(METADATA + key for key in metadata_keys))
    for name in (*group_by, *where):
        if name in known or (name in TIMES and name not in where):
            continue
        if name.startswith(METADATA):
            raise UsageError(f"{name}: batches are not summed by it: name the key in [reports] metadata_keys")
        raise UsageError(f"expected one or two of {', '.join((*known, *TIMES))}, but got {name!r} instead")
    if len(group_by) > _MOST_GROUPS or len(set(group_by)) < len(group_by) or len(set(group_by) & set(TIMES)) > 1:
        raise UsageError(f"expected one or two different groups, of time at most one, but got {','.join(group_by)!r}")


async def read_sums(reader: Reader, queries: Sequence[SpendQuery]) -> list[Found]:
    """The sums of queries of one time, all as of one moment: those that are rolled.

    Days that the time begins or ends in are summed from the settlements themselves.
    """
    found = await reader.read(partial(sums_of_days, queries=queries))
    for since, until in edges(queries[0].since, queries[0].until):
        async for settled, keys in settled_between(reader, since, until, _PAGE):
            for query, sums in zip(queries, found, strict=True):
                for names, part in _parts_of(query, settled, keys):
                    add_figures(sums, names, part)
    return [{names: figures for names, figures in sums.items() if figures.get("batches")} for sums in found]


async def sums_of_days(session: Session, queries: Sequence[SpendQuery]) -> list[Found]:
    """The sums of the whole days of each query; groups whose figures came to 0 may be among them."""
    columns = {
        invented: await _columns(session, [one for one in queries if one.invented == invented])
        for invented in {one.invented for one in queries}
    }
    return [{} if one.nothing else await _whole_days(session, one, columns[one.invented]) for one in queries]


async def _whole_days(session: Session, terms: SpendQuery, columns: Sequence[str]) -> Found:
    found: Found = {}
    for segment in segments(terms.since, terms.until, by_day=terms.by_day):
        kind = terms.segment_kind(segment.months)
        statement = session.statement(_statement(terms, segment, columns))
        bounds = {"kind": int(kind), "first": segment.first, "last": segment.last}
        rows = await session.rows(statement, **bounds, **_parameters(terms))
        for names, figures in await session.decoded(rows, partial(_named_figures, terms, columns)):
            if names in found:
                add_figures(found, names, figures)
            else:
                found[names] = figures
    if terms.by_label:
        await _split_off_unlabelled(session, terms, columns, found)
    return found


def add_figures(found: Found, names: Names, figures: Figures, sign: int = 1) -> None:
    sums = found.setdefault(names, {})
    for name, number in figures.items():
        sums[name] = sums.get(name, 0) + sign * number


async def _split_off_unlabelled(session: Session, terms: SpendQuery, columns: Sequence[str], found: Found) -> None:
    """Sums without a name are of all that have such a label: they become those of the rest of their day or week."""
    place = next(number for number, name in enumerate(terms.group_by) if name in TIMES)
    whole = await _whole_days(session, replace(terms, group_by=(terms.group_by[place],)), columns)
    for (time,), figures in whole.items():
        names = (time, None) if place == 0 else (None, time)
        labelled = found.pop(names, {})
        found[names] = figures
        add_figures(found, names, labelled, -1)


async def _columns(session: Session, queries: Sequence[SpendQuery]) -> Sequence[str]:
    """Less those that are 0 for all batches of these days: sums are quick where columns are few."""
    kind = one_of(Kind.INVENTED if queries[0].invented else DAYS, ONES.index("status") + 1)
    days = [one.days for one in queries]
    bounds = {"first": min(each.start for each in days), "last": max(each.stop for each in days) - 1}
    row = await session.row(session.statement(_USED), kind=int(kind), **bounds)
    used = [name for name in _COUNTED if row is not None and row[name]]
    return (*_SHOWN, *(_LISTED if "list_lines" in used else ()), *(name for name in UNITS if name in used))


def _named_figures(terms: SpendQuery, columns: Sequence[str], row: Row) -> tuple[Names, dict[str, int]]:
    """By place: a row of SQLite's searches all its columns for a name."""
    values = tuple(row) if isinstance(row, sqlite3.Row) else tuple(row[name] for name in row.keys())  # noqa: SIM118
    places = len(terms.group_by)
    return tuple(map(_shown, terms.group_by, values)), dict(zip(columns, values[places:], strict=True))


def _statement(terms: SpendQuery, segment: Segment, columns: Sequence[str]) -> str:
    groups = [_expression(place, name, segment) for place, name in enumerate(terms.group_by)]
    chosen = [f"{text} AS g{place}" for place, text in enumerate(groups)]
    apart = terms.apart(segment.months)
    sums = ", ".join([*chosen, *(f"d.{name}" if apart else f"sum(d.{name})::bigint AS {name}" for name in columns)])
    how = "JOIN" if terms.by_label else "LEFT JOIN"
    joins = [
        f"{how} batchmeter.spend_label AS l{place} ON l{place}.group_id = d.group_id AND l{place}.name = %(label{place})s"
        + (f" AND strpos(l{place}.value, '{_JOB}') = 1" if name == "job" else "")
        for place, name in enumerate(terms.group_by)
        if _label(name) is not None
    ]
    tests = [_test(place, name, value) for place, (name, value) in enumerate(terms.where.items())]
    if any(name in _FIELDS for name in (*terms.group_by, *terms.where)):
        joins.insert(0, "JOIN batchmeter.spend_group AS g ON g.id = d.group_id")
    grouping = (
        ", ".join(f"g{place}" for place in range(len(groups))) or "d.kind"
    )  # all are of one: no row where none is
    grouped = [] if apart else [f"GROUP BY {grouping}"]
    where = ["d.kind = %(kind)s AND d.period >= %(first)s AND d.period <= %(last)s", *tests]
    select = f"SELECT {sums} FROM batchmeter.spend_sum AS d"  # noqa: S608 - names of our own
    return "\n".join([select, *joins, f"WHERE {' AND '.join(where)}", *grouped])


def _expression(place: int, name: str, segment: Segment) -> str:
    if name in _FIELDS:
        return f"g.{_FIELDS[name]}"
    if name == "day":
        return "d.period"
    if name == "week":
        return f"(d.period + {MONDAY}) / 7"
    if name == "month":
        return "d.period" if segment.months else f"{month_of(segment.first)}"
    return f"l{place}.value"


def _test(place: int, name: str, value: Wanted) -> str:
    if name in _FIELDS:
        return f"g.{_FIELDS[name]} = " + ("''" if value is None else f"ANY(%(value{place})s::text[])")
    has = (
        f"EXISTS (SELECT 1 FROM batchmeter.spend_label AS w{place} WHERE w{place}.group_id = d.group_id "  # noqa: S608
        f"AND w{place}.name = %(where{place})s"
        + (f" AND strpos(w{place}.value, '{_JOB}') = 1" if name == "job" else "")
    )
    return f"NOT {has})" if value is None else f"{has} AND w{place}.value = ANY(%(value{place})s::text[]))"


def _parameters(terms: SpendQuery) -> dict[str, object]:
    labels = {f"label{place}": _label(name) for place, name in enumerate(terms.group_by) if _label(name) is not None}
    filters: dict[str, object] = {}
    for place, (name, value) in enumerate(terms.where.items()):
        if value is not None:
            begin = _JOB if name == "job" else ""
            filters[f"value{place}"] = [begin + one for one in _wanted(value)]
        if _label(name) is not None:
            filters[f"where{place}"] = _label(name)
    return labels | filters


def _label(name: str) -> str | None:
    """The name of a label, where it is one."""
    return "" if name in {"tag", "job"} else name.removeprefix(METADATA) if name.startswith(METADATA) else None


@lru_cache(4096)
def _shown(name: str, value: str | int) -> str | None:
    if name in TIMES:
        return shown(name, int(value))
    return str(value).removeprefix(_JOB if name == "job" else "") if value else None


def _parts_of(terms: SpendQuery, settled: Settled, keys: Collection[str]) -> Iterator[tuple[Names, Figures]]:
    if terms.nothing or is_invented(settled) != terms.invented:
        return
    for model, part in parts(settled.settlement):
        if (model is not None) != bool(terms.kind & Kind.MODELS):
            continue
        group = group_of(settled, model or "", keys)
        if all(_has(group, name, value) for name, value in terms.where.items()):
            for names in _names(terms.group_by, group, settled.settled_at // DAY_MILLIS):
                yield names, part.figures


def _has(group: Group, name: str, value: Wanted) -> bool:
    values = _values(name, group, 0)
    return not any(values) if value is None else any(one in values for one in _wanted(value))


def _names(group_by: Sequence[str], group: Group, day: int) -> Iterator[Names]:
    if not group_by:
        yield ()
        return
    for value in _values(group_by[0], group, day):
        for rest in _names(group_by[1:], group, day):
            yield (_shown(group_by[0], value), *rest)


def _values(name: str, group: Group, day: int) -> Sequence[str | int]:
    if name in _FIELDS:
        return [getattr(group, _FIELDS[name])]
    if name in TIMES:
        return [period_of(name, day)]
    values = [value for label, value in labels_of(group) if label == _label(name)]
    if name == "job":
        values = [value.removeprefix(_JOB) for value in values if value.startswith(_JOB)]
    return values or [""]
