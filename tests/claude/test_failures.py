"""A campaign whose Claude fails in every known way, one wave after the other, then recovers.

The controller's desk, the planner's processes and the client are real, the server is local, and
results are made up as soon as a wave is there. Pilots get work from bayes meanwhile, the reason is
on record, and nobody has to do anything.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from claude_server import ERRORS, KEY, Answer, ClaudeServer, Fault, Request, uses
from outside import SPACE
from scientists import said
from studies import study

from autoresearch import asking
from autoresearch.asking import Desk
from autoresearch.entry import Ask, brief
from autoresearch.experiment import Json, Result, Wave
from autoresearch.programs import Programs
from autoresearch.settings import Claude, Planner, Price, Search, Spending

SIZE = 3  # experiments of a wave
SECONDS = 5.0  # that a wave may take


def status(code: int, headers: Mapping[str, str] | None = None, name: str = "") -> Fault:
    error: Json = {"type": ERRORS.get(code, "api_error"), "message": "injected"}
    if name:
        error["details"] = {"error_code": name}
    return Fault("status", status=code, error=error, headers=headers or {})


# How every request of a wave fails, and the words in which that is told.
FAULTS: dict[str, tuple[Fault, str]] = {
    "slow": (Fault("slow", seconds=2 * SECONDS), "claude.seconds: the 5 s"),
    "limited": (status(429, {"retry-after": "86400"}), "it asks to wait 86400 s"),
    "overloaded": (status(529), "overloaded (529)"),
    "broken": (status(500), "the server failed (500)"),
    "gone": (Fault("drop"), "the connection broke before the answer"),
    "refusing": (Fault("refuse"), "Claude refused"),
    "cut": (Fault("cut"), "gave up after 5 answers"),
    "garbage": (Fault("garbage"), "the answer should be a message"),
    "no money": (status(429, name="enforced_spend_limit_reached"), "spend limit is reached"),
}
NONSENSE = uses("propose_wave", hypothesis="", experiments=[{"overrides": {"nothing": 1}}])
TOLD = {mood: words for mood, (_, words) in FAULTS.items()} | {
    "nonsense": "gave up after 5 answers",
    "down": "127.0.0.1 cannot be reached",
}


@dataclass
class Moody:
    """Claude, in the mood that the test says."""

    mood: str = ""

    def fault(self, request: Request) -> Fault | None:
        is_asked = request.path == "/v1/messages" and self.mood in FAULTS
        return FAULTS[self.mood][0] if is_asked else None

    def answer(self, body: Json) -> Answer:
        if self.mood == "nonsense":
            return NONSENSE
        number = int(said(body)[0].split(":")[0].removeprefix("Wave "))
        wanted = [{"overrides": {"rate": round(0.2 + number / 100, 3)}, "description": "a rate"}]
        return uses("propose_wave", hypothesis=f"rate {number}", experiments=wanted)


Night = dict[str, tuple[Ask, Wave]]  # the question and the wave, by mood


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    claude, found = Moody(), Night()
    with pytest.MonkeyPatch.context() as patch, ClaudeServer(claude.answer) as server:
        patch.setenv("ANTHROPIC_API_KEY", KEY)
        server.rule = claude.fault
        desk = sit(tmp_path_factory.mktemp("night"), server)
        for claude.mood in ("well", *TOLD, "recovered"):
            if claude.mood == "down":
                server.down()
            found[claude.mood] = next_wave(desk)
            server.up()
    return found


def sit(root: Path, server: ClaudeServer) -> Desk:
    """At a campaign with room for all these waves."""
    campaign = study(root)
    settings = replace(
        campaign.settings,
        planner=Planner("claude"),
        search=Search(SPACE, wave=SIZE, rungs=(1,)),
        budget=Spending(experiments=0, wall_hours=1.0, usd_agent=50.0),
        claude=Claude(
            url=server.url, seconds=SECONDS, patience=0.5, prices={"claude-opus-5-5": Price(4, 20)}
        ),
    )
    hands = campaign.layout, campaign.record, campaign.sources, Programs(campaign.sources)
    return Desk(settings, *hands)


def next_wave(desk: Desk) -> tuple[Ask, Wave]:
    """Ask Claude, whose wave has its results as soon as it is there."""
    asking.ask(desk, desk.settings.planner)
    while desk.at_work:
        asking.take_answer(desk, "claude")
        time.sleep(0.02)
    results = [Result(id, 1, "p", 2.0) for id in desk.history.active]
    desk.record.append({"type": "queued", "attempts": [[r.experiment, 1] for r in results]})
    for result in results:
        where = {"experiment": result.experiment, "attempt": 1}
        desk.record.append({"type": "finished", **where, "result": brief(result)})
    *_, ask = desk.history.asks.values()
    return ask, desk.history.waves[-1][0]


@pytest.mark.parametrize("mood", TOLD)
def test_each_failure_is_told_in_its_own_words_and_costs_no_experiment(
    night: Night, mood: str
) -> None:
    ask, wave = night[mood]
    assert TOLD[mood] in ask.problem
    assert wave.problem == ask.problem
    assert [proposal.planner for proposal in wave.proposals] == ["bayes"] * SIZE


def test_claude_is_back_as_soon_as_it_can(night: Night) -> None:
    for mood in ("well", "recovered"):
        ask, wave = night[mood]
        assert not ask.problem
        assert [proposal.planner for proposal in wave.proposals] == ["claude", "bayes", "bayes"]


def test_what_may_have_been_billed_is_counted(night: Night) -> None:
    for mood in ("well", "slow", "gone", "refusing", "cut", "garbage", "nonsense"):
        assert night[mood][0].spent > 0, mood
    for mood in ("limited", "overloaded", "broken", "no money", "down"):
        assert night[mood][0].spent == 0, mood
