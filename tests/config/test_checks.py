"""Ranges, and whether a space fits train.py."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from autoresearch.config import check, compose
from autoresearch.config.checks import check_ranges
from autoresearch.config.composition import apply
from autoresearch.config.grammar import parse_override
from autoresearch.config.reader import plain, read
from autoresearch.errors import ConfigError
from autoresearch.experiment import Budget, Json, Scalar
from autoresearch.settings import Cluster, Data, Search, Settings, Spending, Task, Tier
from autoresearch.space import Choice, Domain, Interval

PARAMETERS: dict[str, Scalar] = {
    "vocabulary": 1024,
    "context": 128,
    "depth": 4,
    "heads": 2,
    "matrix_lr": 0.02,
    "embedding_lr": 0.6,
    "tied": False,
    "window": "SSSL",
}


@pytest.fixture(scope="module")
def values() -> Json:
    """Plain values of a whole campaign."""
    campaign = Settings(
        name="a",
        dir="campaigns/a",
        task=Task("a", "train", Data("data/a"), Budget(tokens=1000), params={"depth": 2}),
        search=Search({"heads": Choice((2, 4)), "matrix_lr": Interval(0.01, 0.1, log=True)}),
        cluster=Cluster(tiers={"cpu": Tier()}),
        budget=Spending(experiments=40),
    )
    return cast("Json", plain(campaign))


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("name=a/b", "name should be a plain name"),
        ("name=..", "name should be a plain name"),
        ("seed=-1", "seed should be at least 0"),
        ("dir=''", "dir should be a directory"),
        ("judge.alpha=0", "judge.alpha should be a probability between 0 and 1, but was 0.0"),
        ("judge.alpha=1", "judge.alpha should be a probability between 0 and 1, but was 1.0"),
        ("judge.baseline_seeds=1", "judge.baseline_seeds should be at least 2, but was 1"),
        ("judge.crown_seeds=1", "judge.crown_seeds should be at least 2"),
        ("judge.certify_seeds=0", "judge.certify_seeds should be at least 2"),
        ("search.rungs=[1,1]", "search.rungs should be whole numbers that grow"),
        ("search.rungs=[2,1]", "search.rungs should be whole numbers that grow"),
        ("search.rungs=[0,1]", "search.rungs should be whole numbers that grow"),
        ("search.rungs=[]", "search.rungs should be whole numbers that grow"),
        ("search.eta=1", "search.eta should be at least 2"),
        ("search.wave=-1", "search.wave should be at least 0"),
        ("task.budget.seconds=3", "task.budget should be seconds or tokens, and the other one"),
        ("task.budget.tokens=null", "task.budget should be seconds or tokens"),
        ("task.budget.tokens=0", "task.budget should be above 0"),
        (
            "task.inspection=off",
            "task.inspection should be one of refuse, warn, none, but was 'off'",
        ),
        ("task.name=a/b", "name should be a plain name"),
        (
            "task.data.source=web",
            "task.data.source should be one of stdlib, files, climbmix, hf, but",
        ),
        ("task.data.source=files", "task.data.files should be given for source=files"),
        (
            "task.data.files=[a]",
            "task.data.files should be given for source=files, optional for sou",
        ),
        (
            "task.data.source=hf",
            "task.data.dataset should be OWNER/NAME for source=hf, and empty ot",
        ),
        (
            "task.data.dataset=a/b",
            "task.data.dataset should be OWNER/NAME for source=hf, and empty",
        ),
        ("task.data.shards=-1", "task.data.shards should be at least 0, but was -1"),
        (
            "task.data.revision=' '",
            "task.data.revision should be a branch, a tag or a commit, but w",
        ),
        (
            "task.data.test_files=[a]",
            "task.data.test_files should be empty for source=stdlib, but ",
        ),
        ("task.data.vocabulary=257", "task.data.vocabulary should be from 258 to 65536"),
        ("task.data.vocabulary=65537", "task.data.vocabulary should be from 258 to 65536"),
        ("task.data.context=1", "task.data.context should be at least 2"),
        ("task.data.test_share=0", "task.data.test_share should be a share between 0 and 0.5"),
        ("task.data.validation_share=0.5", "should be a share between 0 and 0.5, but was 0.5"),
        ("task.data.limit_mb=-1", "task.data.limit_mb should be at least 0"),
        ("task.scoring.rows=0", "task.scoring.rows should be at least 1"),
        ("task.scoring.length=1", "task.scoring.length should be at least 2"),
        ("task.scoring.altered=1.5", "task.scoring.altered should be between 0 and 1"),
        ("task.scoring.mean_tolerance=0", "task.scoring.mean_tolerance should be above 0"),
        ("task.keep_checkpoint=some", "task.keep_checkpoint should be one of none, decisive, all"),
        ("task.limits.memory_gb=0", "task.limits.memory_gb should be above 0"),
        ("budget={experiments: 0, wall_hours: 0}", "budget should be bounded by experiments"),
        ("budget.gpu_hours=-1", "budget.gpu_hours should be at least 0"),
        ("pilot.poll_seconds=0", "pilot.poll_seconds should be above 0"),
        ("pilot.minutes=-1", "pilot.minutes should be at least 0"),
        ("cluster.poll_seconds=0", "cluster.poll_seconds should be above 0"),
        ("~cluster.tiers", "cluster.tiers should be one tier or more"),
        ("+cluster.tiers={a b: {}}", "cluster.tiers should be named by letters"),
        ("cluster.tiers.cpu.gpus=2", "cluster.tiers.cpu.gpus should be 0 or 1"),
        ("cluster.tiers.cpu.threads=0", "cluster.tiers.cpu.threads should be at least 1"),
        ("cluster.tiers.cpu.pilots=-1", "cluster.tiers.cpu.pilots should be at least 0"),
        ("cluster.tiers.cpu.device=cpu-2", "cluster.tiers.cpu.device should be auto or cpu-1"),
        ("tracker.kind=wb", "tracker.kind should be one of files, wandb, but was 'wb'"),
        (
            "cluster.options={array:0-5}",
            "cluster.options should be an option of sbatch, but none of",
        ),
        ("cluster.options={job_name:x}", "none of array, job-name"),
        ("cluster.options={Mem:1}", "cluster.options should be an option of sbatch"),
        (
            "tracker.mode=live",
            "tracker.mode should be one of auto, online, offline, but was 'live'",
        ),
        ("tracker.project=''", "tracker.project should be a name"),
    ],
)
def test_a_value_out_of_range_is_one_clear_line(
    values: Json, override: str, complaint: str
) -> None:
    changed = deepcopy(values)
    apply(changed, parse_override(override))
    with pytest.raises(ConfigError) as caught:
        check_ranges(read(Settings, changed))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ranges_are_checked_when_a_campaign_is_composed(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"search\.eta should be at least 2, but was 1"):
        compose(["search.eta=1"])


# ---- the space and train.py ------------------------------------------------------------------


@pytest.fixture
def campaign(values: Json) -> Settings:
    return read(Settings, values)


def searching(campaign: Settings, **space: Domain) -> Settings:
    return replace(fixing(campaign), search=replace(campaign.search, space=space))


def fixing(campaign: Settings, **params: Scalar) -> Settings:
    return replace(campaign, task=replace(campaign.task, params=params))


def test_a_space_that_fits_passes(campaign: Settings) -> None:
    check(campaign, PARAMETERS)
    space: dict[str, Domain] = {
        "depth": Interval(2, 8, log=True, integer=True),
        "embedding_lr": Choice((1, 0.5)),
        "tied": Choice((True, False)),
        "window": Choice(("L", "SSSL")),
    }
    check(fixing(searching(campaign, **space), heads=4, matrix_lr=1), PARAMETERS)


@pytest.mark.parametrize(
    ("name", "domain", "complaint"),
    [
        ("dpeth", Choice((1,)), "train.py's Config has no parameter 'dpeth'; did you mean 'depth'"),
        ("vocabulary", Choice((9,)), "'vocabulary' should be left alone: it comes from the data"),
        ("depth", Interval(2.0, 8.0), "write int(interval(2,8))"),
        ("depth", Interval(2.0, 8.0, log=True), "write tag(log, int(interval(2,8)))"),
        ("depth", Choice((2, 2.5)), "should offer a whole number each time, as in train.py, but"),
        ("depth", Choice((True,)), "but offers True"),
        ("matrix_lr", Choice(("0.1",)), "should offer a number each time"),
        ("matrix_lr", Choice((True,)), "but offers True"),
        ("tied", Choice((0, 1)), "should offer true or false each time"),
        ("tied", Interval(0, 1), "should be a choice(...), since train.py's tied is true or false"),
        ("window", Interval(0, 1), "should be a choice(...), since train.py's window is text"),
        ("window", Choice((1,)), "should offer text each time"),
    ],
)  # fmt: skip
def test_a_domain_that_does_not_fit_is_refused(
    campaign: Settings, name: str, domain: Domain, complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(searching(campaign, **{name: domain}), PARAMETERS)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("dpeth", 3, "did you mean 'depth'?"),
        ("context", 3, "should be left alone"),
        ("depth", 2.5, "task.params.depth should be a whole number, as in train.py, but was 2.5"),
        ("depth", True, "task.params.depth should be a whole number"),
        ("embedding_lr", "x", "task.params.embedding_lr should be a number"),
        ("window", 3, "task.params.window should be text"),
    ],
)
def test_a_fixed_value_that_does_not_fit_is_refused(
    campaign: Settings, name: str, value: Scalar, complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(fixing(campaign, **{name: value}), PARAMETERS)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("value", [2**64, -(2**64)])
def test_a_number_that_cannot_be_written_into_train_py_is_refused(
    campaign: Settings, value: int
) -> None:
    with pytest.raises(ConfigError):
        check(fixing(campaign, depth=value), PARAMETERS)
    with pytest.raises(ConfigError):
        check(searching(campaign, depth=Choice((1, value))), PARAMETERS)


@pytest.mark.parametrize("experiments", [0, 26])
def test_a_budget_that_lets_a_search_begin_passes(campaign: Settings, experiments: int) -> None:
    check(replace(campaign, budget=Spending(experiments=experiments, wall_hours=1)), PARAMETERS)


def test_a_budget_too_small_to_search_is_refused(campaign: Settings) -> None:
    with pytest.raises(ConfigError) as caught:
        check(replace(campaign, budget=Spending(experiments=25)), PARAMETERS)
    assert "should be at least 26 (5 of the baseline, 20 for a crown test and" in str(caught.value)


def test_an_empty_space_says_what_could_be_searched(campaign: Settings) -> None:
    with pytest.raises(ConfigError, match="at least one parameter, but is empty") as caught:
        check(fixing(searching(campaign), depth=2), PARAMETERS)
    assert str(caught.value).endswith("embedding_lr, heads, matrix_lr, tied, window")
