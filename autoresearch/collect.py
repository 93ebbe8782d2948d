"""Result files, claims and pilots → what has happened, as events.

Looks only at experiments that are not finished: one listing per tier's queue, and one look at each
attempt that has left it. A pilot that is gone with its claim unanswered has lost an attempt.
"""

import json
from collections.abc import Iterator

from autoresearch.cluster.interface import Cluster
from autoresearch.dispatch import put_in_line
from autoresearch.experiment import Attempt, Failure, Json, Result, State, plain
from autoresearch.history import Entry, History, brief
from autoresearch.layout import Layout
from autoresearch.record import Record

ATTEMPTS = 3  # of one experiment, before the machine's failures are taken for its own


def collect(record: Record, layout: Layout, cluster: Cluster) -> int:
    """Take in everything that happened since the last look; return how many results came."""
    history = record.history
    gone = set(cluster.gone(jobs(history)))  # before results: what they wrote is then all there is
    queued = {attempt for tier in history.tiers for _, attempt in layout.queued(tier)}
    events: list[Json] = []
    for entry in list(history.active.values()):
        if entry.state is not State.proposed and entry.current not in queued:
            events += look_at(layout, entry, history, gone)
    events += [{"type": "pilot_ended", "pilot": name} for name in gone]
    record.append(*events)
    return sum(event["type"] == "finished" for event in events)


def jobs(history: History) -> dict[str, Json]:
    """What the cluster knows pilots by: the job of each that has not been seen to be gone."""
    return {pilot.name: pilot.job for pilot in history.live_pilots()}


def look_at(layout: Layout, entry: Entry, history: History, gone: set[str]) -> Iterator[Json]:
    """What became of one attempt that is no longer in line."""
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
    elif pilot in gone or is_over(history, pilot):
        yield outcome(entry, lost(attempt, pilot, f"pilot {pilot} ended without a result"))
    elif entry.state is State.queued:
        yield {
            "type": "running",
            "experiment": attempt.experiment,
            "attempt": attempt.number,
            "pilot": pilot,
        }


def lost(attempt: Attempt, pilot: str, reason: str) -> Result:
    """What stands for the result of an attempt that has none."""
    number = attempt.number
    return Result(attempt.experiment, number, pilot, None, Failure.node_failed, plain(reason, 300))


def is_over(history: History, pilot: str) -> bool:
    return pilot in history.pilots and history.pilots[pilot].ended is not None


def outcome(entry: Entry, result: Result) -> Json:
    """A finished experiment, or an attempt lost to the machine that will be made again."""
    where: Json = {"experiment": result.experiment, "attempt": result.attempt}
    failure = result.failure
    if failure is not None and failure.is_infrastructure and entry.attempt < ATTEMPTS:
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
