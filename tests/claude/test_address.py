"""Where Claude is asked, seen from outside a planner's process: the address alone says who answers.

What a local server is asked in these tests is what Anthropic's own address would be asked.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from claude_server import KEY, ClaudeServer, Request, script, uses
from front import Front
from outside import EDIT
from studies import Node, study

from autoresearch.experiment import Json
from autoresearch.planning import Planning, request
from autoresearch.programs import Programs
from autoresearch.settings import Claude, Planner, Price

REAL = "api.anthropic.com"
LOCAL = "ANTHROPIC_BASE_URL"
PROPOSAL = {"edits": [EDIT], "description": "one wider", "expected": -0.05}


def scientist() -> ClaudeServer:
    """Looks, tries, proposes."""
    return ClaudeServer(
        script(
            uses("read_results", "What is known?"),
            uses("try_edit", edits=[EDIT], description="one wider"),
            uses("propose_wave", "It runs.", hypothesis="wider", experiments=[PROPOSAL]),
        )
    )


def ask(root: Path, usd: float = 1.0) -> Json:
    """A wave of planner=mixed, by a process of its own as the controller starts it."""
    campaign = study(root)
    claude = Claude(prices={"claude-opus-5-5": Price(4, 20)})
    settings = replace(campaign.settings, planner=Planner("mixed", {"share": 0.5}), claude=claude)
    question = request(campaign.history, settings, 4, Programs(campaign.sources))
    where = {"campaign": campaign.root, "task": str(root / "task"), "usd": usd}
    folder = campaign.layout.ask("0001")
    with Node(campaign, folder):
        planning = Planning.start(folder, question | where, -1)
        assert planning.process
        planning.process.wait()
    wave = planning.poll()
    assert wave
    return wave.to_json()


def seen(requests: list[Request]) -> list[Json]:
    """All there is to see of them, but for the name of who was asked."""
    asked = [vars(request) | {"headers": dict(request.headers)} for request in requests]
    for each in asked:
        del each["headers"]["host"]
    return asked


def use(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_anthropic_is_asked_exactly_what_a_local_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with scientist() as local, monkeypatch.context() as patch:
        use(patch, {LOCAL: local.url})
        wave = ask(tmp_path / "local")
    with scientist() as real, Front(REAL, real.port, tmp_path) as front:
        use(monkeypatch, front.environment)
        assert ask(tmp_path / "real") == wave
    assert set(front.asked) == {f"{REAL}:443"}
    assert {request.headers["host"] for request in real.requests} == {REAL}
    assert seen(real.requests) == seen(local.requests)
    assert len(local.bodies) == 3
    assert wave["problem"] == ""
    assert [each["planner"] for each in wave["proposals"]].count("claude") == 1


def test_a_dollar_is_a_dollar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the next answer could cost at worst is more than is left: nothing is asked."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with scientist() as local:
        use(monkeypatch, {LOCAL: local.url})
        wave = ask(tmp_path / "local", usd=0.01)
        assert not local.bodies
    assert "budget.usd_agent" in wave["problem"]
    assert {each["planner"] for each in wave["proposals"]} == {"bayes"}
