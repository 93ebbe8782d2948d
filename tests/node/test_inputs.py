"""What those who watch are told of an attempt."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.experiment import (
    Attempt,
    Budget,
    Candidate,
    Cell,
    Experiment,
    Json,
    Result,
    Scalar,
)
from autoresearch.layout import Layout
from autoresearch.node.inputs import OURS, PARAMETERS, identity, place, run_of

CELL = Cell("cpu-1", Budget(tokens=1000), "d" * 12, "s" * 12, "r" * 12)
CONTEXT = {"purpose": "screen", "wave": 2, "planner": "bayes"}


def config(root: Path, parameters: Mapping[str, Scalar], context: Json = CONTEXT) -> Json:
    """The config of an experiment's run, as the referee and `sync` compose it."""
    experiment = Experiment(Candidate("f" * 64, {}), 7, CELL)
    layout, attempt = Layout(root), Attempt(experiment.id, 1)
    record = layout.experiment_json(experiment.id)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(experiment.to_json() | {"context": context}))
    result = Result(experiment.id, 1, "p-1", parameters=dict(parameters))
    run: Json = run_of(layout, "night", "screen", attempt, identity(experiment, result))
    found: Json = run["config"]
    return found


def looked_up(config: Json, name: str) -> object:
    """A value as W&B finds it, where a dot goes into a mapping."""
    value: object = config
    for part in name.split("."):
        assert isinstance(value, Mapping)
        value = value[part]
    return value


def test_parameters_stand_beside_what_identifies_an_experiment(tmp_path: Path) -> None:
    found = config(tmp_path, {"lr": 0.1, "depth": 4})
    assert (found["lr"], found["depth"]) == (0.1, 4)
    assert (found["seed"], found["budget"], found["planner"]) == (7, "1000 tokens", "bayes")
    assert PARAMETERS not in found


def test_every_name_of_ours_is_known_as_such(tmp_path: Path) -> None:
    assert set(config(tmp_path, {"seed": 3})) == OURS


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_parameter_with_a_name_of_ours_hides_nothing_and_is_not_hidden(
    tmp_path: Path, name: str
) -> None:
    """Also where ours is not there: a place depends on the name alone."""
    without = config(tmp_path, {"lr": 0.1})
    assert config(tmp_path, {"lr": 0.1, name: 0.5}) == without | {PARAMETERS: {name: 0.5}}
    assert looked_up(config(tmp_path, {name: 0.5}, context={}), place(name)) == 0.5


NAMES = st.sampled_from(sorted(OURS)) | st.from_regex(r"[a-z]\w{0,5}", fullmatch=True)


@given(st.dictionaries(NAMES, st.integers() | st.text() | st.booleans(), max_size=6))
def test_every_parameter_is_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, parameters: dict[str, Scalar]
) -> None:
    found = config(tmp_path_factory.getbasetemp() / "any", parameters)
    assert {name: looked_up(found, place(name)) for name in parameters} == parameters
