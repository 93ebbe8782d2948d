"""The journal: every segment fits the one before, events are in order, nothing follows the end."""

from collections.abc import Iterator
from pathlib import Path

from autoresearch.errors import RecordError
from autoresearch.experiment import plural
from autoresearch.journal import (
    HEAD,
    End,
    accepted,
    decode,
    first_event,
    is_moment,
    replay,
    segments,
)
from autoresearch.layout import Layout
from autoresearch.verification.evidence import Evidence
from autoresearch.verification.findings import Check, should

CLAIM = "chained in the journal without a gap, none after the end"

# What may still be written down of a campaign that has ended: what was on its way, and a new life.
AFTER_THE_END = {
    *("segment", "amended", "resumed"),
    *("running", "lost", "finished", "pilot_started", "pilot_ended"),
}
GRAIN = 0.002  # seconds; times are rounded


def journal(evidence: Evidence) -> tuple[Check, list[str]]:
    """The check, and what else is to be said of the files."""
    complaints = [evidence.problem] if evidence.problem else []
    complaints += [*sequence(evidence), *beginning(evidence)]
    notes: list[str] = []
    try:
        wrong, notes = files(evidence.layout)
        complaints += wrong
    except RecordError:
        pass  # it cannot be replayed: told already
    return Check("journal", "event", CLAIM, len(evidence.events), tuple(complaints)), notes


def sequence(evidence: Evidence) -> Iterator[str]:
    """Numbers without a gap, times that do not go back within a controller's life."""
    latest, is_over = 0.0, False
    for number, event in enumerate(evidence.events, 1):
        where, kind = evidence.places[number - 1], event["type"]
        if event["n"] != number:
            yield should(where, "n", number, event["n"])
        if not is_moment(event["t"]):
            yield should(where, "t", "a time", event["t"])
            continue
        if kind == "segment" and event["previous"] and event["previous"]["n"] != number - 1:
            yield should(where, "previous.n", number - 1, event["previous"]["n"])
        if kind != "segment" and event["t"] < latest - GRAIN:
            yield should(where, "t", f"at least {latest}", event["t"])
        if is_over and kind not in AFTER_THE_END:
            yield f"{where}: should not be, for the campaign had ended"
        is_over = kind == "ended" or (is_over and kind != "resumed")
        latest = event["t"]


def beginning(evidence: Evidence) -> Iterator[str]:
    """A campaign starts once, before anything else is done."""
    kinds = [event["type"] for event in evidence.events if event["type"] != "segment"]
    if kinds.count("started") != 1 or kinds[0] != "started":
        yield should("journal/", "the first event", "'started', once", kinds[:1] or "none")


def files(layout: Layout) -> tuple[list[str], list[str]]:
    """What is wrong with segments beyond the events that count, and what is only to be said.

    Raises RecordError if there is no replay.
    """
    complaints, notes = [], []
    paths = segments(layout.journal)
    counted = dict(accepted(paths))
    end = replay(layout.journal).end
    for path in paths:
        if path not in counted:
            if first_event(path):
                complaints.append(f"{path}: a later segment should name it, but none does")
        elif counted[path] is None and end is not None:
            complaints += tail(path, end)
        elif beyond := path.stat().st_size - (counted[path] or 0):
            late = "written by a controller that had been replaced: they never happened"
            notes.append(f"{path.name} has {plural(beyond, 'byte')} more, {late}")
    return complaints, notes


def tail(path: Path, end: End) -> Iterator[str]:
    """The newest segment may end in a torn line or in new ones, but not in a whole false one."""
    line, newline, _ = path.read_bytes()[end.length :].partition(b"\n")
    is_whole = newline and line.startswith(b'{"chain":"') and line.endswith(b"}")
    if is_whole and b"\0" not in line and decode(line, end.chain) is None:
        found = line[: HEAD + 60].decode(errors="replace")
        yield should(str(path), f"byte {end.length}", "the next link of the chain", found)
