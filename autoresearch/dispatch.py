"""Experiments asked for → frozen on disk → in a queue, with enough pilots to empty it.

Every function can be repeated after a crash at any of its lines: it starts from what the history
says and the disk shows. The journal says `queued` before the queue entry exists; a missing entry is
put back, a duplicate one is harmless because a claim is exclusive.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from autoresearch.cluster.interface import Cluster, Refused, batch_of
from autoresearch.entry import Entry, Purpose
from autoresearch.errors import CampaignError
from autoresearch.experiment import Experiment, Failure, Json, State, Wave, plain
from autoresearch.history import History
from autoresearch.journal import now
from autoresearch.judge import Request
from autoresearch.layout import Layout
from autoresearch.placement import life
from autoresearch.record import Record
from autoresearch.settings import Settings
from autoresearch.sources import Sources

USELESS = 12  # pilots in a row that took nothing, at least, before we ask for no more
BATCH = 100  # experiments frozen between two journal writes


def propose(
    record: Record, requests: Sequence[Request], wave: Wave | None = None, ask: str = ""
) -> int:
    """Write down what is to be run, leaving out what the campaign already has; return how much.

    A wave is written down even if all it proposes is there already; `ask` is the question that it
    answers, or the file it came in.
    """
    history = record.history
    proposed = 0
    for purpose in Purpose:
        experiments = [
            (experiment_of(history, request), request)
            for request in requests
            if request.purpose is purpose
        ]
        fresh = {e.id: line(e, r) for e, r in experiments if e.id not in history.entries}
        is_wave = wave is not None and purpose is Purpose.screen
        if fresh or is_wave:
            record.append(
                {
                    "type": "proposed",
                    "purpose": purpose,
                    "wave": wave.to_json() if wave is not None and is_wave else None,
                    "ask": ask if is_wave else "",
                    "experiments": list(fresh.values()),
                }
            )
            proposed += len(fresh)
    return proposed


def experiment_of(history: History, request: Request) -> Experiment:
    cell = history.tiers[request.tier]
    if request.budget is not None:
        cell = replace(cell, budget=request.budget)
    return Experiment(request.candidate, request.seed, cell, request.split)


def line(experiment: Experiment, request: Request) -> Json:
    """How the journal writes an experiment; its cell is that of its tier, but for its budget."""
    own: Json = {"budget": asdict(request.budget)} if request.budget is not None else {}
    own |= {"planner": request.planner} if request.planner else {}
    return {
        "id": experiment.id,
        "program": experiment.candidate.program,
        "overrides": dict(experiment.candidate.overrides),
        "seed": experiment.seed,
        "split": experiment.split,
        "tier": request.tier,
        "description": request.description,
        **own,
    }


def enqueue(record: Record, layout: Layout, sources: Sources) -> None:
    """Freeze what has been proposed, or lost its last attempt, and put it in line."""
    waiting = [e for e in record.history.active.values() if e.state is State.proposed]
    for batch in batches(waiting, BATCH):
        for entry in batch:
            freeze(layout, sources, entry.experiment, context(record.history, entry))
        attempts = [[entry.experiment.id, entry.attempt + 1] for entry in batch]
        record.append({"type": "queued", "attempts": attempts})
        for entry in batch:
            put_in_line(layout, entry)


def batches(entries: Iterable[Entry], size: int) -> Iterable[list[Entry]]:
    iterator = iter(entries)
    while batch := list(islice(iterator, size)):
        yield batch


def context(history: History, entry: Entry) -> Json:
    """Who asked for an experiment, and why: for people who watch."""
    wave = history.waves[entry.wave - 1][0] if entry.wave else None
    planner = {"planner": entry.planner or wave.planner} if wave else {}
    return {"purpose": entry.purpose, "wave": entry.wave, **planner}


def freeze(
    layout: Layout, sources: Sources, experiment: Experiment, context: Json | None = None
) -> None:
    """Write everything a pilot needs to run an experiment. It never changes afterwards.

    Raises CampaignError if the directory cannot be written.
    """
    final = layout.experiment(experiment.id)
    if final.exists():
        return
    temporary = final.with_name(f".{final.name}.{os.getpid()}")
    try:
        temporary.mkdir(exist_ok=True)
        text = json.dumps(experiment.to_json() | {"context": context or {}}, indent=1) + "\n"
        (temporary / layout.program(experiment.id).name).write_bytes(
            sources.read(experiment.candidate.program).encode()
        )
        (temporary / layout.experiment_json(experiment.id).name).write_text(text, encoding="utf-8")
        temporary.rename(final)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CampaignError(
            f"{layout.experiments} should take another experiment, but: {error.strerror}"
        ) from error


def put_in_line(layout: Layout, entry: Entry) -> None:
    queue_entry(layout, entry).touch()


def queue_entry(layout: Layout, entry: Entry) -> Path:
    rank = entry.purpose.priority * 1_000_000 + entry.order
    return layout.queue_entry(entry.tier, rank, entry.current)


def staff(record: Record, layout: Layout, cluster: Cluster, settings: Settings) -> None:
    """Keep as many pilots alive in each tier as there is work for and the tier allows.

    The tier with the most urgent work comes first: the cluster may not have room for all.
    """
    history = record.history
    for tier in sorted(settings.cluster.tiers, key=history.urgency):
        allowed = settings.cluster.tiers[tier]
        work = sum(entry.tier == tier for entry in history.active.values())
        missing = min(work, allowed.pilots) - len(history.live_pilots(tier))
        if missing > 0 and history.waiting(tier) > 0:
            check_use(history, layout, tier, allowed.pilots)
            for count in cluster.batches(tier, missing):
                if not hire(record, layout, cluster, settings, tier=tier, count=count):
                    return  # the others would hear the same


def check_use(history: History, layout: Layout, tier: str, pilots: int) -> None:
    """Raises CampaignError if pilot after pilot has ended without taking any of the work."""
    useless = history.useless_pilots(tier)
    if len(useless) >= max(USELESS, 3 * pilots):
        last = useless[0]
        how = f" ({last.reason})" if last.reason else ""
        raise CampaignError(
            f"pilots of tier {tier} should take experiments, but the last {len(useless)} ended "
            f"without one{how}; see why in {log_folder(layout, last.name)}, then "
            f"`autoresearch resume {layout.root}`"
        )


def log_folder(layout: Layout, pilot: str) -> Path:
    """Where what a pilot printed lies: of its own, or of its batch."""
    own = layout.pilots / pilot
    return own if own.is_dir() else layout.pilots / batch_of(pilot)


def hire(
    record: Record, layout: Layout, cluster: Cluster, settings: Settings, *, tier: str, count: int
) -> bool:
    """Ask for a batch of pilots; whether the cluster has certainly taken them.

    Their names are on record before, their jobs after.
    """
    batch = f"{tier}-{secrets.token_hex(4)}"
    names = [f"{batch}-{k}" for k in range(count)]
    minutes = life(record.history, settings, tier, cluster.longest(tier), now())
    layout.pilots.mkdir(exist_ok=True)
    record.append({"type": "submitting", "tier": tier, "pilots": names, "minutes": minutes})
    avoid = record.history.bad_nodes(settings.cluster.exclude_after)
    try:
        jobs = cluster.submit(tier, names, minutes, avoid)
    except Refused as refusal:
        record.append(*(refused(name, str(refusal)) for name in names))
        return False
    record.append({"type": "submitted", "jobs": jobs})
    return bool(jobs)


def refused(pilot: str, reason: str) -> Json:
    """The end of a pilot that never was."""
    why = {"failure": Failure.cancelled, "reason": plain(reason, 300)}
    return {"type": "pilot_ended", "pilot": pilot, **why}


def settled(layout: Layout, tiers: Iterable[str]) -> None:
    """Make the campaign's folders. Raises CampaignError if they cannot be made."""
    try:
        for folder in layout.folders(tuple(tiers)):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CampaignError(
            f"{layout.root} should be a directory we can write, but: {error.strerror}; "
            "choose another with dir=..."
        ) from error
