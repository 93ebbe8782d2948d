"""`autoresearch notebook`: what was learned, wave by wave; --add writes something down.

Notes come with waves and are in the journal. Until the controller has taken one in, it is shown as
one that waits.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from autoresearch.entry import Note
from autoresearch.errors import UserError
from autoresearch.experiment import plain
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer
from autoresearch.verbs.submission import next_step, submit, waiting


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    if options.add is not None:
        return add(options, campaign)
    notes = campaign.history.notes
    to_come = [note for wave in waiting(campaign) for note in wave.notes]
    if options.json:
        answer({"notes": [asdict(note) for note in notes], "waiting": to_come})
    else:
        print(*lines(notes, to_come), sep="\n")
    return 0


def add(options: argparse.Namespace, campaign: find.Campaign) -> int:
    """A wave of one note."""
    if not options.add.strip():
        raise UserError("a note should say something, but is empty")
    submitted = submit(campaign, {"notes": [options.add]})
    after = next_step(campaign)
    if options.json:
        answer({**submitted.to_json(), "next": after})
    else:
        print(submitted.text(), after, sep="\n")
    return 0


def lines(notes: list[Note], to_come: list[str]) -> Iterator[str]:
    """For people: when, by whom, what; the newest last."""
    for note in notes:
        when = datetime.fromtimestamp(note.time, UTC).astimezone()
        yield f"{when:%Y-%m-%d %H:%M}  wave {note.wave}, {note.planner}"
        yield f"  {plain(note.text)}"
    for text in to_come:
        yield "not taken in yet"
        yield f"  {plain(text)}"
    if not notes and not to_come:
        yield "the notebook is empty"
