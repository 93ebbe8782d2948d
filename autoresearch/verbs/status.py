"""`autoresearch status`: where a campaign stands, for people or as JSON."""

import argparse

from rich.console import Console

from autoresearch.journal import now
from autoresearch.lease import holder, is_held
from autoresearch.report.table import headline, live
from autoresearch.report.view import View
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer, status_json, view_of
from autoresearch.verbs.submission import room


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    if options.json:
        answer({**status_json(campaign), "room": room(campaign)})
        return 0
    view = view_of(campaign)
    console = Console()
    console.print(headline(view))
    console.print(live(view))
    who = controller(campaign, view, stopping(campaign))
    console.print(who, style="dim", soft_wrap=True, markup=False)
    return 0


def stopping(campaign: find.Campaign) -> str:
    """What is left to do of a stop that somebody asked for, or ""."""
    layout = campaign.layout
    if not layout.stop.exists() and not layout.drain.exists():
        return ""
    return f"stopping: nothing more is started, {find.running(campaign.history)} to finish"


def controller(campaign: find.Campaign, view: View, stopping: str) -> str:
    """Who looks after the campaign now, and what to do if nobody does."""
    layout = campaign.layout
    identity = holder(layout.lease)
    if identity is not None and is_held(layout.lease):
        at_work = f"controller: process {identity.pid} on {identity.host}"
        return f"{at_work}\n{stopping}" if stopping else at_work
    if view.state == "ended":
        return "no controller; the campaign has ended"
    minutes = max(0.0, now() - campaign.history.latest) / 60
    nobody = f"no controller is at work; all this is as of {minutes:.0f} min ago"
    if layout.stop.exists():
        return f"{nobody}\nstop asked for: the next `autoresearch step`, or its job, ends it"
    verbs = f"autoresearch step {layout.root} (a visit), or autoresearch resume (to stay)"
    return f"{nobody}\ngo on with: {verbs}"
