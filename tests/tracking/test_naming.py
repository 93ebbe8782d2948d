"""Names in W&B."""

from hypothesis import given
from hypothesis import strategies as st

from autoresearch.experiment import Json
from autoresearch.tracking.naming import GROUP_LIMIT, TAG_LIMIT, run_id, run_name


def run(campaign: str = "night", tier: str = "screen", attempt: int = 1, **more: object) -> Json:
    config = {"cell": "c" * 12}
    who = {"campaign": campaign, "experiment": "0123456789ab", "attempt": attempt, "tier": tier}
    return {**who, "config": config, **more}


def test_an_attempt_always_has_the_same_name() -> None:
    assert run_id("night", "0123456789ab", 1) == "0123456789ab-1-486f6d"
    assert run_name(run()) == run_name(run())


def test_campaign_experiment_and_attempt_all_count() -> None:
    ids = {
        run_id(campaign, experiment, attempt)
        for campaign in ("night", "day")
        for experiment in ("0123456789ab", "ba9876543210")
        for attempt in (1, 2)
    }
    assert len(ids) == 8


def test_the_campaign_is_the_group_and_the_tier_the_job_type() -> None:
    name = run_name(run(attempt=2, wave=3, planner="bayes", purpose="screen"))
    assert (name.group, name.job_type) == ("night", "screen")
    assert name.tags == ("screen", "wave 3", "bayes", f"cell {'c' * 12}", "attempt 2")


def test_what_no_planner_asked_for_has_no_wave() -> None:
    assert run_name(run(wave=0, purpose="baseline")).tags == (
        "screen",
        "baseline",
        f"cell {'c' * 12}",
    )


@given(st.text(min_size=1), st.text(min_size=1), st.integers(1, 10**6))
def test_names_stay_within_what_wandb_takes(campaign: str, tier: str, attempt: int) -> None:
    name = run_name(run(campaign * 100, tier * 100, attempt, planner=tier * 100))
    assert len(name.id) <= 64
    assert not set("/\\#?%:") & set(name.id)
    assert 1 <= len(name.group) <= GROUP_LIMIT
    assert all(1 <= len(tag) <= TAG_LIMIT for tag in name.tags)
    assert len(set(name.tags)) == len(name.tags)
