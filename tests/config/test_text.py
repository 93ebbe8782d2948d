"""config.yaml: every settings object survives it exactly."""

from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch import __version__
from autoresearch.config import compose, from_yaml, to_yaml
from autoresearch.config.reader import UNSET, alternatives
from autoresearch.errors import ConfigError
from autoresearch.settings import Settings
from autoresearch.space import Choice, Domain, Interval

TEXT = st.text().filter(lambda text: text != UNSET)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(),
    float: FLOATS,
    str: TEXT,
    NoneType: st.none(),
}
DOMAINS: st.SearchStrategy[Domain] = st.one_of(
    st.lists(st.one_of(SIMPLE[bool], SIMPLE[int], FLOATS, st.text()), min_size=1, unique_by=repr)
    .map(tuple)
    .map(Choice),
    st.tuples(FLOATS, FLOATS, st.just(False))
    .filter(lambda ends: ends[0] < ends[1])
    .map(lambda ends: Interval(*ends)),
    st.sampled_from([Interval(2, 16, True, True), Interval(-3, 5, integer=True)]),
)


def anything(kind: Any) -> st.SearchStrategy[Any]:
    """All values of a type hint: a field added to the settings is covered as soon as it exists."""
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{name: anything(hint) for name, hint in hints.items()})
    if kind == Domain:
        return DOMAINS
    if get_origin(kind) is dict:
        return st.dictionaries(st.text(), anything(get_args(kind)[1]), max_size=3)
    if get_origin(kind) is tuple:
        return st.lists(anything(get_args(kind)[0]), max_size=3).map(tuple)
    return st.one_of(*(SIMPLE[choice] for choice in alternatives(kind)))


@settings(max_examples=50)
@given(anything(Settings))
def test_what_is_written_is_read_back_exactly(given_settings: Settings) -> None:
    found = from_yaml(to_yaml(given_settings))
    assert found == given_settings
    assert repr(found) == repr(given_settings)  # 1, 1.0 and True are three values


def test_a_composed_campaign_survives_and_names_our_version(here: Path) -> None:
    settings = compose(["planner=factorial"])
    text = to_yaml(settings)
    assert from_yaml(text) == settings
    assert text.startswith("#")
    assert f"autoresearch {__version__}." in text.splitlines()[0]
    assert "matrix_lr: tag(log, interval(0.01,0.1))" in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "config.yaml should be YAML"),
        ("", "name should be set"),
        ("3", "^the settings should hold names with values"),
        (b"name: \xff", "config.yaml should be YAML"),
        ("[" * 10_000, "nested too deeply"),
        ("name: 2026-13-01", "config.yaml should be YAML"),
        ("name: !!timestamp x", "config.yaml should be YAML"),
        ("nmae: x", "there is no key 'nmae'; did you mean name?"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(text: str | bytes, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        from_yaml(text)
    assert "\n" not in str(caught.value)
