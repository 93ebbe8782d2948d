#!/usr/bin/env python
"""What a poll of a campaign asks of W&B, beside the plain way: the summary of each of `api.runs`.

    python scripts/bench/wandb/polls.py [--polls 40] [--plain 1000] [--json FILE]

The server is the one the tests use, in this process, with 10 to 10,000 runs of which 16 are running
(5 of 10). Between two polls one of them ends, another begins, and those that run are heard of. The
first poll lists everything; every twentieth asks for the count as well. Beside it the same with a
server that does not know the filter by heartbeat, which W&B does not document. Polls follow each
other at once: the second that a campaign waits between two requests is left out.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.message import Message
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))

import _report
import wandb
from wandb_listener import Reply
from wandb_runs import Run, utc
from wandb_server import WandbServer

from autoresearch.mirror import listing
from autoresearch.settings import Tracker

SIZES = (10, 100, 1000, 10_000)
RUNNING = 16
BETWEEN = timedelta(seconds=15)  # two polls, as the server's clock has it
ENTITY, PROJECT, CAMPAIGN = "lab", "bench", "night"


def runs(count: int) -> Iterator[Run]:
    """A campaign's; the last ones are running."""
    start = utc() - timedelta(seconds=2 * count)
    for number in range(count):
        ended = number < count - min(RUNNING, count // 2)
        when = start + timedelta(seconds=number)
        yield Run(
            ENTITY,
            PROJECT,
            f"run{number:05d}",
            group=CAMPAIGN,
            config={"lr": number / count, "seed": number, "experiment": f"{number:012d}"},
            summary={"bpb": 1 + number / count, "steps": 1000, "tokens": 1 << 26},
            state="finished" if ended else "running",
            exit_code=0 if ended else None,
            created=when,
            heartbeat=when if ended else utc(),
        )


class Counting(WandbServer):
    """Knows how much it has answered."""

    sent = 0  # bytes of content
    passed = timedelta()

    def _answer(self, method: str, target: str, headers: Message, body: bytes) -> Reply:
        reply = super()._answer(method, target, headers, body)
        content = reply.content
        self.sent += len(content if isinstance(content, bytes) else json.dumps(content))
        return reply

    def live(self, number: int) -> None:
        """What happens between two polls: a while passes, for times are whole seconds there."""
        self.passed += BETWEEN
        now = utc() + self.passed
        with self._lock:
            running = [run for run in self.runs.values() if run.state == "running"]
            running[0].state, running[0].exit_code = "finished", 0
            for run in running:
                run.heartbeat = now
        config = {"lr": 1.0, "seed": number, "experiment": f"{number:012d}"}
        new = Run(ENTITY, PROJECT, f"new{number:05d}", group=CAMPAIGN, config=config)
        new.created = new.heartbeat = now
        self.seed(ENTITY, PROJECT, [new])


@dataclass(frozen=True)
class Cost:
    """Of one poll, on average."""

    requests: float
    seconds: float
    kilobytes: float
    first: int  # requests of the first one


def polls(server: Counting, count: int) -> Cost:
    """Demands that in the end all is known that there is."""
    tracker = Tracker(kind="wandb", entity=ENTITY, project=PROJECT, url=server.url)
    asking = listing.Listing(tracker, CAMPAIGN)
    before = server.count("Runs")
    asking.poll()
    first, sent, seconds = server.count("Runs") - before, server.sent, 0.0
    for number in range(count):
        server.live(len(server.runs) + number)
        start = time.perf_counter()
        asking.poll()
        seconds += time.perf_counter() - start
    asked = server.count("Runs") - before - first
    known = {id: seen.state for id, seen in asking.seen.items()}
    if known != {run.id: run.state for run in server.runs.values()}:
        sys.exit("nothing was measured: something was not seen")
    asking.close()
    return Cost(asked / count, seconds / count, (server.sent - sent) / count / 1000, first)


def plain(server: Counting) -> Cost:
    """One look as the documentation of W&B shows it."""
    api = wandb.Api({"base_url": server.url}, api_key=server.key)
    before, sent, start = len(server.requests), server.sent, time.perf_counter()
    for run in api.runs(f"{ENTITY}/{PROJECT}", filters={"group": CAMPAIGN}):
        run.summary.get("bpb")
    seconds, asked = time.perf_counter() - start, len(server.requests) - before
    wandb.teardown()
    return Cost(asked, seconds, (server.sent - sent) / 1000, asked)


def measure(size: int, count: int, *, is_plain: bool) -> Iterator[_report.Figure]:
    """Each way meets a server of its own, so that all find the same there."""
    found = []
    for way in ("ours", "ours without that filter", *(["plain"] if is_plain else [])):
        with Counting() as server:
            os.environ |= {"WANDB_API_KEY": server.key, "WANDB_SILENT": "true"}
            server.seed(ENTITY, PROJECT, runs(size))
            server.honours_heartbeat_filter = way != "ours without that filter"
            cost = plain(server) if way == "plain" else polls(server, count)
        found.append(cost)
        note = f"{cost.seconds * 1000:.0f} ms, {cost.kilobytes:.0f} kB"
        if way == "plain":
            times = ("requests", "seconds", "kilobytes")
            ratios = [getattr(cost, name) / getattr(found[0], name) for name in times]
            note += "; {:.0f}, {:.1f} and {:.1f} times ours".format(*ratios)
        else:
            note += f"; the first {cost.first} requests"
        bound = None if way == "plain" else 3
        what = f"{size:,} runs, a poll: {way}"
        yield _report.Figure(what, cost.requests, "requests", bound=bound, note=note)


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--polls", type=int, default=40)
    parser.add_argument("--plain", type=int, default=1000, help="largest size the plain way is for")
    options = parser.parse_args()
    before = _report.machine()
    listing.SPACING = 0.0
    figures: list[_report.Figure] = []
    for size in SIZES:
        figures += measure(size, options.polls, is_plain=size <= options.plain)
    return _report.report("requests per poll", figures, before, options.json)


if __name__ == "__main__":
    sys.exit(main())
