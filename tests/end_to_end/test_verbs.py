"""One real campaign, start to crown to certificate, and every verb on it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bigram import PROGRAM, write_task

from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.sources import Sources, parameters
from autoresearch.tracking.naming import run_id

SLOW_LEARNER = PROGRAM.replace("rate: float = 0.5", "rate: float = 0.05")  # leaves much to find
OVERRIDES = (
    "name=verbs",
    "task=bigram",
    "search=bigram",
    "judge=quick",
    "budget.experiments=28",
    "pilot.poll_seconds=0.1",
    "cluster.poll_seconds=0.2",
    "tracker=wandb",
)


def run(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "autoresearch", *words],
        cwd=root,
        env={**os.environ, "COLUMNS": "160", "ANTHROPIC_API_KEY": "sk-not-to-be-seen"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("verbs")
    write_task(root, program=SLOW_LEARNER)
    done = run(root, "run", "dir=c", *OVERRIDES)
    assert done.returncode == 0, done.stderr
    assert "Champion" in done.stdout
    return root


def layout_of(root: Path) -> Layout:
    return Layout(root / "c")


def history_of(root: Path) -> History:
    return History.of(replay(layout_of(root).journal).events)


def as_json(root: Path, *words: str) -> dict[str, Any]:
    done = run(root, *words, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_headline_is_certified_on_the_test_split(root: Path) -> None:
    status = as_json(root, "status", "c")
    assert status["schema"] == 1
    assert status["state"] == "ended"
    assert status["certification"]["high"] < 0
    assert status["certification"]["significant"]
    assert status["spent"]["experiments"] <= 28


def test_every_experiment_is_an_offline_wandb_run_as_well(root: Path) -> None:
    runs = {path.name.split("-", 3)[3] for path in layout_of(root).wandb.glob("offline-run-*")}
    history = history_of(root)
    attempts = {run_id(history.name, id, e.attempt) for id, e in history.entries.items()}
    assert runs == attempts


def test_the_champions_program_alone_is_the_program_that_won(root: Path) -> None:
    history = history_of(root)
    sources = Sources(layout_of(root).sources)
    test = next(t for t in reversed(history.crowns) if t.crowned)
    before = parameters(sources.read(test.challenger.program))
    won = parameters(sources.read(history.champion.program))
    assert won == {**before, **test.challenger.overrides}
    on_branch = subprocess.run(
        ["git", f"--git-dir={layout_of(root).sources}", "show", "champion:train.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert on_branch.stdout == sources.read(history.champion.program)


def test_the_lineage_is_a_git_graph(root: Path) -> None:
    log = subprocess.run(
        [
            "git",
            f"--git-dir={layout_of(root).sources}",
            "log",
            "--graph",
            "--format=%s",
            "champion",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rate = " in log.stdout
    assert "train.py as it was given" in log.stdout


def test_an_experiment_replayed_from_the_record_has_the_same_score(root: Path) -> None:
    entry = next(e for e in history_of(root).entries.values() if e.bpb is not None)
    answer = as_json(root, "replay", "c", entry.experiment.id)
    assert answer["recorded"] == entry.bpb
    assert answer["difference"] == 0


def test_the_champion_run_alone_scores_as_it_did_as_a_challenger(root: Path) -> None:
    history = history_of(root)
    test = next(t for t in history.crowns if t.crowned)
    answer = as_json(root, "replay", "c", "champion")
    if history.champion.program == test.verdict["program"]:  # type: ignore[index]
        assert answer["again"] in history.scores(test.challenger, history.screen).values()


def test_show_tells_everything_about_an_experiment(root: Path) -> None:
    id = next(iter(history_of(root).entries))
    record = as_json(root, "show", "c", id[:6])
    assert record["id"] == id
    assert record["result"]["bpb"] == history_of(root).entries[id].bpb
    assert record["result"]["parameters"]["rate"] == 0.05
    text = run(root, "show", "c", id)
    assert text.returncode == 0
    assert id in text.stdout


def test_diff_shows_what_won(root: Path) -> None:
    done = run(root, "diff", "c", "champion", "baseline")
    assert done.returncode == 0
    assert "-    rate: float = 0.05" in done.stdout
    assert "+    rate: float = " in done.stdout
    assert run(root, "diff", "c", "champion").stdout.count("\n+") >= 1


def test_report_writes_a_table_and_a_picture(root: Path) -> None:
    folder = layout_of(root).report
    for name in ("results.tsv", "progress.png"):
        (folder / name).unlink()
    assert run(root, "report", "c").returncode == 0
    with (folder / "results.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == len(history_of(root).entries)
    assert rows[0]["status"] == "keep"
    assert (folder / "progress.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_experiment_is_one_line(root: Path) -> None:
    done = run(root, "show", "c", "zzzz")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_a_second_campaign_in_the_same_directory_is_refused(root: Path) -> None:
    done = run(root, "run", "dir=c", *OVERRIDES)
    assert done.returncode == 1
    assert "autoresearch resume" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_error_rate_cannot_be_amended(root: Path) -> None:
    done = run(root, "resume", "c", "judge.alpha=0.5")
    assert done.returncode == 1
    assert "judge.alpha" in done.stderr


def test_no_key_is_anywhere_under_the_campaign(root: Path) -> None:
    for path in layout_of(root).root.rglob("*"):
        if path.is_file():
            assert b"sk-not-to-be-seen" not in path.read_bytes(), path


def test_more_budget_takes_an_ended_campaign_further(root: Path) -> None:
    before = history_of(root)
    id = next(iter(before.screened().values()))[0].experiment.id
    assert run(root, "promote", "c", id).returncode == 0
    done = run(root, "resume", "c", "budget.experiments=44")
    assert done.returncode == 0, done.stderr
    after = history_of(root)
    assert after.amendments == ["budget.experiments=44"]
    assert len(before.entries) < len(after.entries) <= 44
    assert after.promoted
    assert len(after.crowns) > len(before.crowns)
    assert run(root, "stop", "c").returncode == 0
