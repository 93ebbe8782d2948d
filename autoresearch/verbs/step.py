"""`autoresearch step`: a controller that looks in, does what is due, and leaves. For cron.

The same turns as `run` takes, until nothing can be done without waiting for results.
"""

import argparse
import sys
from pathlib import Path

from autoresearch import opening
from autoresearch.campaign import Campaign, visit
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.lease import is_held
from autoresearch.report.publish import publish
from autoresearch.report.summary import summarize
from autoresearch.report.table import Display, notices, progress_line
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer, status_json


def main(options: argparse.Namespace) -> int:
    layout = opening.existing(Path(options.directory))
    ended = History.of(replay(layout.journal).events).ended
    if ended or is_held(layout.lease):
        why = f"the campaign has ended: {ended}" if ended else "a controller is at work already"
        print(f"nothing to do: {why}", file=sys.stderr)
        if options.json:
            answer(status_json(find.read(options.directory)))
        return 0
    return look_after(opening.look_in(layout.root), as_json=options.json)


def look_after(campaign: Campaign, *, as_json: bool) -> int:
    """Do what is due and leave: one line for a log or, at the end, the whole report."""
    try:
        ended = visit(campaign)
    finally:
        campaign.record.journal.close()
        campaign.lease.release()
    known = campaign.noticed or []
    view = summarize(campaign.history, campaign.settings, campaign.sources, notices=known)
    console = Display(stderr=as_json)
    if ended:
        publish(view, console)
    else:
        console.print(progress_line(view), *notices(view), sep="\n", soft_wrap=True)
    if as_json:
        answer(status_json(find.read(str(campaign.layout.root))))
    return 0
