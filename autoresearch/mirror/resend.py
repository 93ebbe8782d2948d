"""Runs that W&B lacks, or has otherwise than the journal, written anew and sent under the same id.

What is known of an attempt when its run is lost is its result: the run is rebuilt from it by the
same logger that writes runs on nodes, so it has the same name, group, tags, config and summary;
its history is the thinned curve. Rows that the server has are not sent again.
"""

import json
import math
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from autoresearch.entry import Entry
from autoresearch.errors import CampaignError
from autoresearch.experiment import Json, Result
from autoresearch.layout import Layout, read_json
from autoresearch.mirror.post import Lister, Parcel, Post, Told, box, chunks
from autoresearch.mirror.reconcile import is_number
from autoresearch.mirror.records import read
from autoresearch.mirror.seen import Seen
from autoresearch.mirror.sync import id_of, pending
from autoresearch.mirror.turn import turn
from autoresearch.node.inputs import identity, run_of
from autoresearch.node.runlog import COMMAND, sealed, summary_of
from autoresearch.settings import NodeSettings
from autoresearch.tracking import server

AT_ONCE = 100  # runs written before they are sent


def resend(
    layout: Layout,
    settings: NodeSettings,
    lister: Lister,
    entries: Mapping[str, Entry],
    told: Told = lambda _done, _all: None,
) -> dict[str, str]:
    """Send the runs of these finished experiments, by run id; by id what the server lacks then.
    Those whose file is still to be sent are left to it: it knows more.

    Raises CampaignError if the server does not answer or nothing can be written here, Busy if
    another process sends.
    """
    lacking = dict.fromkeys(entries, "it was not tried")

    def settle(parcel: Parcel, problem: str) -> None:
        lacking[parcel.id] = problem

    waiting = {id_of(path) for path in pending(layout)}
    ids = [id for id in entries if id not in waiting]
    if not ids:
        return lacking
    with turn(layout.sending) as mine:
        url = server.address(settings.tracker)
        post = Post(url, lister, mine, told, total=len(ids))
        for some in chunks(ids, AT_ONCE):
            seen = post.look(some)
            with box() as folder:
                home = folder / "wandb"
                write(
                    [
                        event
                        for id in some
                        for event in events(layout, settings, entries[id], seen.get(id), home)
                    ],
                    folder,
                )
                post.send(list(parcels(home, seen)), settle)
    return lacking


def events(
    layout: Layout, settings: NodeSettings, entry: Entry, seen: Seen | None, home: Path
) -> Iterator[Json]:
    """What the referee would have told the logger."""
    result = result_of(layout, entry)
    config = identity(entry.experiment, result)
    run = run_of(layout, settings.campaign, entry.tier, entry.current, config)
    tracker = replace(settings.tracker, mode="offline")
    yield {"event": "start", "run": run, "dir": str(home), "tracker": asdict(tracker)}
    after = last_step(seen)
    for _, step, loss in result.curve:
        if step > after:
            yield {"event": "log", "step": step, "values": {"loss": loss}}
    text = json.dumps(result.to_json())
    summary = {**numbers_of(seen), **summary_of(result), **sealed(settings, layout, text)}
    yield {"event": "finish", "summary": summary, "exit_code": int(result.failure is not None)}


def result_of(layout: Layout, entry: Entry) -> Result:
    """result.json if it says what the journal says, else what the journal kept of it."""
    assert entry.result is not None  # noqa: S101 - only finished experiments come here
    try:
        result = Result.from_json(read_json(layout.result(entry.current)) or {})
    except (ValueError, KeyError, TypeError):
        return entry.result
    agree = ("experiment", "attempt", "bpb", "failure")
    is_it = all(getattr(result, name) == getattr(entry.result, name) for name in agree)
    return result if is_it else entry.result


def numbers_of(seen: Seen | None) -> Json:
    """What a program logged last stays in the summary; what else is there anybody may have put."""
    known = seen.summary if seen else {}
    return {k: v for k, v in known.items() if not k.startswith("_") and is_number(v)}


def last_step(seen: Seen | None) -> float:
    """Up to which step the server has rows; infinite if it has some and does not say."""
    if seen is None or not seen.rows:
        return -math.inf
    step = seen.summary.get("_step")
    return step if isinstance(step, (int, float)) else math.inf


def write(told: Sequence[Json], folder: Path) -> None:
    """Have the logger write runs."""
    done = subprocess.run(
        COMMAND,
        input="".join(f"{json.dumps(event)}\n" for event in told).encode(),
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it ended early"]
        raise CampaignError(f"W&B's client should write runs into {folder}, but: {said[-1]}")


def parcels(home: Path, seen: Mapping[str, Seen]) -> Iterator[Parcel]:
    for path in sorted(home.glob("*/*.wandb")):
        id = id_of(path)
        held = seen[id].rows if id in seen else 0
        yield Parcel(id, path, path.stat().st_size, read(path), held)
