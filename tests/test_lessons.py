"""What screening has taught: which results count, and which of them belong together."""

from pathlib import Path

import pytest
from outside import EDIT, PROGRAM, SPACE, Campaign, begin

from autoresearch import effects, lessons
from autoresearch.effects import Row
from autoresearch.experiment import Failure
from autoresearch.programs import Programs
from autoresearch.space import Space


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return begin(tmp_path / "c")


def rows(campaign: Campaign, monkeypatch: pytest.MonkeyPatch, program: str = "") -> list[Row]:
    """What is estimated from."""
    seen: list[Row] = []
    whole = effects.estimate

    def estimate(found: list[Row], space: Space, sigma: float | None) -> effects.Effects:
        seen.extend(found)
        assert sigma == pytest.approx(0.01)
        return whole(found, space, sigma)

    monkeypatch.setattr(effects, "estimate", estimate)
    history = campaign.history
    program = program or history.champion.program
    lessons.of_campaign(history, Programs(campaign.sources), SPACE, program)
    return seen


def test_the_baseline_counts_with_all_its_replicates(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows(campaign, monkeypatch)
    assert (row.parameters, row.seeds) == ({"width": 1, "rate": 0.5}, 3)
    assert row.value == pytest.approx(2.0)


def test_a_candidate_is_one_row_whatever_its_seeds(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign.screen(1.8, {"width": 3}, seed=1)
    campaign.screen(1.9, {"width": 3}, seed=2)
    campaign.screen(Failure.diverged, {"width": 4})
    _, row = rows(campaign, monkeypatch)
    assert (row.parameters, row.seeds) == ({"width": 3, "rate": 0.5}, 2)
    assert row.value == pytest.approx(1.85)


def test_programs_that_differ_in_more_than_parameters_are_kept_apart(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = campaign.sources.add(PROGRAM.replace(EDIT["search"], EDIT["replace"]), "x", when=0.0)
    alike = campaign.sources.add(PROGRAM.replace("width: int = 1", "width: int = 2"), "y", when=0.0)
    campaign.screen(1.7, {"width": 3}, other)
    campaign.screen(1.6, program=alike)
    mine = rows(campaign, monkeypatch)
    assert [row.parameters["width"] for row in mine] == [1, 2]
    monkeypatch.undo()
    assert [row.parameters["width"] for row in rows(campaign, monkeypatch, other)] == [3]


def test_a_new_field_is_a_parameter_of_its_family(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PROGRAM.replace("    rate: float = 0.5", "    gain: float = 1.0\n    rate: float = 0.5")
    program = campaign.sources.add(text, "a gain", when=0.0)
    campaign.screen(1.7, {"gain": 2.0}, program)
    (row,) = rows(campaign, monkeypatch, program)
    assert row.parameters == {"gain": 2.0, "width": 1, "rate": 0.5}
