"""For any lines: chunking changes nothing, groups cost what lines cost, no text is taken for usage."""

import gzip
import itertools
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from batchmeter import meter
from batchmeter.pricing.groups import PriceQuery, Rates

from . import lines_of
from .prices import FLAT, RATES, Flat

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
COST = (10 * RATES["input"] + 5 * RATES["output"]) / 1_000_000


TEXT = st.text(alphabet=st.sampled_from('"\\{}[]:,usage prompt_tokens1234567890\n\u2028é🙂'), max_size=60)
LINES = st.lists(
    st.one_of(
        st.builds(
            lambda text, prompt, cached, model: lines_of.openai(
                model,
                {
                    "completion_tokens": 0,
                    "prompt_tokens": prompt + cached,
                    "prompt_tokens_details": {"cached_tokens": cached},
                },
                choices=[{"message": {"content": text}}],
                metadata={"usage": {"prompt_tokens": 10**6}, text: {"usage": text}},
            ),
            TEXT,
            st.integers(0, 6_000),
            st.integers(0, 3_000),
            st.sampled_from(["m", "n", "unpriced", None]),
        ),
        st.just(lines_of.openai_failed()),
        st.just(lines_of.openai("m", None)),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(LINES, st.lists(st.integers(0, 3_000), max_size=10), st.booleans())
def test_any_chunking_gives_the_same_result(lines: list[Any], cuts: list[int], packed: bool):
    data = lines_of.dump(*lines)
    whole = meter([data], prices=FLAT)
    data = gzip.compress(data) if packed else data
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]

    assert meter(chunks, prices=FLAT) == whole


@settings(deadline=None, max_examples=60)
@given(LINES)
def test_pricing_groups_equals_pricing_lines(lines: list[Any]):
    whole = meter([lines_of.dump(*lines)], prices=FLAT)
    single = [meter([lines_of.dump(line)], prices=FLAT) for line in lines]

    assert whole.cost.known == sum((one.cost.known for one in single), Decimal(0))
    assert whole.lines.unpriced == sum(one.lines.unpriced for one in single)
    assert (whole.cost.total is None) == any(one.cost.total is None for one in single)
    assert whole.usage.total_tokens == sum(one.usage.total_tokens for one in single)


@settings(deadline=None, max_examples=60)
@given(TEXT, st.dictionaries(TEXT, TEXT, max_size=4))
def test_no_text_is_taken_for_usage(text: str, more: dict[str, str]):
    content = {"role": "assistant", "content": text, "extra": {**more, "usage": {"prompt_tokens": 5}}}
    line = lines_of.openai("m", USAGE, choices=[{"message": content}])

    assert meter([lines_of.dump(line)], prices=FLAT).cost.total == COST


class NoAudio(Flat):
    """Audio has no rate."""

    def rates(self, query: PriceQuery) -> Rates | None:
        return Rates({bucket: rate for bucket, rate in RATES.items() if bucket != "audio_in"})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0, 0, 7]), st.sampled_from([0, 5])), max_size=8))
def test_a_missing_rate_is_only_its_own_lines_trouble(tokens: list[tuple[int, int, int]]):
    lines = [
        lines_of.openai(
            "m",
            {
                "completion_tokens": 0,
                "prompt_tokens": text + audio + cached,
                "prompt_tokens_details": {"audio_tokens": audio, "cached_tokens": cached},
            },
        )
        for text, audio, cached in tokens
    ]

    found = meter([lines_of.dump(*lines)], prices=NoAudio())

    priced = [text * RATES["input"] + cached * RATES["cached_input"] for text, _, cached in tokens]
    assert found.cost.known == sum(priced, Decimal(0)) / 1_000_000
    assert found.lines.unpriced == sum(1 for _, audio, _ in tokens if audio)
