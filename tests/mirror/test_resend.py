"""Runs rebuilt from results: like the originals, under the same id, no row twice."""

import copy
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nodes import Campaign
from tracked import Tracked, result_of
from wandb_runs import Run
from wandb_server import WandbServer

from autoresearch.entry import brief
from autoresearch.errors import CampaignError
from autoresearch.experiment import Attempt, Experiment, Failure, Json
from autoresearch.history import History
from autoresearch.layout import Layout
from autoresearch.mirror.listing import Listing
from autoresearch.mirror.reconcile import Findings, finished, reconcile
from autoresearch.mirror.resend import resend
from autoresearch.mirror.resend import result_of as known_of
from autoresearch.mirror.sync import upload
from autoresearch.settings import NodeSettings, Tracker


def send(tracked: Tracked, listing: Listing, *ids: str) -> dict[str, str]:
    entries = {id: tracked.entries[id] for id in ids}
    return resend(tracked.layout, tracked.node, listing, entries)


def shown(run: Run) -> dict[str, Any]:
    """What people see of a run; clocks are not the same."""
    summary = {key: value for key, value in run.summary.items() if not key.startswith("_")}
    names = ("name", "group", "job_type", "tags", "config", "state", "exit_code")
    return {name: getattr(run, name) for name in names} | {"summary": summary}


def test_a_run_that_is_missing_is_rebuilt_from_its_result(
    tracked: Tracked, server: WandbServer, listing: Listing
) -> None:
    ids = list(tracked.entries)
    assert send(tracked, listing, *ids) == dict.fromkeys(ids, "")
    assert reconcile(tracked.history, listing.all()) == Findings()
    for id in ids:
        run, result = server.run(id), result_of(tracked.entries[id])
        assert [(row["_step"], row["loss"]) for row in run.history] == [
            (step, loss) for _, step, loss in result.curve
        ]
        assert run.creations == 1
    assert not (tracked.layout.wandb).exists(), "nothing is left in the campaign"


@pytest.mark.parametrize("rows", [0, 1, 17, 40])
def test_a_run_that_has_no_end_there_gets_one(
    tracked: Tracked, server: WandbServer, listing: Listing, rows: int
) -> None:
    id, *_ = tracked.entries
    there = [{"_step": n * 10, "loss": 1 / (n + 1)} for n in range(rows)]
    summary = {"_step": there[-1]["_step"]} if there else {}
    run = Run("", "", id, group="test", state="crashed", history=there, summary=summary)
    server.seed("researcher", "p", [run])
    assert send(tracked, listing, id) == {id: ""}
    run = server.run(id)
    steps = [row["_step"] for row in run.history]
    assert steps[:rows] == [n * 10 for n in range(rows)]
    assert steps == sorted(set(steps))
    assert (run.state, run.summary["bpb"]) == ("finished", 1.101)


def test_a_run_that_somebody_edited_is_put_right(
    tracked: Tracked, server: WandbServer, listing: Listing
) -> None:
    tracked.write_runs(tracked.entries)
    upload(tracked.layout, tracked.settings.tracker, listing, live=False)
    before = copy.deepcopy(server.runs)
    (edited, entry), *_ = tracked.entries.items()
    server.tamper(edited, bpb=0.1)
    found = reconcile(tracked.history, listing.all())
    assert [(d.id, d.ours, d.theirs) for d in found.different] == [(edited, entry.bpb, 0.1)]
    assert send(tracked, listing, *found.to_send) == {edited: ""}
    after = server.runs
    assert {key: shown(run) for key, run in after.items()} == {
        key: shown(run) for key, run in before.items()
    }
    assert [len(run.history) for run in after.values()] == [40, 40, 40]
    assert reconcile(tracked.history, listing.all()) == Findings()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_file_that_comes_home_late_changes_nothing(
    tracked: Tracked, server: WandbServer, listing: Listing, share: float
) -> None:
    """Its logger was killed, and the next one on that node found what it left."""
    (id, *_) = tracked.entries
    send(tracked, listing, id)
    before = copy.deepcopy(server.run(id))
    tracked.write_runs([id])
    path = tracked.file(id)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    os.utime(path, (0, 0))
    outcome = upload(tracked.layout, tracked.settings.tracker, listing, live=False)
    assert (outcome.there, outcome.sent) == ([id], [])
    assert server.run(id) == before


def test_a_run_whose_file_is_still_to_be_sent_is_left_to_it(
    tracked: Tracked, server: WandbServer, listing: Listing
) -> None:
    (id, *_) = tracked.entries
    tracked.write_runs([id])
    assert send(tracked, listing, id) == {id: "it was not tried"}
    assert not server.runs


def test_a_result_that_cannot_be_read_leaves_what_the_journal_kept(tracked: Tracked) -> None:
    entry = next(iter(tracked.entries.values()))
    path = tracked.layout.result(entry.current)
    assert known_of(tracked.layout, entry).parameters == {"rate": 1.0, "depth": 4}
    record = json.loads(path.read_text())
    for text in ("", "{", "[]", "{}", json.dumps(record | {"bpb": 0.5})):
        path.write_text(text)
        assert known_of(tracked.layout, entry) is entry.result
    path.unlink()
    assert known_of(tracked.layout, entry) is entry.result


def test_a_node_that_took_its_result_with_it_is_a_failed_run(
    tracked: Tracked, server: WandbServer, listing: Listing
) -> None:
    (id, entry), *_ = tracked.entries.items()
    tracked.layout.result(entry.current).unlink()
    assert entry.result
    lost = replace(entry.result, bpb=None, failure=Failure.node_failed, reason="the node went away")
    entry.result = lost
    assert send(tracked, listing, id) == {id: ""}
    run = server.run(id)
    assert (run.state, run.summary["failure"]) == ("failed", "node_failed")
    assert run.summary["reason"] == "the node went away"


def test_what_cannot_be_written_is_one_line(
    tracked: Tracked, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, *_ = tracked.entries
    monkeypatch.setenv("PYTHONPATH", "/proc/nowhere")
    monkeypatch.setattr(
        "autoresearch.mirror.resend.COMMAND", ("/bin/sh", "-c", "echo no >&2; exit 1")
    )
    with pytest.raises(CampaignError, match=r"W&B's client should write runs into .*, but: no$"):
        send(tracked, listing, id)


# ---- the original is the referee's -----------------------------------------------------------


def replayed(experiment: Experiment, made: Campaign, attempt: Attempt) -> History:
    """The history of a campaign with this one experiment."""
    line: Json = {"id": experiment.id, "program": experiment.candidate.program}
    line |= {"overrides": dict(experiment.candidate.overrides), "seed": experiment.seed}
    line |= {"split": experiment.split, "tier": "screen", "description": ""}
    where = {"experiment": experiment.id, "attempt": attempt.number}
    tiers = {"screen": experiment.cell.to_json()}
    events: list[Json] = [
        {"type": "started", "name": "tiny", "baseline": "b" * 64, "tiers": tiers},
        {"type": "proposed", "purpose": "screen", "wave": None, "experiments": [line]},
        {"type": "queued", "attempts": [[experiment.id, attempt.number]]},
        {"type": "finished", **where, "result": brief(made.result(attempt))},
    ]
    return History.of({"n": n, "t": float(n), **event} for n, event in enumerate(events, 1))


def test_a_rebuilt_run_equals_the_one_that_a_node_wrote(
    tmp_path: Path, server: WandbServer
) -> None:
    tracker = Tracker(kind="wandb", mode="offline", project="p", url=server.url)
    made = Campaign(Layout(tmp_path / "campaign"), tracker=tracker)
    made.freeze()
    attempt = made.queue(overrides={"lr": 0.05})
    made.run()
    frozen = json.loads(made.layout.experiment_json(attempt.experiment).read_text())
    history = replayed(Experiment.from_json(frozen), made, attempt)
    [(id, entry)] = finished(history).items()
    listing = Listing(tracker, "tiny")
    try:
        assert upload(made.layout, tracker, listing, live=False).sent == [id]
        original = copy.deepcopy(server.run(id))
        assert original.config["lr"] == 0.05
        assert original.history
        server.forget(id)
        settings = NodeSettings.read(made.layout.node_settings)
        assert resend(made.layout, settings, listing, {id: entry}) == {id: ""}
    finally:
        listing.close()
    rebuilt, wanted = shown(server.run(id)), shown(original)
    ours, theirs = rebuilt.pop("summary"), wanted.pop("summary")
    assert rebuilt == wanted
    told = {"bpb", "failure", "reason", "steps", "tokens", "weights", "peak_memory"}
    told |= {key for key in theirs if key.startswith(("seconds/", "probes/"))}
    assert {key: ours.get(key) for key in told} == {key: theirs.get(key) for key in told}
