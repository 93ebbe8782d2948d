"""Tokens into dollars, with numbers worked out by hand."""

from dataclasses import astuple

import pytest
from claude_cache import Json
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.claude.prices import Usage, cost, worst_case
from autoresearch.settings import Price

OPUS = Price(4, 20)
USAGES = st.builds(Usage, *[st.integers(0, 10**9)] * 5)


def test_an_answer_costs_what_the_price_list_says() -> None:
    usage = Usage(
        input=1_000_000, cache_write_5m=400_000, cache_write_1h=100_000, cache_read=2_000_000
    )
    assert cost(usage, OPUS) == pytest.approx(4 + 0.4 * 5 + 0.1 * 8 + 2 * 0.4)
    assert cost(Usage(output=50_000), OPUS) == pytest.approx(1.0)
    assert cost(Usage(cache_read=10**6), Price(10, 50, cache_read=0.025)) == pytest.approx(0.25)


def test_the_worst_case_writes_the_whole_prompt_and_says_all() -> None:
    assert worst_case(100_000, 10_000, OPUS, "5m") == pytest.approx(0.5 + 0.2)
    assert worst_case(100_000, 10_000, OPUS, "1h") == pytest.approx(0.8 + 0.2)
    free_writing = Price(4, 20, cache_write=0.0)
    assert worst_case(100_000, 10_000, free_writing, "5m") == pytest.approx(0.4 + 0.2)


@given(USAGES, st.sampled_from(["5m", "1h"]), st.integers(0, 10**6))
def test_no_answer_costs_more_than_its_worst_case(usage: Usage, ttl: str, spare: int) -> None:
    other = {"5m": "cache_write_1h", "1h": "cache_write_5m"}[ttl]
    usage = Usage.from_json(usage.to_json() | {other: 0})
    bound = worst_case(usage.prompt + spare, usage.output + spare, OPUS, ttl)
    assert cost(usage, OPUS) <= bound * (1 + 1e-9)


@given(USAGES, USAGES)
def test_usages_add_up(one: Usage, two: Usage) -> None:
    pairs = zip(astuple(one), astuple(two), strict=True)
    assert astuple(one + two) == tuple(a + b for a, b in pairs)
    assert (one + two).prompt == one.prompt + two.prompt
    assert cost(one + two, OPUS) == pytest.approx(cost(one, OPUS) + cost(two, OPUS))


@given(USAGES)
def test_a_usage_survives_json(usage: Usage) -> None:
    assert Usage.from_json(usage.to_json()) == usage


def test_the_cache_share_is_of_the_prompt() -> None:
    assert Usage(input=10, cache_write_5m=20, cache_read=30, output=1000).cache_share == 0.5
    assert Usage().cache_share == 0.0


WRITTEN = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 4}


@pytest.mark.parametrize(
    ("record", "ttl", "usage"),
    [
        ({"input_tokens": 1, "output_tokens": 2}, "5m", Usage(1, output=2)),
        (
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_creation_input_tokens": 34,
                "cache_read_input_tokens": 5,
                "cache_creation": WRITTEN,
            },
            "5m",
            Usage(1, 30, 4, 5, 2),
        ),
        (
            {"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 34},
            "1h",
            Usage(1, 0, 34, 0, 2),
        ),
        (
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_creation": None,
                "cache_creation_input_tokens": 34,
                "cache_read_input_tokens": None,
            },
            "5m",
            Usage(1, 34, 0, 0, 2),
        ),
    ],
)
def test_what_the_api_says_is_read(record: Json, ttl: str, usage: Usage) -> None:
    assert Usage.from_api(record, ttl) == usage


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"input_tokens": 1},
        {"input_tokens": "1", "output_tokens": 2},
        {"input_tokens": -1, "output_tokens": 2},
        {"input_tokens": True, "output_tokens": 2},
    ],
)
def test_half_a_usage_is_none(record: Json) -> None:
    with pytest.raises(ValueError, match="whole number of tokens"):
        Usage.from_api(record, "5m")
