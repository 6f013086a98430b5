"""A counter that no table knows leaves its line unknown by name, in every dialect; compiled counting is the same as slow."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmeter import meter
from batchmeter.metering.compiled import Counting, compiled
from batchmeter.metering.counting import HEAD, InvalidUsageError, UnknownCounterError, count, parsed
from batchmeter.metering.dialects import Dialect
from batchmeter.metering.envelope import installed

from . import lines_of
from .prices import FLAT

Json = dict[str, Any]
ALL: dict[str, Dialect] = {
    f"{one.provider}-{dialect.name}-{index}": dialect
    for one in installed()
    for index, spoken in enumerate(one.speaks)
    for dialect in (spoken, *spoken.readings)
}
NAMES = sorted(ALL)


def usage_of(dialect: Dialect, numbers: dict[str, int]) -> Json:
    """A usage with these counters, nested and in lists as the dialect has them."""
    usage: Json = {}
    for path, value in numbers.items():
        above, _, last = path.rpartition(".")
        if above in dialect.lists:
            kind, counter = dialect.lists[above]
            item = {counter: value} if kind is None else {kind: last, counter: value}
            usage.setdefault(above, []).append(item)
            continue
        holder = usage
        for step in path.split(".")[:-1]:
            if not isinstance(holder.setdefault(step, {}), dict):
                break
            holder = holder[step]
        else:
            holder[last] = value
    return usage


def needed(dialect: Dialect) -> dict[str, int]:
    return {word[0]: 50 for word in parsed(dialect).needs}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["{}", "{}.deep", "new_{}"])
def test_an_unknown_counter_is_named(name: str, place: str):
    dialect = ALL[name]
    unknown = place.format("mystery")

    with pytest.raises(UnknownCounterError, match=unknown):
        count(dialect, usage_of(dialect, {**needed(dialect), unknown: 7}))


@pytest.mark.parametrize("name", [name for name in NAMES if ALL[name].lists])
def test_an_unknown_kind_of_token_is_named(name: str):
    dialect = ALL[name]
    for place, (kind, counter) in dialect.lists.items():
        if kind is not None and f"{place}.*" not in dialect.harmless:
            usage = usage_of(dialect, needed(dialect)) | {place: [{kind: "SMELL", counter: 7}]}
            with pytest.raises(UnknownCounterError, match="SMELL"):
                count(dialect, usage)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(NAMES), st.sampled_from([0, 0.0, "0", None, "", {}, [], "batch", True, False]))
def test_a_new_field_without_an_amount_changes_nothing(name: str, nothing: Any):
    dialect = ALL[name]
    usage = usage_of(dialect, needed(dialect))

    try:
        plain = count(dialect, usage)
    except InvalidUsageError as error:
        with pytest.raises(type(error)):
            count(dialect, usage | {"mystery": nothing})
    else:
        assert count(dialect, usage | {"mystery": nothing}) == plain


@st.composite
def dialects_and_usages(draw: st.DrawFn) -> tuple[Dialect, list[Json]]:
    """Usages of one shape, with other numbers, some of them wrong."""
    dialect = ALL[draw(st.sampled_from(NAMES))]
    paths = sorted(parsed(dialect).counters | {path for path in dialect.harmless if not path.endswith("*")})
    chosen = [*needed(dialect), *draw(st.lists(st.sampled_from(paths), unique=True, max_size=6))]
    number = st.integers(0, 60) | st.sampled_from([-1, 2**70, None, "7", 1.5, True])
    rows = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(chosen, number)), min_size=1, max_size=4))
    return dialect, [usage_of(dialect, {**row, **needed(dialect)}) for row in rows]


@settings(max_examples=400, deadline=None)
@given(dialects_and_usages())
def test_compiled_counting_is_slow_counting(given_: tuple[Dialect, list[Json]]):
    dialect, usages = given_
    try:
        found = compiled(dialect, usages[0])
    except InvalidUsageError:
        return  # a shape is made of a usage that was counted
    for usage in usages if found is not None else ():
        lane, function = found  # type: ignore[misc]
        try:
            fast = function(usage)
        except InvalidUsageError:
            with pytest.raises(InvalidUsageError):
                count(dialect, usage)
            continue
        if fast is not None:
            reading, slow = count(dialect, usage)
            assert reading is dialect
            assert fast[:HEAD] == slow[:HEAD]
            named = dict(zip(lane.buckets, fast[HEAD:], strict=True))
            assert [named.get(bucket, 0) for bucket in dialect.buckets] == list(slow[HEAD:])


def test_shapes_are_bounded_and_counted_all_the_same():
    counting = Counting(installed()[0].speaks)
    usages = [{"prompt_tokens": 10, "total_tokens": 10} | {f"note_{n}": "x"} for n in range(50)]

    assert {counting.count(usage, None)[1][0] for usage in usages} == {10}  # type: ignore[index]


def test_an_unknown_counter_leaves_its_line_unknown_and_says_where():
    good = lines_of.openai("m", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, "a")
    odd = lines_of.openai("m", {"completion_tokens": 0, "prompt_tokens": 10, "holograms": 2}, "b")

    found = meter([lines_of.dump(good, odd)], prices=FLAT)

    assert found.cost.unknown == {"unknown_counter": 1}
    assert found.cost.details == {"unknown_counter": ("holograms: line 2",)}
    assert (found.lines.succeeded, found.lines.unpriced) == (2, 1)


def test_an_unknown_item_of_a_response_is_unknown_by_name():
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    line = lines_of.openai("m", usage, object="response", output=[{"type": "message"}, {"type": "teleport_call"}])

    assert meter([lines_of.dump(line)], prices=FLAT).cost.details == {
        "unknown_counter": ("output.teleport_call: line 1",)
    }


@pytest.mark.parametrize(
    "beside",
    [
        {"output": [{"type": "message"}, {"type": "telepathy_call"}]},
        {"output": [{"type": "message"}], "tool_usage": {"telepathy": {"num_requests": 2}}},
    ],
)
def test_tokens_beside_an_unknown_item_are_known(beside: Json):
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    plain = lines_of.openai("m", usage, "r-1", object="response", status="completed", output=[])
    odd = lines_of.openai("m", usage, "r-2", object="response", status="completed", **beside)

    found = meter([lines_of.dump(plain, odd)], prices=FLAT)

    alone = meter([lines_of.dump(plain)], prices=FLAT)
    assert (found.cost.total, found.cost.unknown) == (None, {"unknown_counter": 1})
    assert found.cost.known == 2 * alone.cost.known
    assert (found.usage.input_tokens, found.usage.output_tokens) == (20, 10)
    assert (found.models["m"].lines, found.models["m"].known) == (2, found.cost.known)
    assert (found.lines.succeeded, found.lines.unpriced) == (2, 1)
