"""What Claude reads of a campaign: complete enough to think with, short enough to pay for."""

import json
from pathlib import Path

import pytest
from outside import EDIT, PROGRAM, SPACE, Campaign
from studies import crowd, finish, library, study

from autoresearch.claude.reading import READINGS, entry_of, thinned
from autoresearch.claude.schema import misfits
from autoresearch.entry import Entry, Purpose
from autoresearch.errors import CampaignError
from autoresearch.experiment import Failure, Json, Result, Seconds
from autoresearch.lessons import of_campaign
from autoresearch.program import bake
from autoresearch.programs import Programs

TOOLS = {reading.name: reading for reading in READINGS}


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return study(tmp_path)


def ask(campaign: Campaign, tool: str, **asked: object) -> str:
    """An answer to input that fits the tool's schema."""
    assert list(misfits(asked, TOOLS[tool].schema)) == []
    return TOOLS[tool].answer(library(campaign), asked)


def last(campaign: Campaign) -> Entry:
    return list(campaign.history.entries.values())[-1]


def complete(campaign: Campaign, log: str = "", **more: object) -> Entry:
    """The last experiment gets the files of its result."""
    entry = last(campaign)
    assert entry.result
    known: Json = {**entry.result.to_json(), **more}
    finish(campaign, entry.current, Result.from_json(json.loads(json.dumps(known))), log)
    return entry


def keys(answer: str) -> list[str]:
    """The candidates of a table."""
    lines = answer.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("candidate | "))
    return [line.split()[0] for line in lines[start + 1 :]]


# ---- many results ------------------------------------------------------------------------------


def test_the_best_come_first_and_failures_last(campaign: Campaign) -> None:
    second = campaign.screen(1.9, {"width": 2}).key
    first = campaign.screen(1.8, {"width": 3}).key
    failed = campaign.screen(Failure.crashed, {"width": 4}).key
    found = keys(ask(campaign, "read_results"))
    assert found[:2] == [first, second]
    assert found[-1] == failed


def test_orders_pages_and_filters(campaign: Campaign) -> None:
    crowd(campaign, 60)
    assert len(keys(ask(campaign, "read_results"))) == 20
    assert len(keys(ask(campaign, "read_results", limit=1000))) == 50
    answer = ask(campaign, "read_results", limit=5, offset=58)
    assert "rows 59 to 61 of 61" in answer
    assert len(keys(answer)) == 3
    newest = keys(ask(campaign, "read_results", order="newest", limit=1))
    assert newest == [last(campaign).experiment.candidate.key]
    wave = ask(campaign, "read_results", wave=2)
    assert {line.split(" | ")[1] for line in wave.splitlines() if line[:10] in keys(wave)} == {"2"}
    assert keys(ask(campaign, "read_results", planner="bayes")) == []
    assert len(keys(ask(campaign, "read_results", planner="claude", limit=50))) == 50
    assert len(keys(ask(campaign, "read_results", order="fastest"))) == 20
    assert len(keys(ask(campaign, "read_results", order="smallest"))) == 20


def test_an_unknown_tier_is_told(campaign: Campaign) -> None:
    with pytest.raises(CampaignError, match="there is no tier 'h100'; choose of screen"):
        ask(campaign, "read_results", tier="h100")


# ---- one experiment ------------------------------------------------------------------------------


def test_everything_about_one(campaign: Campaign) -> None:
    campaign.screen(1.9, {"width": 2}, seed=1)
    campaign.screen(1.8, {"width": 2}, seed=2)
    curve = [[float(n), 10 * n, 5.0 - n / 100] for n in range(100)]
    entry = complete(
        campaign,
        curve=curve,
        parameters={"width": 2, "rate": 0.5},
        seconds=Seconds(setup=3.0, train=10.0, score=1.0).__dict__,
        tokens=1000,
        steps=30,
        peak_memory=1 << 30,
    )
    answer = ask(campaign, "read_experiment", name=entry.experiment.id)
    for part in (
        *(f"experiment {entry.experiment.id} of candidate", "wave 2 by test: why not"),
        *("overrides: width=2", "as given", "bits per byte: 1.80000", "state: finished"),
        *("10.0 s of training, 3.0 s before, 1.0 s of scoring; 1.00 GB", "30 steps, 1000 tokens"),
        *("Config that ran: width=2 rate=0.5", "0.0  0  5.0000", "99.0  990  4.0100"),
    ):
        assert part in answer, answer
    (runs,) = [line for line in answer.splitlines() if line.startswith("  screen, 1000 tokens")]
    assert "1.90000" in runs
    assert "1.80000" in runs


def test_a_failure_and_the_attempts_before_it(campaign: Campaign) -> None:
    campaign.screen(Failure.diverged, {"width": 2})
    entry = last(campaign)
    entry.losses.append("node_failed: gone\x1b[2J")
    assert entry.result
    books = library(campaign)
    books.known = campaign.history
    answer = TOOLS["read_experiment"].answer(books, {"name": entry.experiment.id})
    assert "failed: diverged: " in answer
    assert "lost before: node_failed: gone[2J" in answer
    assert "bits per byte:" not in answer


def test_a_candidate_stands_for_its_run_with_a_score_and_its_log_for_the_failed_one(
    campaign: Campaign,
) -> None:
    campaign.screen(Failure.diverged, {"width": 2}, seed=1)
    key = campaign.screen(1.8, {"width": 2}, seed=2).key
    books = library(campaign)
    assert entry_of(books, key).bpb == 1.8
    assert entry_of(books, key, failed_first=True).has_failed
    assert entry_of(books, "baseline").purpose is Purpose.baseline
    with pytest.raises(CampaignError, match="one experiment or candidate 'zebra'"):
        entry_of(books, "zebra")


def test_a_champion_that_has_not_run_since_it_was_baked(campaign: Campaign) -> None:
    winner = campaign.screen(1.8, {"width": 3})
    campaign.crown(winner, campaign.sources.add(PROGRAM + "# 3\n", "x", when=0.0))
    assert "bits per byte: 1.80000" in ask(campaign, "read_experiment", name="champion")


def test_a_curve_keeps_both_ends() -> None:
    curve = [(float(n), n, 1.0) for n in range(100)]
    assert len(thinned(curve)) == 12
    assert (thinned(curve)[0], thinned(curve)[-1]) == (curve[0], curve[-1])
    assert thinned(curve[:5]) == curve[:5]


# ---- logs, programs, effects ---------------------------------------------------------------------


def test_the_end_of_a_log(campaign: Campaign) -> None:
    campaign.screen(Failure.crashed, {"width": 2})
    id = last(campaign).experiment.id
    assert "there is no log" in ask(campaign, "read_log", name=id)
    complete(campaign, log="".join(f"line {n}\n" for n in range(500)) + "    ValueError: no\n")
    answer = ask(campaign, "read_log", name=id)
    assert answer.startswith("line 441\n")
    assert answer.endswith("\n    ValueError: no")
    assert ask(campaign, "read_log", name=id, lines=2) == "line 499\n    ValueError: no"
    complete(campaign, log="x" * 100_000)
    assert len(ask(campaign, "read_log", name=id)) == 4000


def test_a_program_can_be_copied_from(campaign: Campaign) -> None:
    key = campaign.screen(1.8, {"width": 3}).key
    answer = ask(campaign, "read_source", name=key)
    head, _, text = answer.partition("\n")
    assert head == "lines 1 to 18 of 18"
    assert text + "\n" == bake(PROGRAM, {"width": 3})
    some = ask(campaign, "read_source", name=key, start=17, end=99)
    assert some == "lines 17 to 18 of 18\n    for _ in run.batches(1):\n        pass"
    numbered = ask(campaign, "read_source", name=key, start=18, numbers=True)
    assert numbered == "lines 18 to 18 of 18\n  18         pass"


def test_a_long_program_comes_in_pages_of_whole_lines(campaign: Campaign) -> None:
    text = PROGRAM + "".join(f"# remark {n} {'x' * 50}\n" for n in range(400))
    key = campaign.screen(1.8, program=campaign.sources.add(text, "x", when=0.0)).key
    lines, start = list[str](), 1
    while start <= 418:
        answer = ask(campaign, "read_source", name=key, start=start)
        assert len(answer) < 7600
        lines += answer.splitlines()[1:]
        start = int(answer.split()[3]) + 1
    assert "\n".join(lines) + "\n" == text


def test_how_two_programs_differ(campaign: Campaign) -> None:
    text = PROGRAM.replace(EDIT["search"], EDIT["replace"])
    key = campaign.screen(1.8, program=campaign.sources.add(text, "x", when=0.0)).key
    answer = ask(campaign, "diff", one="champion", other=key)
    assert f"-    {EDIT['search']}\n+    {EDIT['replace']}\n" in answer
    assert ask(campaign, "diff", one=key, other=key) == "they are the same program"


def test_effects_are_those_of_a_programs_family(campaign: Campaign) -> None:
    for width in (2, 3, 4):
        campaign.screen(2.0 - width / 10, {"width": width})
    history, programs = campaign.history, Programs(campaign.sources)
    known = of_campaign(history, programs, SPACE, history.champion.program)
    assert ask(campaign, "effects") == known.text()
    assert ask(campaign, "effects", name="baseline") == known.text()
