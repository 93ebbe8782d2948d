"""`autoresearch status`: where a campaign stands, for people or as JSON."""

import argparse
import json
from dataclasses import asdict

from rich.console import Console

from autoresearch.journal import now
from autoresearch.layout import read_json
from autoresearch.lease import holder, is_held
from autoresearch.mirror.noted import noted, training
from autoresearch.report.summary import summarize
from autoresearch.report.table import headline, live
from autoresearch.report.view import View
from autoresearch.verbs import find


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    lines = (read_json(campaign.layout.notices) or {}).get("notices")
    known = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    where = (campaign.history, campaign.settings, campaign.sources)
    view = summarize(*where, notices=known, training=training(noted(campaign.layout)))
    if options.json:
        print(json.dumps({"schema": 1, **asdict(view)}, indent=1))
        return 0
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
