"""Plain values → dataclasses, strictly."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from autoresearch.config.reader import known_keys, plain, read
from autoresearch.errors import ConfigError
from autoresearch.experiment import Scalar
from autoresearch.settings import Settings
from autoresearch.space import Choice, Domain


@dataclass(frozen=True)
class Inner:
    count: int
    share: float = 0.5
    label: str = ""
    ready: bool = False


@dataclass(frozen=True)
class Outer:
    inner: Inner
    bound: float | None = None
    steps: tuple[int, ...] = ()
    tiers: dict[str, Inner] = field(default_factory=dict)
    options: dict[str, Scalar] = field(default_factory=dict)
    space: dict[str, Domain] = field(default_factory=dict)


FULL: dict[str, Any] = {
    "inner": {"count": 3, "share": 1, "label": "a", "ready": True},
    "bound": 2.5,
    "steps": [1, 2],
    "tiers": {"a": {"count": 1}, "b": {"count": 2}},
    "options": {"x": True, "y": 1, "z": 1.0, "w": "1"},
    "space": {"depth": "choice(1,2)"},
}


def test_every_kind_of_field_is_read() -> None:
    outer = read(Outer, FULL)
    assert outer.inner == Inner(3, 1.0, "a", True)
    assert (outer.bound, outer.steps) == (2.5, (1, 2))
    assert outer.tiers == {"a": Inner(1), "b": Inner(2)}
    assert list(outer.tiers) == ["a", "b"]
    assert outer.space == {"depth": Choice((1, 2))}


def test_a_whole_number_becomes_the_float_that_is_wanted_and_options_keep_their_types() -> None:
    outer = read(Outer, FULL | {"bound": 2})
    assert repr(outer.inner.share) == "1.0"
    assert repr(outer.bound) == "2.0"
    assert [repr(v) for v in outer.options.values()] == ["True", "1", "1.0", "'1'"]


def test_plain_is_the_inverse() -> None:
    outer = read(Outer, FULL)
    assert read(Outer, plain(outer)) == outer


def test_what_may_be_left_out_is_left_to_its_default() -> None:
    assert read(Outer, {"inner": {"count": 1}, "tiers": None}) == Outer(Inner(1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"count": "many"}}, "inner.count should be a whole number, but was 'many'"),
        ({"inner": {"count": True}}, "inner.count should be a whole number, but was True"),
        ({"inner": {"count": 1.0}}, "inner.count should be a whole number, but was 1.0"),
        ({"inner": {"count": None}}, "inner.count should be a whole number, but was None"),
        ({"inner": {"count": 1, "share": "x"}}, "inner.share should be a number, but was 'x'"),
        ({"inner": {"count": 1, "share": True}}, "inner.share should be a number, but was True"),
        (
            {"inner": {"count": 1, "share": float("nan")}},
            "inner.share should be a finite number, but was nan",
        ),
        (
            {"inner": {"count": 1, "share": 10**400}},
            f"inner.share should be a number, but was {10**400}",
        ),
        ({"inner": {"count": 1, "ready": 1}}, "inner.ready should be true or false, but was 1"),
        (
            {"inner": {"count": 1, "label": 7}},
            "inner.label should be text, but was 7; as text it is written inner.label='\"7\"'",
        ),
        (
            {"inner": {"count": 1, "label": "\udcff"}},
            "inner.label should be text, but '\\udcff' is not valid Unicode",
        ),
        ({"inner": {}}, "inner.count should be set, but is not; say inner.count=..."),
        ({"inner": {"count": "???"}}, "inner.count should be set, but is not; say inner.count=..."),
        ({"inner": 3}, "inner should hold names with values, but was 3"),
        ({}, "inner should be set, but is not; say inner=..."),
        ({"inner": {"cuont": 1}}, "there is no key 'inner.cuont'; did you mean inner.count?"),
        ({"inner": {3: 1}}, "inner.3 should be a name, but 3 is none"),
        (
            {"inner": {"count": 1}, "bound": "x"},
            "bound should be a number or null, but was 'x'",
        ),
        ({"inner": {"count": 1}, "steps": 3}, "steps should be a list such as [1,2], but was 3"),
        (
            {"inner": {"count": 1}, "steps": [1, "a"]},
            "steps[1] should be a whole number, but was 'a'",
        ),
        (
            {"inner": {"count": 1}, "tiers": {"a": {}}},
            "tiers.a.count should be set, but is not; say tiers.a.count=...",
        ),
        (
            {"inner": {"count": 1}, "options": {"x": [1]}},
            "options.x should be one value (a number, text, true or false), but was [1]",
        ),
    ],
)
def test_every_mistake_is_one_clear_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(Outer, values)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "suggestion"),
    [
        ({"tsak": {}}, "there is no key 'tsak'; did you mean task?"),
        ({"mode": 1}, "there is no key 'mode'; did you mean tracker.mode?"),
        (
            {"experiments": 1},
            "there is no key 'experiments'; did you mean budget.experiments or pilot.experiments?",
        ),
        ({"pilotz": 1}, "there is no key 'pilotz'; did you mean pilot?"),
        (
            {"cluster": {"pilotz": 1}},
            "there is no key 'cluster.pilotz'; did you mean cluster.tiers.NAME.pilots?",
        ),
        (
            {"planner": {"xyz": 1}},
            "there is no key 'planner.xyz'; choose one of: kind, options",
        ),
    ],
)
def test_an_unknown_key_is_answered_by_the_nearest_one_anywhere(
    values: dict[str, Any], suggestion: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(Settings, values)
    assert str(caught.value) == suggestion


def test_known_keys_are_all_there_is_to_set() -> None:
    keys = set(known_keys(Settings))
    assert {"seed", "task.budget.tokens", "cluster.tiers.NAME.pilots", "search.rungs"} <= keys
    assert "task.params.NAME" in keys
    assert not any(key.endswith(("low", "values")) for key in keys)  # domains are single values
