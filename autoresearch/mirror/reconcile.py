"""The journal and what W&B's server lists, side by side: what is missing there, or different.

Pure. The journal is right: whoever can log in to W&B can edit a run there.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from autoresearch.entry import Entry
from autoresearch.experiment import one_line
from autoresearch.history import History
from autoresearch.mirror.seen import Seen
from autoresearch.tracking.naming import run_id

COMPARED = ("bpb", "failure")
CLOSE = 1e-9  # relative


@dataclass(frozen=True)
class Difference:
    """What the journal says of a run, and what W&B says."""

    id: str
    key: str
    ours: object
    theirs: object


@dataclass(frozen=True)
class Findings:
    """What was found, by run id, in the journal's order; all empty if everything is as it should
    be."""

    missing: tuple[str, ...] = ()  # finished here, not there
    unfinished: tuple[str, ...] = ()  # finished here, without an end there
    different: tuple[Difference, ...] = ()
    doubled: tuple[tuple[str, ...], ...] = ()  # one attempt under several ids
    strangers: tuple[str, ...] = ()  # of the campaign's group, of no attempt

    @property
    def to_send(self) -> tuple[str, ...]:
        """The runs that W&B should be told of again."""
        differing = (difference.id for difference in self.different)
        return (*self.missing, *self.unfinished, *dict.fromkeys(differing))


def finished(history: History, before: float = math.inf) -> dict[str, Entry]:
    """Every attempt whose result counts and that ended `before` (Unix time), by its run's id."""
    return {
        run_id(history.name, entry.experiment.id, entry.attempt): entry
        for entry in history.entries.values()
        if entry.result is not None and entry.result.ended < before
    }


def explained(history: History) -> set[str]:
    """The ids that runs of this campaign may have."""
    return {
        run_id(history.name, entry.experiment.id, number)
        for entry in history.entries.values()
        for number in range(1, entry.attempt + 1)
    }


def reconcile(history: History, listed: Mapping[str, Seen], before: float = math.inf) -> Findings:
    """Compare. What ended later than `before` may still be on its way, and is not judged."""
    judged = finished(history, before)
    there = {id: listed[id] for id in judged if id in listed}
    twins = doubled(listed)
    known = explained(history).union(*twins)
    return Findings(
        missing=tuple(id for id in judged if id not in there),
        unfinished=tuple(id for id, seen in there.items() if not seen.has_ended),
        different=tuple(
            difference
            for id, seen in there.items()
            if seen.has_ended
            for difference in differences(id, judged[id], seen)
        ),
        doubled=tuple(twins),
        strangers=tuple(sorted(id for id in listed if id not in known)),
    )


def differences(id: str, entry: Entry, seen: Seen) -> Iterator[Difference]:
    for key in COMPARED:
        ours, theirs = getattr(entry.result, key), seen.summary.get(key)
        if not is_same(ours, theirs):
            yield Difference(id, key, ours, theirs)


def is_same(ours: object, theirs: object) -> bool:
    """Numbers may have been written and read a few times on their way."""
    if is_number(ours) and is_number(theirs):
        return math.isclose(ours, theirs, rel_tol=CLOSE)
    return ours == theirs


def is_number(value: object) -> TypeGuard[float]:
    is_small = isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 63)
    return is_small and not isinstance(value, bool)


def doubled(listed: Mapping[str, Seen]) -> list[tuple[str, ...]]:
    """Ids of runs that say of themselves that they are the same attempt."""
    ids: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for id, seen in listed.items():
        experiment, attempt = seen.config.get("experiment"), seen.config.get("attempt")
        if isinstance(experiment, str) and isinstance(attempt, int):
            ids[experiment, attempt].append(id)
    return sorted(tuple(sorted(same)) for same in ids.values() if len(same) > 1)


def sentences(findings: Findings) -> Iterator[str]:
    """One line for each finding, for people."""
    yield from (f"{id} is missing at W&B" for id in findings.missing)
    yield from (f"{id} has no end at W&B" for id in findings.unfinished)
    for each in findings.different:
        yield f"{each.id} has {each.key} {said(each.theirs)} at W&B, but {said(each.ours)} here"
    for same in findings.doubled:
        yield f"{' and '.join(same)} are one attempt; delete all but one at W&B"
    yield from (f"{id} is of no attempt of this campaign" for id in findings.strangers)


def said(value: object) -> str:
    """A value that anybody may have written, as it is read."""
    return "none" if value is None else one_line(str(value), 80)
