"""The conf/ we ship: every file composes, is explained, and knows only what exists."""

import re
from pathlib import Path

import pytest
import yaml

from autoresearch.config import from_yaml, preview
from autoresearch.layout import shipped
from autoresearch.planners.table import PLANNERS, settings_of

CONF = shipped("conf")
FILES = sorted(CONF.glob("*/*.yaml"))
OPTIONS = [f"{path.parent.name}={path.stem}" for path in FILES]


def test_groups_are_one_level_deep_and_all_there() -> None:
    assert {path.parent.name for path in FILES} == {
        *("cluster", "task", "search", "planner", "claude", "budget", "tracker", "judge")
    }
    assert sorted(CONF.rglob("*.yaml")) == sorted([*FILES, CONF / "config.yaml"])


@pytest.mark.parametrize("option", OPTIONS)
def test_every_file_composes(option: str) -> None:
    name = option.partition("=")[2]
    task = [f"task={name}"] if option in ("search=tiny", "search=gpt") else []
    settings = from_yaml(preview([option, *task], [CONF]))
    assert settings.planner.kind in PLANNERS
    assert bool(settings.search.space) == (option != "search=empty")


@pytest.mark.parametrize("path", [CONF / "config.yaml", *FILES], ids=lambda path: path.stem)
def test_every_value_is_explained(path: Path) -> None:
    """By a comment beside it, or by the comment that opens its block of lines."""
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        values = [line for line in block.splitlines() if re.match(r"[\s-]*\w+: +[^#\s]", line)]
        is_opened = block.startswith("#")
        assert all("#" in line for line in values[is_opened:]), block


def test_every_planner_has_its_file_and_every_option_is_one_it_takes() -> None:
    files = {path.stem: yaml.safe_load(path.read_text()) for path in CONF.glob("planner/*.yaml")}
    assert {record["kind"] for record in files.values()} == set(PLANNERS)
    for record in files.values():
        planner = settings_of(record["kind"], record.get("options") or {})
        assert set(record.get("options") or {}) == set(vars(planner))
        assert vars(planner) == (record.get("options") or {})  # a file shows the defaults
