"""The watcher's notes, in words: pure."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.layout import Layout
from autoresearch.mirror.noted import SILENCE_SECONDS, noted, notices, training

NOW = 1_700_000_000.0
FINE = {"schema": 1, "written": NOW, "polled": NOW, "problem": "", "unsent": 0, "refused": {}}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def words(**said: Any) -> list[str]:
    return list(notices({**FINE, **said}, NOW))


def test_before_the_first_turn_there_is_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert noted(layout) == {}
    layout.watched.parent.mkdir()
    for torn in ("", "{", "[1]"):
        layout.watched.write_text(torn)
        assert noted(layout) == {}
    layout.watched.write_text(json.dumps(FINE))
    assert noted(layout) == FINE
    assert list(notices({}, NOW)) == []
    assert dict(training({})) == {}


def test_all_is_well_is_no_news() -> None:
    assert words() == []


def test_a_short_silence_is_no_news() -> None:
    assert words(problem="it is down", polled=NOW - SILENCE_SECONDS) == []
    [line] = words(problem="it is down", polled=NOW - SILENCE_SECONDS - 1, unsent=3)
    assert line.startswith("W&B has not answered since ")
    assert line.endswith(" (it is down); 3 runs wait to be sent")
    [line] = words(problem="it is down", polled=NOW - SILENCE_SECONDS - 1, unsent=1)
    assert line.endswith(" (it is down); 1 run waits to be sent")


def test_a_server_that_never_answered_is_news_at_once() -> None:
    assert words(problem="there is no key", polled=0) == ["W&B has not answered (there is no key)"]


def test_an_old_answer_without_a_problem_is_no_news() -> None:
    assert words(polled=NOW - 1e6) == []


def test_refused_results_are_counted() -> None:
    assert words(refused={"a-1-x": "it is not signed", "b-1-x": "nor is it"}) == [
        "2 results from W&B were refused: a-1-x: it is not signed"
    ]
    assert words(refused={"a-1-x": "it is not signed"}) == [
        "1 result from W&B was refused: a-1-x: it is not signed"
    ]


@pytest.mark.parametrize(("more", "tail"), [([], ""), (["y", "z"], ", and 2 more")])
def test_differences_are_counted(more: list[str], tail: str) -> None:
    assert words(differences=["x", *more]) == [f"W&B differs from the journal: x{tail}"]


def test_what_somebody_wrote_at_wandb_does_not_break_the_line() -> None:
    assert words(differences=["x has failure a\n\x1b[2Jb at W&B"]) == [
        "W&B differs from the journal: x has failure a [2Jb at W&B"
    ]


def test_what_is_running_is_told_by_experiment() -> None:
    said = {"running": {"abc-1": {"loss": 2.5, "_step": 7}, "def-2": {}, "ghi-1": {"loss": "low"}}}
    assert dict(training(said)) == {"abc": {"loss": 2.5, "_step": 7}, "def": {}}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "problem": st.text(),
            "unsent": st.integers(0),
            "refused": ANYTHING,
            "differences": st.lists(st.text()) | ANYTHING,
            "running": ANYTHING,
        },
    )
)
def test_whatever_is_noted_is_told_in_single_short_lines(said: dict[str, Any]) -> None:
    lines = list(notices(said, NOW))
    assert len(lines) <= 3
    assert all(len(line) <= 401 and not {"\n", "\r", "\x1b"} & set(line) for line in lines)
    assert all(isinstance(values, dict) for values in training(said).values())
