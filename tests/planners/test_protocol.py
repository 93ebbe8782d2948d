"""Requests: what may be asked, and how a wrong one is refused."""

import json

import pytest

from autoresearch.errors import ConfigError
from autoresearch.experiment import Failure, Json
from autoresearch.planners.greedy import Settings
from autoresearch.planners.protocol import Outcome, Request, Trial, read_settings
from autoresearch.space import Choice, Interval

REQUEST: Json = {
    "schema": 1,
    "planner": "greedy",
    "settings": {"step": 0.5},
    "seed": 7,
    "wave": 3,
    "capacity": 4,
    "space": {
        "lr": {"low": 0.01, "high": 0.1, "log": True, "integer": False},
        "pattern": {"values": ["S", "L"]},
    },
    "defaults": {"lr": 0.04, "pattern": "S"},
    "trials": [
        {
            "parameters": {"lr": 0.04, "pattern": "S"},
            "state": "finished",
            "value": 1.5,
            "seeds": 5,
            "failure": None,
            "wave": 0,
        },
        {
            "parameters": {"lr": 0.1, "pattern": "S"},
            "state": "failed",
            "value": None,
            "seeds": 0,
            "failure": "out_of_memory",
            "wave": 1,
        },
    ],
}


def test_a_request_is_read_and_written_unchanged() -> None:
    request = Request.from_json(REQUEST)
    assert request.space == {"lr": Interval(0.01, 0.1, log=True), "pattern": Choice(("S", "L"))}
    assert request.trials[1].failure is Failure.out_of_memory
    unset = {"targets": [], "claude": {}, "usd": 0.0, "campaign": "", "task": "", "folder": ""}
    assert json.loads(json.dumps(request.to_json())) == {**REQUEST, **unset}
    target = {key: REQUEST[key] for key in ("space", "defaults", "trials")} | {"program": "abc"}
    whole = Request.from_json({**REQUEST, "targets": [target]})
    assert Request.from_json(json.loads(json.dumps(whole.to_json()))) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "a request's schema should be 1, but was 2"),
        ({"capacity": 0}, "capacity should be at least 1, but was 0"),
        ({"space": {}}, "the space should have at least one parameter"),
        ({"defaults": {"lr": 0.04}}, "should set exactly lr, pattern, but one sets lr"),
        ({"trials": [{"state": "finished"}]}, "a request should follow schema 1"),
        ({"trials": 3}, "a request should follow schema 1"),
        ({"colour": "red"}, "a request should follow schema 1"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(change: Json, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Request.from_json(REQUEST | change)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("state", "value"),
    [
        (Outcome.finished, None),
        (Outcome.finished, float("nan")),
        (Outcome.failed, 1.0),
        (Outcome.pending, 1.0),
    ],
)
def test_only_a_finished_trial_has_a_value(state: Outcome, value: float | None) -> None:
    with pytest.raises(ConfigError, match="a finished trial should have a finite value"):
        Trial({"lr": 0.1}, state, value)


def test_settings_are_checked_by_name_and_type() -> None:
    assert read_settings(Settings, "greedy", {}) == Settings()
    assert read_settings(Settings, "greedy", {"step": 1}) == Settings(step=1.0)
    with pytest.raises(ConfigError, match="'greedy' has no option 'steps'; did you mean 'step'"):
        read_settings(Settings, "greedy", {"steps": 0.5})
    for wrong in ("wide", True):
        with pytest.raises(ConfigError, match="option 'step' of planner 'greedy' should be of"):
            read_settings(Settings, "greedy", {"step": wrong})


def test_answers_describe_what_differs_from_the_defaults() -> None:
    request = Request.from_json(REQUEST)
    wave = request.answer("because", [{"lr": 0.082, "pattern": "S"}, {"lr": 0.04, "pattern": "L"}])
    assert [p.description for p in wave.proposals] == ["lr 0.04 → 0.082", "pattern S → L"]
    assert (wave.planner, wave.hypothesis, wave.exhausted) == ("greedy", "because", False)
