"""The nouns: their identity is their content, and they cross JSON unchanged."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.experiment import (
    SCHEMA,
    Attempt,
    Budget,
    Candidate,
    Cell,
    Experiment,
    Failure,
    Proposal,
    Result,
    Seconds,
    Split,
    State,
    Wave,
    canonical,
    digest,
    plain,
)

words = st.text(max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), finite, words)
mappings = st.dictionaries(words, scalars, max_size=4)
budgets = st.one_of(
    st.builds(Budget, seconds=st.floats(0.1, 1e6)),
    st.builds(Budget, tokens=st.integers(1, 2**50)),
)
cells = st.builds(Cell, words, budgets, words, words, words)
experiments = st.builds(
    Experiment,
    st.builds(Candidate, words, mappings),
    st.integers(0, 2**31),
    cells,
    st.sampled_from(Split),
)
waves = st.builds(
    Wave,
    words,
    words,
    st.lists(st.builds(Proposal, mappings, words), max_size=3).map(tuple),
    st.booleans(),
)
results = st.builds(
    Result,
    experiment=words,
    attempt=st.integers(1, 9),
    pilot=words,
    seconds=st.builds(Seconds, *[st.floats(0, 1e6)] * 4),
    parameters=mappings,
    curve=st.lists(st.tuples(finite, st.integers(0, 99), finite), max_size=3).map(tuple),
    device=mappings,
    probes=mappings,
    hashes=st.dictionaries(words, words, max_size=3),
)
scored = st.one_of(
    st.builds(lambda r, bpb: replace(r, bpb=bpb), results, finite),
    st.builds(lambda r, failure: replace(r, failure=failure), results, st.sampled_from(Failure)),
)

BASE = Experiment(
    Candidate("a" * 64, {"lr": 0.04, "depth": 6}),
    seed=1,
    cell=Cell("cpu-1", Budget(tokens=1000), "d" * 64, "python 3.11", "r1"),
)


def through(record: Any) -> Any:
    return json.loads(json.dumps(record, allow_nan=False))


@given(experiments)
def test_an_experiment_crosses_json_unchanged(experiment: Experiment) -> None:
    again = Experiment.from_json(through(experiment.to_json()) | {"schema": SCHEMA})
    assert again == experiment
    assert again.id == experiment.id
    assert again.cell.key == experiment.cell.key


@given(waves)
def test_a_wave_crosses_json_unchanged(wave: Wave) -> None:
    assert Wave.from_json(through(wave.to_json())) == wave


@given(scored)
def test_a_result_crosses_json_unchanged(result: Result) -> None:
    assert Result.from_json(through(result.to_json())) == result


@given(cells)
def test_a_cell_crosses_json_unchanged(cell: Cell) -> None:
    assert Cell.from_json(through(cell.to_json())) == cell


def test_everything_that_identifies_an_experiment_is_in_its_id() -> None:
    cell = BASE.cell
    others = [
        replace(BASE, seed=2),
        replace(BASE, split=Split.test),
        replace(BASE, candidate=Candidate("b" * 64, BASE.candidate.overrides)),
        replace(BASE, candidate=Candidate("a" * 64, {"lr": 0.05, "depth": 6})),
        replace(BASE, candidate=Candidate("a" * 64, {"lr": 0.04})),
        replace(BASE, candidate=Candidate("a" * 64, {"lr": 0.04, "depth": 6.0})),
        replace(BASE, cell=replace(cell, budget=Budget(tokens=1001))),
        replace(BASE, cell=replace(cell, budget=Budget(seconds=1000))),
        replace(BASE, cell=replace(cell, device="other")),
        replace(BASE, cell=replace(cell, data="other")),
        replace(BASE, cell=replace(cell, software="other")),
        replace(BASE, cell=replace(cell, ruler="other")),
    ]
    assert len({BASE.id, *(other.id for other in others)}) == len(others) + 1


def test_the_order_of_overrides_does_not_matter() -> None:
    turned = Candidate("a" * 64, {"depth": 6, "lr": 0.04})
    assert replace(BASE, candidate=turned).id == BASE.id


def test_ids_are_the_same_in_every_process() -> None:
    """Python salts its own hashes; ids name directories and must not change."""
    code = (
        "from autoresearch.experiment import *;"
        "print(Candidate('a' * 64, {'lr': 0.04, 'depth': 6}).key, digest({'b': 1, 'a': [2]}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [BASE.candidate.key, digest({"a": [2], "b": 1})]
    assert BASE.id == "69d3e34f9a0c"  # changes only together with SCHEMA


def test_a_record_that_was_altered_is_refused() -> None:
    record = through(BASE.to_json())
    record["seed"] = 2
    with pytest.raises(ValueError, match=f"but was {BASE.id}"):
        Experiment.from_json(record)


def test_a_result_of_another_schema_is_refused() -> None:
    record = through(Result("e", 1, "p").to_json()) | {"schema": 99}
    with pytest.raises(ValueError, match="schema should be 1, but was 99"):
        Result.from_json(record)


@pytest.mark.parametrize(
    "changes",
    [
        {"bpb": "x"},
        {"bpb": True},
        {"bpb": float("nan")},
        {"bpb": float("inf")},
        {"bpb": 10**400},
        {"bpb": None},
        {"failure": "crashed"},
        {"failure": ""},
        {"failure": "tired"},
        {"attempt": 1.0},
        {"pilot": None},
        {"reason": ["x"]},
        {"ended": float("nan")},
        {"steps": True},
        {"parameters": []},
        {"seconds": {"train": float("inf")}},
        {"seconds": {"train": "x"}},
    ],
)
def test_a_result_of_wrong_types_is_refused(changes: dict[str, Any]) -> None:
    record = through(Result("e", 1, "p", 1.5).to_json()) | changes
    with pytest.raises(ValueError, match=r"should|is not a valid"):
        Result.from_json(record)


def test_a_whole_number_is_a_score_too_and_a_diverged_curve_passes() -> None:
    record = through(Result("e", 1, "p", 2.0).to_json())
    curve = [[0.5, 1, float("nan")]]
    assert Result.from_json(record | {"bpb": 2, "ended": 3, "curve": curve}).bpb == 2


def test_no_number_is_written_that_json_lacks() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"bpb": float("nan")})


@given(st.recursive(scalars, lambda inner: st.dictionaries(words, inner, max_size=3)))
def test_canonical_json_has_one_spelling(value: Any) -> None:
    assert canonical(through(value)) == canonical(value)


def test_frozen_means_frozen() -> None:
    for noun in (BASE, BASE.cell, BASE.candidate, Attempt("e", 1), Result("e", 1, "p")):
        with pytest.raises(FrozenInstanceError):
            setattr(noun, fields(noun)[0].name, "other")


def test_states_are_ordered() -> None:
    assert State.proposed < State.queued < State.running < State.finished


def test_the_machines_failures_are_not_the_candidates() -> None:
    machine = {failure for failure in Failure if failure.is_infrastructure}
    assert machine == {Failure.node_failed, Failure.preempted}


def test_attempts_of_one_experiment_are_ordered() -> None:
    assert sorted([Attempt("b", 1), Attempt("a", 10), Attempt("a", 9)]) == [
        Attempt("a", 9),
        Attempt("a", 10),
        Attempt("b", 1),
    ]


def test_time_that_holds_the_device_excludes_the_queue() -> None:
    assert Seconds(queue=100, setup=1, train=2, score=3).occupied == 6


def test_a_budget_is_written_in_its_unit() -> None:
    assert str(Budget(seconds=300.0)) == "300 s"
    assert str(Budget(tokens=5)) == "5 tokens"


def test_a_result_without_a_sandbox_is_unprotected() -> None:
    assert not Result("e", 1, "p").protected
    assert Result("e", 1, "p", sandbox="bubblewrap").protected


@given(st.text(), st.integers(1, 50))
def test_untrusted_text_is_made_plain_and_short(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert len(shown) <= limit + 1
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    assert "\x1b" not in shown
    assert "\x7f" not in shown


def test_of_a_long_text_the_end_is_kept() -> None:
    assert plain("\x1b[31mred\x00 alert", 100) == "[31mred alert"
    assert plain("x" * 10 + "end", 3) == "…end"
