"""Candidates in tables: of one cell each, with their noise, and nothing made better than it is."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from outside import PROGRAM, Campaign
from studies import crowd, study
from worlds import CELL, World

from autoresearch import dispatch
from autoresearch.claude import results
from autoresearch.claude.results import Board, Standing
from autoresearch.entry import Purpose
from autoresearch.experiment import Budget, Candidate, Failure, Proposal, Scalar, Wave
from autoresearch.judge import Request
from autoresearch.settings import Judge
from autoresearch.verbs import show

JUDGE = Judge(crown_seeds=4)


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return study(tmp_path)


def board(campaign: Campaign) -> Board:
    return Board.of(campaign.history, "screen")


def found(campaign: Campaign) -> Mapping[str, Standing]:
    return {standing.key: standing for standing in board(campaign).standings}


def cells(campaign: Campaign, key: str) -> list[str]:
    (row,) = [
        row
        for row in results.table(board(campaign), board(campaign).standings).splitlines()
        if key in row
    ]
    return row.split(" | ")


def test_a_row_has_error_and_differences_of_its_own_cell(campaign: Campaign) -> None:
    campaign.screen(1.8, {"width": 3}, seed=1)
    key = campaign.screen(1.9, {"width": 3}, seed=2).key
    assert cells(campaign, key)[1:8] == [
        *("1", "test", "2", "1.85000"),
        *("0.00707", "-0.15000", "-0.15000"),  # sigma 0.01 over the root of two
    ]


def test_the_champion_is_one_row_before_and_after_it_is_baked(campaign: Campaign) -> None:
    winner = campaign.screen(1.8, {"width": 3})
    baked = campaign.sources.add(PROGRAM.replace("width: int = 1", "width: int = 3"), "x", when=0.0)
    campaign.crown(winner, baked)
    campaign.screen(1.7, program=baked, seed=9, purpose=Purpose.crown)
    other = campaign.screen(1.9, {"width": 2})
    assert found(campaign)[winner.key].scores == [1.8, 1.7]
    assert found(campaign)[winner.key].words == "[champion] by hand"
    assert Candidate(baked).key not in found(campaign)
    assert cells(campaign, other.key)[6:8] == ["-0.10000", "+0.15000"]
    later = campaign.screen(1.6, {"width": 4})
    campaign.crown(later, campaign.sources.add(PROGRAM + "# 4\n", "x", when=0.0))
    assert found(campaign)[winner.key].role == "crowned"
    assert found(campaign)[later.key].role == "champion"


def test_a_failure_has_a_name_and_no_number(campaign: Campaign) -> None:
    key = campaign.screen(Failure.out_of_memory, {"width": 4}).key
    assert cells(campaign, key) == [
        *(key, "1", "test", "0"),
        *["–"] * 7,
        "[out_of_memory] by hand",
    ]
    partly = campaign.screen(1.0, {"width": 2}, seed=1)
    campaign.screen(Failure.diverged, {"width": 2}, seed=2)
    ranked = sorted(board(campaign).standings, key=results.by_score)
    assert [standing.key for standing in ranked][-2:] == [partly.key, key]


def test_whose_idea_it_was_and_what_was_hoped_for(campaign: Campaign) -> None:
    program = campaign.history.baseline.program
    proposals = (
        Proposal({"width": 2}, expected=-0.25, program=program, planner="claude"),
        Proposal({"width": 3, "rate": 0.5}, program=program),
    )
    wanted = [
        Request(Candidate(program, {"width": 2}), 1, "screen", Purpose.screen, planner="claude"),
        Request(Candidate(program, {"width": 3}), 1, "screen", Purpose.screen, description="w"),
    ]
    dispatch.propose(campaign.record, wanted, Wave("mixed", "why", proposals))
    one, other = list(found(campaign).values())[-2:]
    assert (one.planner, one.hoped, one.is_pending) == ("claude", -0.25, True)
    assert one.words == "[pending] width=2"
    assert (other.planner, other.hoped) == ("mixed", None)


def test_what_was_hoped_for_is_of_this_candidate_and_not_of_one_that_says_more(
    campaign: Campaign,
) -> None:
    program = campaign.history.baseline.program
    said: list[tuple[Mapping[str, Scalar], float]] = [
        ({"width": 3, "rate": 0.8}, -0.6),
        ({"rate": 0.8}, -0.1),
        ({"width": 3}, 0.2),
    ]
    said += [({"width": 4, "rate": 0.9}, -0.3), ({"width": 4, "rate": 0.5}, -0.4)]  # its default
    proposals = tuple(Proposal(values, expected=hope, program=program) for values, hope in said)
    changed: list[Mapping[str, Scalar]] = [*(values for values, _ in said[:4]), {"width": 4}]
    wanted = [Request(Candidate(program, c), 1, "screen", Purpose.screen) for c in changed]
    dispatch.propose(campaign.record, wanted, Wave("mixed", "why", proposals))
    rows = [found(campaign)[Candidate(program, values).key] for values in changed]
    assert [row.hoped for row in rows] == [-0.6, -0.1, 0.2, -0.3, -0.4]
    for values, (_, hope) in zip(changed, said, strict=True):
        (entry,) = campaign.history.of_candidate(Candidate(program, values), "screen")
        assert show.idea(campaign.history, entry)["expected"] == hope


def test_numbers_of_two_cells_never_share_a_table(campaign: Campaign) -> None:
    fast = replace(CELL, device="h100")
    world = World(
        lambda candidate, seed: 1.0 if candidate.overrides else 2.0 + seed % 2 / 100,
        cells={"screen": CELL, "validate": fast},
    )
    world.settle()
    world.propose({"width": 3}, {"width": 4})
    world.settle()
    assert any(entry.tier == "validate" for entry in world.history.entries.values())
    for tier, cell in (("screen", CELL), ("validate", fast)):
        for standing in Board.of(world.history, tier).standings:
            assert {entry.experiment.cell for entry in standing.entries} == {cell}
    smoke = Request(campaign.history.baseline, 0, "screen", Purpose.smoke, budget=Budget(tokens=20))
    before = len(board(campaign).standings[0].entries)
    dispatch.propose(campaign.record, [smoke])
    assert len(board(campaign).standings[0].entries) == before


def test_above_a_table_stand_noise_tests_failures_and_what_waits(campaign: Campaign) -> None:
    crowd(campaign, 520, "words")
    text = results.heading(campaign.history, board(campaign), JUDGE)
    assert "tier screen: cpu-1, 1000 tokens, cell" in text
    assert "sigma 0.01000 (2 degrees of freedom)" in text
    assert "two single runs differ by 0.01414" in text
    assert "-0.10000, p 0.001 at level 0.03: crowned" in text
    assert "the next crown test (tier screen, 4 fresh seeds each, level 0.0076)" in text
    assert "sees differences of 0.03096 or more" in text
    assert "pending: 10 (" in text
    assert "failed, diverged: 51 (" in text
    assert "unprotected" in text
    assert len(text) < 2000


def test_a_test_that_runs_has_no_verdict_yet(campaign: Campaign) -> None:
    winner = campaign.screen(1.8, {"width": 3})
    campaign.crown(winner, campaign.sources.add(PROGRAM + "# 1\n", "x", when=0.0))
    test = campaign.history.crowns[0]
    assert "not crowned" not in results.test_line(test)
    lost = replace(test, verdict={"crowned": False, "difference": None, "p": 1.0})
    assert results.test_line(lost).endswith(
        "no difference measured, p 1 at level 0.03: not crowned"
    )
    assert results.test_line(replace(test, verdict=None)).endswith(
        f"{winner.key} meets the champion now, level 0.03"
    )


def test_without_a_baseline_nothing_is_compared() -> None:
    world = World(lambda candidate, seed: 1.0)
    world.propose({"width": 3})
    young = Board.of(world.history, "screen")
    assert results.measures(young) == "the baseline has no score yet"
    (row,) = results.table(young, young.standings).splitlines()[1:]
    assert row.split(" | ")[3:6] == ["1", "1.00000", "–"]
    assert "is open" in results.heading(world.history, young, JUDGE)


def test_words_of_others_stay_in_their_cell(campaign: Campaign) -> None:
    crowd(campaign, 10, "one\n  two\x1b[31m\r" + "x" * 500)
    rows = results.table(board(campaign), board(campaign).standings).splitlines()
    assert len(rows) == 12
    assert all(len(row) < 220 for row in rows)
