"""Names in W&B."""

from hypothesis import given
from hypothesis import strategies as st

from autoresearch.tracking.naming import GROUP_LIMIT, TAG_LIMIT, run_id, run_name


def test_an_attempt_always_has_the_same_name() -> None:
    assert run_id("night", "0123456789ab", 1) == "0123456789ab-1-486f6d"
    assert run_name("night", "0123456789ab", 1, "screen") == run_name(
        "night", "0123456789ab", 1, "screen"
    )


def test_campaign_experiment_and_attempt_all_count() -> None:
    ids = {
        run_id(campaign, experiment, attempt)
        for campaign in ("night", "day")
        for experiment in ("0123456789ab", "ba9876543210")
        for attempt in (1, 2)
    }
    assert len(ids) == 8


def test_the_campaign_is_the_group_and_the_tier_the_job_type() -> None:
    name = run_name("night", "0123456789ab", 2, "screen")
    assert (name.group, name.job_type) == ("night", "screen")
    assert name.tags == ("screen", "attempt 2")
    assert run_name("night", "0123456789ab", 1, "screen").tags == ("screen",)


@given(st.text(min_size=1), st.text(min_size=1), st.integers(1, 10**6))
def test_names_stay_within_what_wandb_takes(campaign: str, tier: str, attempt: int) -> None:
    name = run_name(campaign * 100, "0123456789ab", attempt, tier * 100)
    assert len(name.id) <= 64
    assert not set("/\\#?%:") & set(name.id)
    assert len(name.group) <= GROUP_LIMIT
    assert all(1 <= len(tag) <= TAG_LIMIT for tag in name.tags)
