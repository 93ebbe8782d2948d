"""conf/ files and overrides → settings, or one clear line."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoresearch.config import compose, preview
from autoresearch.config.composition import conf_folders
from autoresearch.errors import ConfigError
from autoresearch.layout import shipped
from autoresearch.space import Choice, Interval


def complaint(*overrides: str) -> str:
    """The one line that these overrides are refused with."""
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# ---- files -----------------------------------------------------------------------------------


def test_without_overrides_every_group_has_its_default(here: Path) -> None:
    campaign = compose([])
    assert (campaign.planner.kind, campaign.tracker.kind) == ("bayes", "files")
    assert campaign.cluster.kind == "local"
    assert campaign.name == "tiny"
    assert campaign.dir == str(here / "campaigns/tiny")
    assert campaign.search.space["matrix_lr"] == Interval(0.01, 0.1, log=True)


def test_the_search_follows_the_task_unless_it_is_chosen(here: Path) -> None:
    write(here / "conf/task/mine.yaml", "name: mine\ndir: train\nbudget: {seconds: 9}\ndata: {}\n")
    write(here / "conf/search/mine.yaml", "space: {width: 'choice(1,2)'}\n")
    assert list(compose(["task=mine"]).search.space) == ["width"]
    assert "heads" in compose(["task=mine", "search=tiny"]).search.space


def test_a_task_without_its_search_says_which_file_to_write(here: Path) -> None:
    write(here / "conf/task/mine.yaml", "name: mine\ndir: train\nbudget: {seconds: 9}\ndata: {}\n")
    message = complaint("task=mine")
    assert "there is no search=mine: mine.yaml should lie in" in message
    assert str(here / "conf/search") in message


def test_the_users_own_files_come_first_and_ours_fill_in(here: Path) -> None:
    write(here / "conf/planner/greedy.yaml", "kind: greedy\noptions: {step: 0.125}\n")
    assert compose(["planner=greedy"]).planner.options == {"step": 0.125}
    assert compose(["planner=bayes"]).planner.options["startup"] == 10
    assert conf_folders() == [here / "conf", shipped("conf")]


def test_in_a_checkout_conf_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shipped("conf").parent)
    assert conf_folders() == [shipped("conf")]


def test_nothing_is_written_and_the_directory_stays(here: Path) -> None:
    before = sorted(here.rglob("*"))
    compose(["planner=random"])
    assert sorted(here.rglob("*")) == before
    assert Path.cwd() == here


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("space: [", "conf/search/tiny.yaml should hold settings as YAML, but"),
        ("space: {heads: choice(2}", "but 'choice(2' says: no viable alternative"),
        ("- a\n- b\n", "search should hold names with values, but was ['a', 'b']"),
        ("7", "conf/search/tiny.yaml should hold settings as YAML, but"),
        ("\x00", "conf/search/tiny.yaml should hold settings as YAML, but"),
        ("space: {heads: 3}", "search.space.heads should be a domain such as"),
        ("spaec: {}", "there is no key 'search.spaec'; did you mean search.space?"),
        ("space: {a: '${nowhere}'}", "Interpolation key 'nowhere' not found"),
        ("space: {a: '${'}", "cannot be"),
        ("eta: ???", "search.eta should be set, but is not; say search.eta=..."),
        ("eta: 2020-02-02", "search.eta should be a whole number"),
        ("{1: 2}", "search.1 should be a name, but 1 is none"),
        ("defaults: [nowhere]", "there is no search=nowhere"),
        ("space: &a {x: *a}", "recursion"),
    ],
)
def test_a_damaged_file_is_one_clear_line(here: Path, text: str, words: str) -> None:
    write(here / "conf/search/tiny.yaml", text)
    assert words in complaint()


def test_a_file_that_is_no_text_is_one_clear_line(here: Path) -> None:
    path = here / "conf/search/tiny.yaml"
    path.write_bytes(b"\xff\xfe\xff")
    assert "conf/search/tiny.yaml should hold settings as YAML, but" in complaint()


def test_an_empty_file_leaves_everything_to_defaults(here: Path) -> None:
    write(here / "conf/search/tiny.yaml", "")
    assert compose([]).search.rungs == (1, 2, 4)


# ---- single values ---------------------------------------------------------------------------


def test_any_key_can_be_set_also_one_that_no_file_mentions(here: Path) -> None:
    campaign = compose(
        ["task.limits.memory_gb=4", "+search.wave=3", "++seed=7", "search.rungs=[1,3,9]"]
    )
    assert campaign.task.limits.memory_gb == 4.0
    assert (campaign.search.wave, campaign.seed) == (3, 7)
    assert campaign.search.rungs == (1, 3, 9)


def test_interpolations_see_overrides(here: Path) -> None:
    campaign = compose(["name=night", "tracker.project=${name}"])
    assert campaign.dir == str(here / "campaigns/night")
    assert campaign.tracker.project == "night"


def test_names_with_values_add_up_and_a_tilde_takes_away(here: Path) -> None:
    campaign = compose(["task.data={context: 64}", "~budget.wall_hours", "~planner"])
    assert (campaign.task.data.context, campaign.task.data.vocabulary) == (64, 1024)
    assert campaign.budget.wall_hours == 0.0
    assert campaign.planner.options == {}


def test_the_last_of_two_choices_counts(here: Path) -> None:
    assert compose(["planner=random", "planner=greedy"]).planner.kind == "greedy"


def test_a_new_tier_is_written_with_a_plus(here: Path) -> None:
    assert "did you mean 'cpu'?" in complaint("cluster.tiers.cpv.pilots=1")
    assert list(compose(["+cluster.tiers.big={threads: 1}"]).cluster.tiers) == ["cpu", "big"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("planner=bays", "there is no planner=bays; did you mean 'bayes'?"),
        ("planner=zzz", "choose one of: bayes, claude, external, factorial, greedy, mixed, random"),
        ("planner=3", "there is no planner=3"),
        ("planner=", "there is no planner="),
        ("cluster.pilotz=2", "did you mean cluster.tiers.NAME.pilots?"),
        ("pilots=2", "there is no key 'pilots'; did you mean cluster.tiers.NAME.pilots?"),
        ("mode=offline", "there is no key 'mode'; did you mean tracker.mode?"),
        ("budget.experiments=many", "should be a whole number, but was 'many'"),
        ("budget.experiments=1.5", "should be a whole number, but was 1.5"),
        ("judge.alpha=true", "judge.alpha should be a number, but was True"),
        ("judge.alpha=2", "judge.alpha should be a probability between 0 and 1, but was 2.0"),
        ("name=7", "name should be text, but was 7; as text it is written name='\"7\"'"),
        ("name=???", "Missing mandatory value: name in dir"),
        ("experiments", "should read like key=value"),
        ("=3", "should read like key=value, but has no key"),
        ("a=b=c", "should read like key=value"),
        ("seed=[1", "should read like key=value"),
        ("search.rungs=1,2,4", "a list is written search.rungs=[1,2]"),
        ("judge.alpha=interval(0.01,0.1)", "only task parameters can be swept"),
        ("planner=bayes,greedy", "only task parameters can be swept"),
        ("planner=glob(*)", "only task parameters can be swept"),
        ("seed@here=3", "should name a key, without '@'"),
        ("planner@here=bayes", "should name a key, without '@'"),
        ("search.rungs.0=3", "search.rungs should hold names with values"),
        ("task=3", "there is no task=3"),
        ("task.data=3", "task.data should hold names with values, but was 3"),
        ("hydra.verbose=true", "there is no key 'hydra'"),
        ("hydra/launcher=basic", "there is no key 'hydra/launcher'"),
        ("~budget.experimnts", "nothing to take away; did you mean 'experiments'?"),
        ("~task.name", "Interpolation key 'task.name' not found in name"),
        ("dir=${nowhere}", "Interpolation key 'nowhere' not found"),
        ("dir=${dir}", "cannot be resolved"),
        ("dir=${oc.env:NOT_SET_ANYWHERE}", "NOT_SET_ANYWHERE"),
    ],
)
def test_every_wrong_override_is_one_clear_line(here: Path, override: str, words: str) -> None:
    assert words in complaint(override)


KEYS = st.sampled_from(
    ["planner", "task", "task.params.depth", "search.space.heads", "search.rungs", "seed", "name",
     "task.data.directory", "cluster.tiers.cpu.pilots", "cluster.tiers", "planner.options", "x.y"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["", "1", "-1", "1.5", "true", "null", "a", "[1,2]", "{a: 1}", "choice(1,2)", "interval(1,2)",
     "${name}", "${x}", "'${'", "'\\udcff'", "a,b", "range(3)", "???", "1e400", "glob(*)", "bayes"]
)  # fmt: skip
OVERRIDES = st.builds("{}{}={}".format, st.sampled_from(["", "+", "++", "~"]), KEYS, VALUES)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OVERRIDES | KEYS.map("~{}".format), max_size=3))
def test_any_overrides_make_settings_or_a_config_error(here: Path, overrides: list[str]) -> None:
    with suppress(ConfigError):
        assert preview(overrides).startswith("#")


# ---- the space -------------------------------------------------------------------------------


def test_a_sweep_over_a_task_parameter_is_searched(here: Path) -> None:
    space = compose(["task.params.matrix_lr=tag(log, interval(0.02,0.2))"]).search.space
    assert space["matrix_lr"] == Interval(0.02, 0.2, log=True)
    assert space["heads"] == Choice((2, 4))


def test_a_sweep_starts_from_the_tasks_value_and_a_value_ends_a_search(here: Path) -> None:
    campaign = compose(["task.params.depth=int(interval(2,8))", "task.params.heads=4"])
    assert campaign.search.space["depth"] == Interval(2, 8, integer=True)
    assert campaign.task.params == {"depth": 2, "heads": 4}
    assert "heads" not in campaign.search.space


@pytest.mark.parametrize(
    "override",
    ["task.params.width=2,4", "search.space.width='choice(2,4)'", "search.space.width=2,4",
     "+task.params.width=choice(2,4)", "search.space={width: 'choice(2,4)'}",
     "search.space.width=range(2,6,2)"],
)  # fmt: skip
def test_a_domain_can_be_written_in_several_ways(here: Path, override: str) -> None:
    assert compose([override]).search.space["width"] == Choice((2, 4))


@pytest.mark.parametrize("override", ["~task.params.heads", "~search.space.heads"])
def test_a_parameter_is_taken_out_of_the_space(here: Path, override: str) -> None:
    campaign = compose([override])
    assert list(campaign.search.space) == ["matrix_lr"]
    assert campaign.task.params == {"depth": 2}


def test_a_fixed_parameter_is_left_to_train_py(here: Path) -> None:
    assert compose(["~task.params.depth"]).task.params == {}


def test_what_is_not_there_cannot_be_taken_out(here: Path) -> None:
    assert "did you mean 'matrix_lr'?" in complaint("~search.space.matrix_rl")
    assert "did you mean 'depth'?" in complaint("~task.params.dpeth")


def test_overrides_of_a_parameter_count_in_their_order(here: Path) -> None:
    first = ["task.params.heads=choice(1,2)", "task.params.heads=8"]
    assert compose(first).task.params["heads"] == 8
    assert compose(first[::-1]).search.space["heads"] == Choice((1, 2))


# ---- looking before running ------------------------------------------------------------------


def test_a_preview_needs_neither_data_nor_a_machine(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTORESEARCH_DATA")
    text = preview(["cluster=local_gpu"])
    assert "device: auto" in text
    assert "dir: campaigns/tiny" in text


def test_settings_are_the_same_from_a_process_of_their_own(here: Path) -> None:
    code = (
        "from autoresearch import config; import os; "
        "print(config.to_yaml(config.compose(['planner=random'])), end=''); "
        "assert not os.path.exists('outputs')"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.stderr == ""
    assert "kind: random" in done.stdout
