"""The demo with Claude: its real client, the real campaign of ./scripts/demo, a scripted scientist.

Nothing but the base URL, an environment variable, says that the answers are not Claude's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from claude_server import KEY, ClaudeServer, Scientist
from scientists import story

from autoresearch.entry import Purpose
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.sources import Sources

DEMO = Path(__file__).parents[2] / "scripts" / "demo"
ROWS = "return rows, parts\n"
RATE = "left = (1 - progress) / config.warmdown_ratio"


def fewer_rows(divisor: int) -> list[dict[str, str]]:
    """So many times as many steps, each on a smaller batch."""
    return [{"search": ROWS, "replace": f"return rows // {divisor}, parts\n"}]


SQUARE_ROOT = [{"search": RATE, "replace": RATE.replace("= ", "= (") + ") ** 0.5"}]
VARIANTS = [
    ("a quarter of the rows", fewer_rows(4)),
    ("half of the rows", fewer_rows(2)),
    ("rates fall as a square root", SQUARE_ROOT),
]
STORY = story(VARIANTS, [{"warmdown_ratio": 0.4}, {"warmdown_ratio": 0.7}], "weight_decay")


class Demo:
    """One that has run."""

    def __init__(self, root: Path, planner: str, scientist: Scientist) -> None:
        self.root = root
        self.layout = Layout(root / "demo")
        with ClaudeServer(scientist) as self.server:
            self.env = {
                **os.environ,
                "AUTORESEARCH_DATA": str(root.parent / "data"),
                "AUTORESEARCH_VENV": sys.prefix,
                "ANTHROPIC_API_KEY": KEY,
                "ANTHROPIC_BASE_URL": self.server.url,
                "HOME": str(root),
            }
            self.said = self.run(str(DEMO), "--planner", planner, f"dir={self.layout.root}")
        self.history = History.of(replay(self.layout.journal).events)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        return done.stdout

    def ask(self, verb: str, *words: str) -> dict[str, Any]:
        command = (sys.executable, "-P", "-m", "autoresearch", verb, str(self.layout.root), *words)
        answer: dict[str, Any] = json.loads(self.run(*command, "--json"))
        return answer


@pytest.fixture(scope="module", params=["claude", pytest.param("mixed", marks=pytest.mark.slow)])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(tmp_path_factory.mktemp(request.param), request.param, STORY)


def test_a_code_edit_of_claudes_is_crowned_and_certified(demo: Demo) -> None:
    text = Sources(demo.layout.sources).read(demo.history.champion.program)
    assert ROWS not in text
    assert demo.history.certifications[-1]["high"] < 0


def test_its_lineage_and_reason_are_shown(demo: Demo) -> None:
    lineage = demo.ask("show", "champion")["lineage"]
    assert "of the rows" in "\n".join(lineage)
    assert lineage[-1].endswith("train.py as it was given")
    edits = [e for e in demo.history.entries.values() if e.planner == "claude"]
    one = demo.ask("show", edits[0].experiment.id)
    assert one["planner"] == "claude"
    assert one["hypothesis"] == "one of these changes helps"
    assert one["expected"] == -0.05


def test_spending_and_the_notebook_are_shown(demo: Demo) -> None:
    agent = demo.ask("status")["agent"]
    assert 0 < agent["spent"] < agent["limit"] == 1  # the demo's bound, in dollars
    assert agent["requests"] == len(demo.server.billed)
    assert "screening variants first" in json.dumps(demo.ask("notebook")["notes"])


def test_a_new_program_was_tried_on_a_node_first(demo: Demo) -> None:
    smokes = [e for e in demo.history.entries.values() if e.purpose is Purpose.smoke]
    assert smokes
    assert all(e.bpb is not None for e in smokes)
    assert all(e.experiment.cell != demo.history.tiers["cpu"] for e in smokes)


def test_pilots_never_see_the_key(demo: Demo) -> None:
    for path in demo.layout.root.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
