"""What may come next on a command line."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.arguments import parser
from autoresearch.config import complete, compose, to_yaml
from autoresearch.config.completion import VERBS, WAVE, joined
from autoresearch.planners.table import PLANNERS
from autoresearch.verbs.completion import SCRIPTS


def test_verbs_come_first(here: Path) -> None:
    assert {"run", "resume", "status", "prepare"} <= set(complete([""]))
    assert complete(["sta"]) == ["status"]
    assert complete([]) == complete([""])


def test_groups_and_keys_follow_run(here: Path) -> None:
    found = complete(["run", "p"])
    assert {"planner=", "planner.", "pilot."} <= set(found)
    assert all(word.startswith("p") for word in found)
    assert "hydra." not in complete(["run", ""])
    assert "budget." in complete(["prepare", "bud"])


def test_keys_grow_by_one_part_at_a_time(here: Path) -> None:
    assert complete(["run", "task.lim"]) == ["task.limits."]
    assert "task.limits.memory_gb=" in complete(["run", "task.limits."])
    assert complete(["run", "cluster.tiers.cpu.pi"]) == ["cluster.tiers.cpu.pilots="]


def test_options_follow_a_group_also_the_users_own(here: Path) -> None:
    assert complete(["run", "planner=b"]) == ["planner=bayes"]
    (here / "conf/planner").mkdir()
    (here / "conf/planner/mine.yaml").write_text("kind: random\n")
    assert "planner=mine" in complete(["run", "planner="])


def test_prepare_knows_its_settings_by_their_short_names_too(here: Path) -> None:
    assert complete(["prepare", "sou"]) == ["source="]
    assert complete(["prepare", "task.data.sou"]) == ["task.data.source="]
    assert complete(["prepare", "source=climbmix", "source="]) == ["source=climbmix"]
    assert complete(["run", "sou"]) == []


def test_the_present_value_follows_a_key(here: Path) -> None:
    assert complete(["run", "judge.alpha="]) == ["judge.alpha=0.05"]
    assert complete(["run", "task.params.matrix_lr="]) == []  # a domain needs quotes


def test_parameters_of_the_space_are_known(here: Path) -> None:
    assert complete(["run", "task.params."]) == [
        "task.params.depth=",
        "task.params.heads=",
        "task.params.matrix_lr=",
    ]
    assert complete(["run", "~search.space.h"]) == ["~search.space.heads="]


def test_what_was_typed_before_counts_unless_it_is_a_mistake(here: Path) -> None:
    assert complete(["run", "planner=greedy", "planner.options."]) == ["planner.options.step="]
    assert "planner.options.startup=" in complete(["run", "plan=x", "planner.options."])


def test_flags(here: Path) -> None:
    assert complete(["run", "--"]) == ["--cfg", "--continue", "--json", "--leave"]
    assert complete(["run", "--cfg", ""]) == ["job"]
    assert complete(["status", "c", "--"]) == ["--json"]
    assert complete(["completion", "z"]) == ["zsh"]


def test_directories_are_left_to_the_shell(here: Path) -> None:
    assert complete(["report", "camp"]) == []
    assert complete(["status", ""]) == []
    assert complete(["resume", "camp"]) == []
    assert complete(["nonsense", ""]) == []


def test_resume_offers_what_may_change_in_that_campaign(here: Path) -> None:
    campaign = here / "campaigns/a"
    campaign.mkdir(parents=True)
    (campaign / "config.yaml").write_text(to_yaml(compose([])))
    words = ["resume", str(campaign)]
    assert "cluster.tiers.cpu.pilots=" in complete([*words, "cluster.tiers.cpu."])
    assert complete([*words, "judge."]) == []
    assert complete([*words, "planner=g"]) == ["planner=greedy"]
    assert complete(["resume", str(here), "budget."]) == []  # no campaign there


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        (["run", "planner", "=", "ba"], ["run", "planner=ba"]),
        (["run", "planner", "="], ["run", "planner="]),
        (["run", "a", "=", "1", "b"], ["run", "a=1", "b"]),
        (["run", "a", "=", "1", ""], ["run", "a=1", ""]),
        (["run", ""], ["run", ""]),
    ],
)
def test_words_that_bash_has_split_are_joined(words: list[str], whole: list[str]) -> None:
    assert joined(words) == whole


def test_a_split_word_is_completed(here: Path) -> None:
    assert complete(["run", "planner", "=", "ba"]) == ["planner=bayes"]


# ---- the command line and the shells ---------------------------------------------------------


def test_every_verb_and_flag_of_the_command_line_is_offered() -> None:
    verbs = choices(parser())
    assert set(VERBS) == set(verbs) - {"complete"}
    for name, verb in verbs.items():
        offered = {word for word in VERBS.get(name, ()) if word.startswith("-")}
        assert offered == flags(verb), name
    words = choices(verbs["wave"])
    assert set(VERBS["wave"]) == set(WAVE) == set(words)
    assert {name: set(WAVE[name]) for name in WAVE} == {n: flags(w) for n, w in words.items()}


def choices(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (found,) = (a for a in of._actions if isinstance(a, argparse._SubParsersAction))
    return dict(found.choices)


def flags(of: argparse.ArgumentParser) -> set[str]:
    return {flag for action in of._actions for flag in action.option_strings} - {"-h", "--help"}


def test_the_words_of_wave_come_next_then_their_flags(here: Path) -> None:
    assert complete(["wave", ""]) == ["done", "submit", "template"]
    assert complete(["wave", "sub"]) == ["submit"]
    assert complete(["wave", "submit", "--c"]) == ["--check"]
    assert complete(["wave", "submit", "camp"]) == complete(["wave", "nonsense", "--"]) == []


@pytest.mark.parametrize(
    ("words", "line", "replies"),
    [
        ("run planner = ba", "autoresearch run planner=ba", "bayes"),
        ("run planner =", "autoresearch run planner=", " ".join(sorted(PLANNERS))),
        (
            "run planner = greedy judge.al",
            "autoresearch run planner=greedy judge.al",
            "judge.alpha=",
        ),
        ("sta", "autoresearch sta", "status"),
    ],
)
def test_bash_is_given_what_it_wants_of_a_word(
    here: Path, words: str, line: str, replies: str
) -> None:
    code = f"""{SCRIPTS["bash"]}
        compopt() {{ :; }}  # works while bash completes only
        COMP_WORDS=(autoresearch {words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        COMP_LINE='{line}' COMP_POINT=${{#COMP_LINE}}
        _autoresearch; echo "${{COMPREPLY[*]}}" """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == replies.split()
