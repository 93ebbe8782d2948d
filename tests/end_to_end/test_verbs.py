"""One real campaign, start to crown to certificate, and every verb on it."""

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from bigram import PROGRAM, write_task
from worlds import BASELINE, World, make_settings

from autoresearch.entry import Purpose
from autoresearch.errors import CampaignError
from autoresearch.experiment import Candidate, Failure
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.names import candidate_named
from autoresearch.program import parameters
from autoresearch.settings import Spending
from autoresearch.sources import Sources
from autoresearch.tracking.naming import run_id
from autoresearch.verbs import diff, find, promote
from autoresearch.verbs import replay as again

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
    "task.keep_checkpoint=decisive",
)


def run(root: Path, *words: str, columns: int = 160) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "autoresearch", *words],
        cwd=root,
        env={**os.environ, "COLUMNS": str(columns), "ANTHROPIC_API_KEY": "sk-not-to-be-seen"},
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
    assert answer["schema"] == 1
    assert answer["recorded"] == entry.bpb
    assert answer["difference"] == 0


def test_kept_weights_are_scored_again_without_training(root: Path) -> None:
    """Those of crown tests and of the certification; what was not kept is one clear line."""
    entries = history_of(root).entries.values()
    purposes = {e.purpose for e in entries if layout_of(root).checkpoint(e.current).exists()}
    assert purposes == {Purpose.crown, Purpose.certify}
    certified = next(e for e in entries if e.purpose is Purpose.certify)
    answer = as_json(root, "replay", "c", certified.experiment.id, "--score-only")
    assert abs(answer["difference"]) < 1e-6
    replays = list(layout_of(root).replays.glob(f"{certified.experiment.id}-*/experiments/*/*/"))
    result = json.loads((replays[-1] / "result.json").read_text())
    assert (result["seconds"]["train"], result["steps"]) == (0, 0)
    assert result["probes"].keys() >= {"random_excess", "challenge_mean"}
    screened = next(e for e in entries if e.purpose is Purpose.screen)
    refused = run(root, "replay", "c", screened.experiment.id, "--score-only")
    assert refused.returncode == 1
    assert "weights.pt should hold weights of" in refused.stderr
    assert "but there are none" in refused.stderr
    assert abs(as_json(root, "replay", "c", "champion", "--score-only")["difference"]) < 1e-6


def test_weights_that_are_not_those_that_were_kept_are_not_scored(root: Path) -> None:
    entries = history_of(root).entries.values()
    certified = next(e for e in entries if e.purpose is Purpose.certify)
    path = layout_of(root).checkpoint(certified.current)
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    try:
        refused = run(root, "replay", "c", certified.experiment.id, "--score-only")
        found = run(root, "verify", "c")
    finally:
        path.write_bytes(content)
    assert refused.returncode == found.returncode == 1
    assert "weights.pt should have the SHA-256 of its result.json" in refused.stderr
    assert "weights.pt: SHA-256 should be" in found.stdout + found.stderr
    assert run(root, "verify", "c").returncode == 0


def test_the_champion_run_alone_scores_as_it_did_as_a_challenger(root: Path) -> None:
    history = history_of(root)
    test = next(t for t in history.crowns if t.crowned)
    answer = as_json(root, "replay", "c", "champion")
    if history.champion.program == test.verdict["program"]:  # type: ignore[index]
        assert answer["again"] in history.scores(test.challenger, history.screen).values()
    assert answer["difference"] == 0  # it finds the record of the challenger it was


def test_show_tells_everything_about_an_experiment(root: Path) -> None:
    id = next(iter(history_of(root).entries))
    record = as_json(root, "show", "c", id[:6])
    assert record["id"] == id
    assert record["result"]["bpb"] == history_of(root).entries[id].bpb
    assert record["result"]["parameters"]["rate"] == 0.05
    text = run(root, "show", "c", id)
    assert text.returncode == 0
    assert id in text.stdout


def test_the_champion_is_found_by_every_name_it_has(root: Path) -> None:
    history = history_of(root)
    shown = as_json(root, "status", "c")["champion"]["candidate"]
    assert shown == history.born[history.champion.key]
    firsts = {as_json(root, "show", "c", name)["id"] for name in ("champion", shown[:6])}
    (first,) = firsts
    assert history.entries[first].tier == history.screen
    assert history.entries[first].bpb is not None
    by_key = run(root, "diff", "c", shown, "baseline").stdout
    assert by_key.splitlines()[2:] == run(root, "diff", "c", "champion").stdout.splitlines()[2:]
    assert run(root, "promote", "c", shown).stderr.count("is the champion") == 1


def test_show_is_for_people(root: Path) -> None:
    id = next(iter(history_of(root).entries))
    shown = run(root, "show", "c", id, columns=40).stdout
    assert str(layout_of(root).experiment(id)) in shown
    assert re.search(r"^started +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]", shown, re.MULTILINE)
    assert re.search(r"^seconds +queue=\d+\.\d, setup=\d+\.\d, ", shown, re.MULTILINE)


def test_the_same_program_twice_is_said_to_be_the_same(root: Path) -> None:
    for names in (["champion", "champion"], ["baseline", "baseline"], ["baseline"]):
        done = run(root, "diff", "c", *names)
        assert done.returncode == 0
        assert done.stdout == ""
        assert done.stderr.startswith("nothing differs: ")
        assert done.stderr.count("\n") == 1


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


def test_report_names_its_files_and_shows_the_view_to_programs(root: Path) -> None:
    done = run(root, "report", "c", "--json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert all(Path(file).stat().st_size for file in answer["files"])
    assert {Path(file).name for file in answer["files"]} == {"results.tsv", "progress.png"}
    assert answer["view"] == {
        k: v for k, v in as_json(root, "status", "c").items() if k not in ("schema", "room")
    }
    assert "Champion" in done.stderr


def test_a_program_leaves_as_one_file(root: Path) -> None:
    answer = as_json(root, "source", "c")
    sources = Sources(layout_of(root).sources)
    assert answer["text"] == sources.read(history_of(root).champion.program)
    assert history_of(root).baseline.program in answer["parents"]


def test_an_unknown_experiment_is_one_line(root: Path) -> None:
    done = run(root, "show", "c", "zzzz")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_what_promote_cannot_do_is_one_line(root: Path) -> None:
    for name, problem in (("champion", "is the champion"), ("baseline", "is the baseline")):
        done = run(root, "promote", "c", name)
        assert done.returncode == 1
        assert problem in done.stderr
        assert done.stderr.count("\n") == 1
    assert not list(layout_of(root).promotions.iterdir())


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
    met = {test.challenger.key for test in before.crowns}
    key = next(key for key in before.screened() if key not in met)
    promoted = run(root, "promote", "c", key)
    assert promoted.returncode == 0
    assert "resume" in promoted.stdout
    assert "budget.experiments=MORE" in promoted.stdout  # all is spent
    done = run(root, "resume", "c", "budget.experiments=44", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) | {"room": 0} == as_json(root, "status", "c")
    assert "Champion" in done.stderr
    after = history_of(root)
    assert after.amendments == ["budget.experiments=44"]
    assert len(before.entries) < len(after.entries) <= 44
    assert after.promoted
    assert len(after.crowns) > len(before.crowns)
    assert run(root, "stop", "c").returncode == 0


# ---- names and refusals, in campaigns without machines --------------------------------------


def small_world() -> World:
    """A baseline, a candidate that fails, one that does not help, and no crown."""
    draw: dict[object, float | Failure] = {0.1: Failure.diverged, 0.2: 2.0}
    world = World(
        lambda candidate, seed: draw.get(candidate.overrides.get("rate"), 1.0 + seed / 1e12)
    )
    world.settle()
    world.propose({"rate": 0.1}, {"rate": 0.2})
    world.settle()
    return world


def test_a_name_is_an_id_a_key_or_a_role() -> None:
    history = small_world().history
    bad = Candidate(BASELINE, {"rate": 0.2})
    entry = next(e for e in history.entries.values() if e.experiment.candidate == bad)
    assert find.entry(history, bad.key[:6]) is entry
    assert find.entry(history, entry.experiment.id[:6]) is entry
    assert candidate_named(history, entry.experiment.id) == bad
    assert candidate_named(history, "champion") == candidate_named(history, "baseline")
    assert find.entry(history, "baseline").experiment.candidate == history.baseline


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "begin so: "), ("champoin", "did you mean 'champion'?"), ("zzz", "results.tsv")],
)
def test_a_name_that_is_not_one_thing_is_refused_briefly(name: str, words: str) -> None:
    history = small_world().history
    with pytest.raises(CampaignError, match="should be one experiment or candidate") as refused:
        find.entry(history, name)
    assert words in str(refused.value)
    named = [id for id in (*history.entries, history.baseline.key) if id in str(refused.value)]
    assert len(named) <= 5


def test_a_failed_candidate_is_not_promoted_and_another_is() -> None:
    world = small_world()
    with pytest.raises(CampaignError, match="has only failed: diverged"):
        promote.check(world.history, Candidate(BASELINE, {"rate": 0.1}))
    promote.check(world.history, other := Candidate(BASELINE, {"rate": 0.2}))
    world.record({"type": "promoted", "candidate": asdict(other)})
    world.settle()
    with pytest.raises(CampaignError, match="has met this champion in crown test 1"):
        promote.check(world.history, other)


def test_bounds_that_leave_no_room_for_a_test_are_named() -> None:
    world = small_world()
    done = len(world.history.entries)
    needed = 2 * (world.settings.judge.crown_seeds + world.settings.judge.certify_seeds)
    for left, names in ((needed, []), (needed - 1, ["experiments"])):
        budget = Spending(experiments=done + left, gpu_hours=1000.0)
        assert promote.exhausted(world.history, make_settings(budget=budget)) == names


def test_an_uncrowned_champion_is_said_to_be_the_baseline(
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = small_world()
    campaign = find.Campaign(
        Layout(Path("nowhere")), world.settings, world.history, Sources(Path("nowhere"))
    )
    experiment, _ = again.chosen(campaign, "champion")
    assert experiment.candidate == world.history.baseline
    assert "replays the baseline" in capsys.readouterr().err
    assert "still the baseline" in diff.reason(world.history, ("baseline", "champion"))


def test_control_characters_of_a_program_never_reach_a_terminal() -> None:
    text = "--- a\n+++ b\n+x = '\x1b[2J'\r\n"
    assert diff.fit(text, is_terminal=False) == text
    assert diff.fit(text, is_terminal=True) == "--- a\n+++ b\n+x = '[2J'\n"
