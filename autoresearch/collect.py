"""Result files, claims and pilots → what has happened, as events.

Looks only at experiments that are not finished: one listing per tier's queue, and one look at each
attempt that has left it. A pilot that is gone with its claim unanswered has lost an attempt.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from autoresearch.cluster.interface import Cluster, Phase, Sighting
from autoresearch.dispatch import put_in_line
from autoresearch.entry import Entry, PilotRecord, brief
from autoresearch.experiment import Attempt, Failure, Json, Result, State, plain
from autoresearch.history import History
from autoresearch.journal import is_moment, now
from autoresearch.layout import Layout, read_json
from autoresearch.record import Record

# Attempts of one experiment before the machine's failures are taken for its own. Whoever is
# preempted has done nothing wrong, and on a preemptible partition it is often.
ATTEMPTS = {Failure.node_failed: 3, Failure.preempted: 20}

GRACE_SECONDS = 600.0  # after a pilot's limit, in which Slurm ends it

Sightings = Mapping[str, Sighting]
Settled = Callable[[float], bool]


def always(_: float) -> bool:
    """Where result files are seen, there is nothing else to wait for."""
    return True


def collect(record: Record, layout: Layout, cluster: Cluster, has_all: Settled = always) -> int:
    """Take in everything that happened since the last look; return how many results came.

    `has_all` says whether all that was sent before a Unix time is here, where results are sent.
    """
    history = record.history
    seen = sightings(history, layout, cluster)  # before results: what the dead wrote is then there
    queued = {attempt for tier in history.tiers for _, attempt in layout.queued(tier)}
    events = list(beginnings(history, seen))

    def settled(end: float) -> bool:
        return now() - end >= cluster.lag and has_all(end)

    for entry in list(history.active.values()):
        if entry.state is not State.proposed and entry.current not in queued:
            events += look_at(layout, entry, history, seen, settled)
    record.append(*events, *endings(history, seen))
    return sum(event["type"] == "finished" for event in events)


def jobs(history: History) -> dict[str, Json]:
    """What the cluster knows pilots by: those that have not been seen to be gone.

    Also those at work that no record knows: asked for by a controller that was superseded.
    """
    known = {pilot.name: pilot.job | times_of(pilot) for pilot in history.live_pilots()}
    strangers = {
        entry.pilot: {"submitted": entry.since, "started": entry.since}
        for entry in history.active.values()
        if entry.state is State.running and entry.pilot not in history.pilots
    }
    return known | strangers


def times_of(pilot: PilotRecord) -> Json:
    """When it was asked for, began, and must certainly have ended; None where that is not known."""
    is_bounded = pilot.started is not None and pilot.minutes > 0
    until = (pilot.started or 0.0) + pilot.minutes * 60 + GRACE_SECONDS if is_bounded else None
    return {"submitted": pilot.submitted, "started": pilot.started, "until": until}


def sightings(history: History, layout: Layout, cluster: Cluster) -> Sightings:
    """What has become of every live pilot. One that has said goodbye is gone, whatever else."""
    asked = jobs(history)
    found = dict(cluster.look(asked))
    for name, job in asked.items():
        own = read_json(layout.pilot(name)) or {}
        seen = found.get(name)
        if is_moment(own.get("started")) and is_moment(own.get("ended")):
            found[name] = goodbye(own, seen, job)
        elif seen and seen.phase is Phase.gone and now() - (seen.ended or 0.0) < cluster.lag:
            del found[name]  # its goodbye may be on its way
    return found


def goodbye(own: Json, seen: Sighting | None, job: Json) -> Sighting:
    """A pilot that went home: how long it lived by its own clock, from when by the cluster's."""
    known = seen.started if seen else None
    started = float(known or job["started"] or own["started"])
    node = (seen.node if seen else "") or plain(str(own.get("host", "")), 100)
    lived = max(0.0, own["ended"] - own["started"])
    return Sighting(Phase.gone, "went home", node, started, started + lived)


def beginnings(history: History, seen: Sightings) -> Iterator[Json]:
    for name, sighting in seen.items():
        pilot = history.pilots.get(name)
        if pilot and pilot.started is None and sighting.started is not None:
            where = {"started": sighting.started, "node": sighting.node}
            yield {"type": "pilot_started", "pilot": name, **where}


def endings(history: History, seen: Sightings) -> Iterator[Json]:
    for name, sighting in seen.items():
        if name in history.pilots and sighting.phase is Phase.gone:
            yield {
                "type": "pilot_ended",
                "pilot": name,
                "ended": sighting.ended or now(),
                "failure": sighting.failure,
                "reason": plain(sighting.reason, 300),
            }


def look_at(
    layout: Layout, entry: Entry, history: History, seen: Sightings, settled: Settled
) -> Iterator[Json]:
    """What became of one attempt that is no longer in line.

    `settled` says whether what was written before a Unix time is certainly here.
    """
    attempt = entry.current
    result = read_result(layout, attempt)
    if result is not None:
        yield outcome(entry, result)
        return
    pilot = claimed_by(layout, attempt)
    if pilot is None and layout.program(attempt.experiment).exists():
        put_in_line(layout, entry)  # recorded as queued, but never or no longer in line
    elif not pilot:
        what = "its frozen files are gone" if pilot is None else "its claim cannot be read"
        yield outcome(entry, lost(attempt, "", what))
    elif (end := end_of(history, seen, pilot)) is not None:
        if settled(end.ended or now()):
            yield outcome(entry, replace(lost(attempt, pilot, end.reason), failure=end.failure))
    elif entry.state is State.queued:
        yield {
            "type": "running",
            "experiment": attempt.experiment,
            "attempt": attempt.number,
            "pilot": pilot,
        }


def end_of(history: History, seen: Sightings, pilot: str) -> Sighting | None:
    """How a pilot that left an attempt without a result has ended; None while it may live."""
    sighting, known = seen.get(pilot), history.pilots.get(pilot)
    if sighting is None or sighting.phase is not Phase.gone:
        if known is None or known.ended is None:
            return None
        end = (known.reason, known.node, known.started, known.ended, known.failure)
        sighting = Sighting(Phase.gone, *end)
    where = f" on {sighting.node}" if sighting.node else ""
    return replace(
        sighting,
        reason=f"pilot {pilot} {sighting.reason or 'ended'}{where}, without a result",
        failure=sighting.failure or Failure.node_failed,
    )


def lost(attempt: Attempt, pilot: str, reason: str) -> Result:
    """What stands for the result of an attempt that has none."""
    what = plain(reason, 300)
    where = (attempt.experiment, attempt.number, pilot)
    return Result(*where, failure=Failure.node_failed, reason=what, ended=now())


def outcome(entry: Entry, result: Result) -> Json:
    """A finished experiment, or an attempt lost to the machine that will be made again."""
    where: Json = {"experiment": result.experiment, "attempt": result.attempt}
    failure = result.failure
    if failure is not None and entry.lost[failure] + 1 < ATTEMPTS.get(failure, 0):
        return {
            "type": "lost",
            **where,
            "failure": failure,
            "reason": plain(result.reason, 300),
            "pilot": result.pilot,
        }
    return {"type": "finished", **where, "result": brief(result)}


def read_result(layout: Layout, attempt: Attempt) -> Result | None:
    """The result of an attempt, or None while there is none.

    One that does not parse, or speaks of another experiment, is a failure of the node.
    """
    with contextlib.suppress(OSError):
        os.listdir(layout.attempt(attempt))  # NFS then forgets that there was no such file
    try:
        content = layout.result(attempt).read_bytes()
    except OSError:
        return None
    try:
        result = Result.from_json(json.loads(content))
        if (result.experiment, result.attempt) == (attempt.experiment, attempt.number):
            return result
        reason = f"result.json speaks of {result.experiment}, attempt {result.attempt}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"result.json cannot be read: {error!r}"
    return lost(attempt, "", reason)


def claimed_by(layout: Layout, attempt: Attempt) -> str | None:
    """The name of the pilot that holds an attempt; None without a claim, "" if it is unreadable."""
    try:
        name = json.loads(layout.claim(attempt).read_bytes())["pilot"]
    except (IsADirectoryError, NotADirectoryError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    except OSError:  # there is none, or the file server does not answer now
        return None
    return name if isinstance(name, str) else ""
