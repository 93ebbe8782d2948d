"""The table of planners, and the process that runs one."""

import json
import subprocess
import sys

import pytest

from autoresearch.errors import ConfigError
from autoresearch.planners.bayes import Settings
from autoresearch.planners.table import PLANNERS, settings_of, strategy


def test_every_name_leads_to_a_strategy() -> None:
    for name in PLANNERS:
        module = strategy(name)
        assert callable(module.propose)
        assert settings_of(name, {}) == module.Settings()


def test_an_unknown_planner_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no planner 'baies'; did you mean 'bayes'"):
        strategy("baies")


def test_settings_are_the_planners_own() -> None:
    assert settings_of("bayes", {"startup": 5}) == Settings(startup=5)


def test_naming_planners_loads_none_of_them() -> None:
    """The controller names planners; a modelling library would not fit into its memory."""
    code = "import sys, autoresearch.planners.table as t; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"optuna", "numpy", "scipy", "torch", *PLANNERS.values()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "planner: a request should be JSON on stdin, but: Expecting value"),
        ("[1]", "planner: a request should be a JSON object, but was list"),
        ("{}", "planner: a request should follow schema 1, but: KeyError('space')"),
    ],
)
def test_a_wrong_request_ends_the_process_with_one_line(text: str, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "autoresearch.planners"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_an_unknown_planner_ends_the_process_with_one_line() -> None:
    question = {
        "schema": 1,
        "planner": "gredy",
        "settings": {},
        "seed": 1,
        "wave": 1,
        "capacity": 1,
        "space": {"x": {"values": [1, 2]}},
        "defaults": {"x": 1},
        "trials": [],
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "autoresearch.planners"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "planner: there is no planner 'gredy'; did you mean 'greedy'?\n"
