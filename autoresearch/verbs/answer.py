"""What `--json` prints: exactly one object with a schema, on stdout. All words go to stderr.

A mistake stays what it is without --json: one line on stderr, exit code 1, and nothing on stdout.
"""

import json
from dataclasses import asdict

from autoresearch.experiment import Json
from autoresearch.layout import read_json
from autoresearch.lease import is_held, who
from autoresearch.mirror.noted import noted, training
from autoresearch.mirror.sync import pending
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
    if not is_held(campaign.layout.lease):
        known += unsent(campaign)
    where = (campaign.history, campaign.settings, campaign.sources)
    return summarize(*where, notices=known, training=training(noted(campaign.layout)))


def unsent(campaign: find.Campaign) -> list[str]:
    """What W&B still lacks, where nobody is at work to send it: one line, or none."""
    left = len(pending(campaign.layout)) if campaign.settings.tracker.kind == "wandb" else 0
    if not left:
        return []
    runs = "1 run is" if left == 1 else f"{left} runs are"
    return [f"{runs} not at W&B yet; `autoresearch sync {campaign.layout.root}` sends what is left"]


def status_json(campaign: find.Campaign) -> Json:
    """What `status`, and whoever ends with the state of a campaign, say of it."""
    lease = campaign.layout.lease
    return {**asdict(view_of(campaign)), "controller": who(lease) if is_held(lease) else ""}
