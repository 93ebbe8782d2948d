"""What `resume` may change, and what it refuses."""

from pathlib import Path

import pytest

from autoresearch.config import amend, as_overrides, compose
from autoresearch.errors import ConfigError
from autoresearch.settings import Settings


@pytest.fixture
def campaign(here: Path) -> Settings:
    return compose(["cluster.tiers.cpu.pilots=1"])


def test_spending_planner_tracker_pilots_and_limits_may_change(campaign: Settings) -> None:
    amended, changes = amend(
        campaign,
        [
            "budget.experiments=200",
            "+cluster.tiers.cpu.pilots=3",
            "cluster.tiers.cpu.price=0.5",
            "pilot.idle_seconds=5",
            "tracker.kind=wandb",
            "task.limits.memory_gb=2",
            "search.wave=4",
            "task.inspection=warn",
            "planner.options.startup=3",
        ],
    )
    assert amended.budget.experiments == 200
    assert amended.cluster.tiers["cpu"].pilots == 3
    assert changes == {
        "budget.experiments": (100, 200),
        "cluster.tiers.cpu.pilots": (1, 3),
        "cluster.tiers.cpu.price": (0.0, 0.5),
        "pilot.idle_seconds": (20.0, 5.0),
        "tracker.kind": ("files", "wandb"),
        "task.limits.memory_gb": (16.0, 2.0),
        "search.wave": (0, 4),
        "task.inspection": ("refuse", "warn"),
        "planner.options.startup": (10, 3),
    }


def test_a_planner_can_be_chosen_anew_with_its_own_options(campaign: Settings) -> None:
    amended, changes = amend(campaign, ["planner=greedy"])
    assert (amended.planner.kind, amended.planner.options) == ("greedy", {"step": 0.25})
    assert changes["planner.kind"] == ("bayes", "greedy")
    assert changes["planner.options.startup"] == (10, None)


def test_no_override_changes_nothing(campaign: Settings) -> None:
    assert amend(campaign, []) == (campaign, {})
    assert amend(campaign, ["budget.experiments=100"]) == (campaign, {})


def test_pilots_left_to_the_machine_are_counted_again(campaign: Settings) -> None:
    amended, _ = amend(campaign, ["cluster.tiers.cpu.pilots=0"])
    assert amended.cluster.tiers["cpu"].pilots >= 1


def test_changes_can_be_recorded_as_overrides_of_single_values(campaign: Settings) -> None:
    amended, changes = amend(campaign, ["planner=greedy", "tracker=wandb", "budget.gpu_hours=1"])
    recorded = as_overrides(changes)
    assert "planner.kind='greedy'" in recorded
    assert amend(campaign, recorded)[0] == amended


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("judge.alpha=0.2", "the error rate and its seeds were promised at the start"),
        ("judge=quick", "the error rate and its seeds were promised at the start"),
        ("task.budget.tokens=5", "numbers from before and after would not be comparable"),
        ("task.params.depth=3", "numbers from before and after would not be comparable"),
        ("task.scoring.rows=3", "numbers from before and after would not be comparable"),
        ("task=tiny", "numbers from before and after would not be comparable"),
        ("search.space.heads=2,8", "what has been proposed and promoted so far rests on it"),
        ("search.rungs=[1,2]", "what has been proposed and promoted so far rests on it"),
        ("cluster.tiers.cpu.threads=2", "would not be of one cell"),
        ("seed=2", "all seeds of the campaign derive from it"),
        ("name=other", "it names the campaign"),
        ("dir=other", "it is where the campaign lies"),
        ("pilot={minutes: 3}", "it holds several values"),
    ],
)
def test_what_was_promised_stays(campaign: Settings, override: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        amend(campaign, [override])
    assert reason in str(caught.value)
    assert "should stay as it was at the start" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("bugdet.experiments=3", "there is no key 'bugdet.experiments'; did you mean budget?"),
        ("experiments=3", "did you mean budget.experiments or pilot.experiments?"),
        ("budget.experimnts=3", "did you mean budget.experiments?"),
        ("budget.experiments=x", "should be a whole number"),
        ("budget.experiments=3,4", "only task parameters can be swept"),
        ("cluster.tiers.gpu.pilots=3", "there is no tier 'gpu'"),
        ("+cluster.tiers.gpu.pilots=3", "there is no tier 'gpu'"),
        ("planner=bays", "did you mean 'bayes'?"),
        ("budget={experiments: 0, wall_hours: 0}", "budget should be bounded"),
        ("tracker.mode=live", "tracker.mode should be one of auto, online, offline"),
    ],
)
def test_a_mistake_is_one_clear_line(campaign: Settings, override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        amend(campaign, [override])
    assert complaint in str(caught.value)
