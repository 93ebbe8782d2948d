"""Claude's share and what fills the rest: who proposes how much, and about which program.

The conversation is played by a function; everything it meets here is real.
"""

from dataclasses import replace

import pytest

from autoresearch.errors import ConfigError
from autoresearch.experiment import Proposal, Wave
from autoresearch.planners import bayes, claude, external, mixed
from autoresearch.planners.filling import filled
from autoresearch.planners.points import key
from autoresearch.planners.protocol import Outcome, Request, Target, Trial
from autoresearch.space import Choice, Domain, Interval

SPACE: dict[str, Domain] = {"rate": Interval(0.01, 1.0, log=True)}
OTHER: dict[str, Domain] = {**SPACE, "gain": Interval(0.5, 2.0)}
FILL = bayes.Settings(startup=3)


def request(planner: str = "mixed", capacity: int = 10, **changes: object) -> Request:
    base = Request(planner, 1, 1, capacity, SPACE, {"rate": 0.1})
    return replace(base, **changes)  # type: ignore[arg-type]


def says(monkeypatch: pytest.MonkeyPatch, wave: Wave) -> list[int]:
    """Have Claude say this; how many experiments it is asked for each time."""
    asked: list[int] = []

    def ask(request: Request, capacity: int) -> Wave:
        asked.append(capacity)
        return replace(wave, planner=request.planner)

    monkeypatch.setattr(mixed, "ask", ask)
    monkeypatch.setattr(claude, "ask", ask)
    return asked


IDEA = Wave("claude", "an idea", (Proposal({}, "an edit", "abc", "claude"),), notes=("a note",))


def test_claude_is_asked_for_its_share_and_bayes_fills_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = says(monkeypatch, IDEA)
    wave = mixed.propose(request(), mixed.Settings())
    assert asked == [3]
    assert len(wave.proposals) == 10
    assert [p.planner for p in wave.proposals] == ["claude"] + ["bayes"] * 9
    assert (wave.hypothesis, wave.notes) == ("an idea", ("a note",))


def test_the_share_holds_over_many_small_waves() -> None:
    counts = [mixed.share(request(capacity=2, wave=number), 0.3) for number in range(1, 501)]
    assert 0.25 < sum(counts) / 1000 < 0.35


def test_all_of_a_wave_of_claudes_is_asked_of_claude(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = says(monkeypatch, IDEA)
    wave = claude.propose(request("claude"), claude.Settings())
    assert asked == [10]
    assert len(wave.proposals) == 10


def test_what_claude_cannot_do_is_filled_and_the_reason_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    says(monkeypatch, Wave("claude", "", (), problem="overloaded"))
    wave = claude.propose(request("claude"), claude.Settings())
    assert len(wave.proposals) == 10
    assert (wave.problem, wave.exhausted) == ("overloaded", False)
    assert wave.hypothesis == "bayes searches on"


def test_half_of_the_room_goes_to_programs_that_do_well() -> None:
    trial = Trial({"rate": 0.1, "gain": 1.0}, Outcome.finished, 1.0)
    target = Target("new", OTHER, {"rate": 0.1, "gain": 1.0}, (trial,))
    wave = filled(request(targets=(target,)), Wave("mixed", "", ()), FILL)
    mine = [p for p in wave.proposals if p.program == "new"]
    assert (len(mine), len(wave.proposals)) == (5, 10)
    assert all(set(p.overrides) == set(OTHER) for p in mine)
    points = [(p.program, *sorted(p.overrides.items())) for p in wave.proposals]
    assert len(set(points)) == 10


def test_a_wave_that_is_full_stays_as_it_is() -> None:
    wave = replace(IDEA, proposals=IDEA.proposals * 10)
    assert filled(request(), wave, FILL) == wave


def test_with_nothing_left_to_fill_in_claude_is_asked_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = says(monkeypatch, IDEA)
    space: dict[str, Domain] = {"rate": Choice((0.1, 0.2))}
    tried = tuple(Trial({"rate": r}, Outcome.finished, 1.0) for r in (0.1, 0.2))
    monkeypatch.setattr(mixed, "share", lambda request, part: 0)
    wave = mixed.propose(request(space=space, trials=tried), mixed.Settings())
    assert asked == [10]
    assert wave.proposals == IDEA.proposals


def test_out_of_money_and_of_points_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, Wave("claude", "", (), exhausted=True, problem="budget.usd_agent"))
    space: dict[str, Domain] = {"rate": Choice((0.1, 0.2))}
    tried = tuple(Trial({"rate": r}, Outcome.finished, 1.0) for r in (0.1, 0.2))
    full = request("claude", space=space, trials=tried)
    assert claude.propose(full, claude.Settings()).exhausted
    left = claude.propose(replace(full, trials=tried[:1]), claude.Settings())
    assert not left.exhausted
    assert [key(space, p.overrides) for p in left.proposals] == [((False, 0.2),)]


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_is_one(share: float) -> None:
    with pytest.raises(ConfigError, match="share should lie above 0"):
        mixed.Settings(share=share)


def test_claude_cannot_be_asked_without_a_campaign() -> None:
    with pytest.raises(ConfigError, match="should be asked by a campaign"):
        claude.propose(request("claude"), claude.Settings())


def test_nobody_is_asked_where_waves_come_from_outside() -> None:
    wave = external.propose(request("external"), external.Settings())
    assert (wave.proposals, wave.exhausted) == ((), False)
