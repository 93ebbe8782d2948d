"""Real campaigns whose waves Claude writes: the real client, a scripted scientist behind it.

Everything else is real too: controller, pilots, referee, judge.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bigram import PROGRAM, write_task
from claude_server import KEY, ClaudeServer, Scientist
from scientists import story

from autoresearch.entry import Purpose
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.sources import Sources

SLOW = PROGRAM.replace("rate: float = 0.5", "rate: float = 0.05")
UPDATE = "            model.table -= config.rate * 100 * model.table.grad\n"


def steps(times: int) -> list[dict[str, str]]:
    new = UPDATE.replace("config.rate * 100", f"config.rate * {100 * times}")
    return [{"search": UPDATE.strip(), "replace": new.strip()}]


VARIANTS = [(f"steps x{n}", steps(n)) for n in (8, 4, 2)]
LEVELS = [{"scale": 0.05}, {"scale": 0.02}]
STORY = story(VARIANTS, LEVELS, "scale")

OVERRIDES = (
    *("name=c", "task=bigram", "search=bigram", "judge=quick", "claude.smoke_seconds=60"),
    "~search.space.rate",  # what is left to parameters helps little: the code has to change
    *("pilot.poll_seconds=0.1", "cluster.poll_seconds=0.2", "budget.usd_agent=2"),
)


def autoresearch(root: Path, *words: str, url: str = "") -> "subprocess.CompletedProcess[str]":
    ours = {"ANTHROPIC_API_KEY": KEY, "HOME": str(root)}
    if url:
        ours["ANTHROPIC_BASE_URL"] = url
    return subprocess.run(
        [sys.executable, "-P", "-m", "autoresearch", *words],
        cwd=root,
        env={**os.environ, "COLUMNS": "200", **ours},
        capture_output=True,
        text=True,
        check=False,
    )


class Campaign:
    """One that has run."""

    def __init__(self, root: Path, scientist: Scientist, *overrides: str) -> None:
        self.root = root
        write_task(root, program=SLOW)
        with ClaudeServer(scientist) as self.server:
            done = autoresearch(root, "run", "dir=c", *OVERRIDES, *overrides, url=self.server.url)
        assert done.returncode == 0, done.stderr
        self.layout = Layout(root / "c")
        self.history = History.of(replay(self.layout.journal).events)
        self.sources = Sources(self.layout.sources)

    def ask(self, *words: str) -> dict[str, Any]:
        done = autoresearch(self.root, *words, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture(scope="module", params=["claude", "mixed"])
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    root = tmp_path_factory.mktemp(request.param)
    planner = [f"planner={request.param}", "search.wave=4", "budget.experiments=44"]
    if request.param == "mixed":
        planner.append("planner.options.share=0.6")
    return Campaign(root, STORY, *planner)


def test_a_code_edit_of_claudes_is_crowned_and_certified(campaign: Campaign) -> None:
    history = campaign.history
    text = campaign.sources.read(history.champion.program)
    assert UPDATE not in text
    assert history.certifications[-1]["high"] < 0


def test_its_lineage_and_reason_are_shown(campaign: Campaign) -> None:
    shown = campaign.ask("show", "c", "champion")
    lineage = "\n".join(shown["lineage"])
    assert "steps x" in lineage
    assert lineage.splitlines()[-1].endswith("train.py as it was given")
    edits = [e for e in campaign.history.entries.values() if e.planner == "claude"]
    one = campaign.ask("show", "c", edits[0].experiment.id)
    assert one["planner"] == "claude"
    assert one["hypothesis"] == "one of these changes helps"
    assert one["expected"] == -0.05


def test_spending_and_the_notebook_are_shown(campaign: Campaign) -> None:
    status = campaign.ask("status", "c")
    billed = len(campaign.server.billed)
    assert 0 < status["agent"]["spent"] < status["agent"]["limit"] == 2
    assert status["agent"]["requests"] == billed
    notes = campaign.ask("notebook", "c")["notes"]
    assert "screening variants first" in json.dumps(notes)


def test_a_new_program_was_tried_on_a_node_first(campaign: Campaign) -> None:
    smokes = [e for e in campaign.history.entries.values() if e.purpose is Purpose.smoke]
    assert smokes
    assert all(e.bpb is not None for e in smokes)
    assert all(e.experiment.cell != campaign.history.tiers["cpu"] for e in smokes)


def test_pilots_never_see_the_key(campaign: Campaign) -> None:
    for path in (campaign.root / "c").rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
