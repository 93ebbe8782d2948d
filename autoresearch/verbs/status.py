"""`autoresearch status`: where a campaign stands, for people or as JSON."""

import argparse
import json
from dataclasses import asdict

from rich.console import Console

from autoresearch.layout import Layout
from autoresearch.lease import holder, is_held
from autoresearch.report.summary import summarize
from autoresearch.report.table import headline, live
from autoresearch.report.view import View
from autoresearch.verbs import find


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    view = summarize(campaign.history, campaign.settings, campaign.sources)
    if options.json:
        print(json.dumps({"schema": 1, **asdict(view)}, indent=1))
        return 0
    console = Console()
    console.print(headline(view))
    console.print(live(view))
    console.print(controller(campaign.layout, view), style="dim", soft_wrap=True)
    return 0


def controller(layout: Layout, view: View) -> str:
    """Who looks after the campaign now, and what to do if nobody does."""
    identity = holder(layout.lease)
    if identity is not None and is_held(layout.lease):
        return f"controller: process {identity.pid} on {identity.host}"
    if view.state == "ended":
        return "no controller; the campaign has ended"
    return f"no controller is at work; go on with: autoresearch resume {layout.root}"
