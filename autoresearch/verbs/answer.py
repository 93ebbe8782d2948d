"""What `--json` prints: exactly one object with a schema, on stdout. All words go to stderr.

A mistake stays what it is without --json: one line on stderr, exit code 1, and nothing on stdout.
"""

import json
from dataclasses import asdict

from autoresearch.experiment import Json
from autoresearch.layout import read_json
from autoresearch.lease import is_held, who
from autoresearch.mirror.noted import noted, training
from autoresearch.report.summary import summarize
from autoresearch.report.view import View
from autoresearch.verbs import find

SCHEMA = 1


def answer(record: Json) -> None:
    print(json.dumps({"schema": SCHEMA, **record}, indent=1))


def view_of(campaign: find.Campaign) -> View:
    """A campaign as it stands, with what its controller has last left for others to see."""
    lines = (read_json(campaign.layout.notices) or {}).get("notices")
    known = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    where = (campaign.history, campaign.settings, campaign.sources)
    return summarize(*where, notices=known, training=training(noted(campaign.layout)))


def status_json(campaign: find.Campaign) -> Json:
    """What `status`, and whoever ends with the state of a campaign, say of it."""
    lease = campaign.layout.lease
    return {**asdict(view_of(campaign)), "controller": who(lease) if is_held(lease) else ""}
