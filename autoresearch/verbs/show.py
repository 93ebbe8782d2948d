"""`autoresearch show`: everything about one experiment, from the question to the result."""

import argparse
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from autoresearch.drafts import hoped
from autoresearch.entry import Entry
from autoresearch.experiment import Attempt, Json, one_line, plain
from autoresearch.history import History
from autoresearch.layout import Layout, read_json
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer

TIMES = ("started", "ended")  # of a result, Unix time
LOG_LINES = 20  # of the last attempt, shown to people
LONGEST_KEY = 40  # characters


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    entry = find.entry(campaign.history, options.experiment)
    record = everything(campaign, entry)
    if options.json:
        answer(record)
    else:
        tell(record, log_tail(campaign.layout, entry))
    return 0


def everything(campaign: find.Campaign, entry: Entry) -> Json:
    """One JSON object. `result` is result.json of the last attempt, complete."""
    last = entry.current
    return {
        **entry.experiment.to_json(),
        "candidate_key": entry.experiment.candidate.key,
        "commit": campaign.sources.commit(entry.experiment.candidate.program),
        "purpose": entry.purpose,
        "tier": entry.tier,
        "wave": entry.wave,
        **idea(campaign.history, entry),
        "description": entry.description,
        "lineage": lineage(campaign, entry.experiment.candidate.program),
        "state": entry.state.name,
        "attempts": entry.attempt,
        "lost": entry.losses,
        **place(campaign, entry),
        "result": read_json(campaign.layout.result(last)) if entry.attempt else None,
        "directory": str(campaign.layout.experiment(entry.experiment.id)),
    }


def idea(history: History, entry: Entry) -> Json:
    """Whose idea it was, what the wave was to find out, and the effect that was hoped for."""
    if not entry.wave:
        return {"planner": "", "hypothesis": "", "expected": None}
    wave = history.waves[entry.wave - 1][0]
    return {
        "planner": history.author(entry),
        "hypothesis": wave.hypothesis,
        "expected": hoped(history, entry),
    }


def lineage(campaign: find.Campaign, program: str) -> list[str]:
    """The program's ancestors, itself first: its commit, and why it was written."""
    log = campaign.sources.log(program)
    return [f"{commit[:7]} {message}" for commit, message in log]


def place(campaign: find.Campaign, entry: Entry) -> Json:
    """Where the last attempt was made."""
    pilot = campaign.history.pilots.get(entry.pilot)
    return {"node": pilot.node, "job": str(pilot.job.get("id", ""))} if pilot else {}


def tell(record: Json, log: str) -> None:
    console = Console()
    console.print(fields({k: v for k, v in record.items() if k != "result"}), soft_wrap=True)
    if record["result"]:
        kept = {k: v for k, v in record["result"].items() if k != "curve"}
        console.print(Text("\nresult", style="bold"), fields(kept), sep="\n", soft_wrap=True)
    if log:
        console.print(Text("\nend of what the program printed", style="bold"), Text(log), sep="\n")


def fields(record: Json) -> Text:
    """One line per field, never cut: a path can be copied from a narrow terminal."""
    shown = {one_line(key, LONGEST_KEY): value for key, value in record.items()}
    width = max(map(len, shown)) + 2
    lines = []
    for key, value in shown.items():
        text = plain(words(key, value)).replace("\n", "\n" + " " * width)
        lines.append(Text.assemble((key.ljust(width), "dim"), text))
    return Text("\n").join(lines)


def words(key: str, value: object) -> str:
    """A value for people: times are local, seconds have one decimal, what is not there is "-"."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return "\n".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={short(key, inner)}" for name, inner in value.items())
    if key in TIMES and isinstance(value, float):
        return datetime.fromtimestamp(value, UTC).astimezone().isoformat(timespec="seconds")
    return str(value)


def short(key: str, value: object) -> str:
    return f"{value:.1f}" if key == "seconds" and isinstance(value, float) else str(value)


def log_tail(layout: Layout, entry: Entry) -> str:
    path = layout.log(Attempt(entry.experiment.id, entry.attempt))
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return plain("\n".join(text.splitlines()[-LOG_LINES:]))
