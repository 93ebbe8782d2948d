"""`autoresearch show`: everything about one experiment, from the question to the result."""

import argparse
import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoresearch.experiment import Attempt, Json, plain
from autoresearch.history import Entry
from autoresearch.layout import Layout, read_json
from autoresearch.verbs import find

LOG_LINES = 20  # of the last attempt, shown to people


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    entry = find.entry(campaign.history, options.experiment)
    record = everything(campaign, entry)
    if options.json:
        print(json.dumps(record, indent=1))
    else:
        tell(record, log_tail(campaign.layout, entry))
    return 0


def everything(campaign: find.Campaign, entry: Entry) -> Json:
    """One JSON object. `result` is result.json of the last attempt, complete."""
    last = entry.current
    return {
        "schema": 1,
        **entry.experiment.to_json(),
        "candidate_key": entry.experiment.candidate.key,
        "commit": campaign.sources.commit(entry.experiment.candidate.program),
        "purpose": entry.purpose,
        "tier": entry.tier,
        "wave": entry.wave,
        "hypothesis": campaign.history.waves[entry.wave - 1][0].hypothesis if entry.wave else "",
        "description": entry.description,
        "state": entry.state.name,
        "attempts": entry.attempt,
        "result": read_json(campaign.layout.result(last)) if entry.attempt else None,
        "directory": str(campaign.layout.experiment(entry.experiment.id)),
    }


def tell(record: Json, log: str) -> None:
    console = Console()
    console.print(fields({k: v for k, v in record.items() if k != "result"}))
    if record["result"]:
        kept = {k: v for k, v in record["result"].items() if k != "curve"}
        console.print(Text("\nresult", style="bold"), fields(kept), sep="\n")
    if log:
        console.print(Text("\nend of what the program printed", style="bold"), Text(log), sep="\n")


def fields(record: Json) -> Table:
    grid = Table.grid(padding=(0, 2))
    for key, value in record.items():
        grid.add_row(Text(key, style="dim"), Text(plain(words(value))))
    return grid


def words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={inner}" for name, inner in value.items())
    return str(value)


def log_tail(layout: Layout, entry: Entry) -> str:
    path = layout.log(Attempt(entry.experiment.id, entry.attempt))
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return plain("\n".join(text.splitlines()[-LOG_LINES:]))
