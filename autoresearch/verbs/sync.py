"""`autoresearch sync`: have W&B hold every run of a campaign, as the journal has it.

Runs that nodes left in the campaign are sent, those that are being made are followed to their end.
Then what W&B lists is compared with the journal: what is missing or different is sent again.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from autoresearch.errors import CampaignError
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.mirror import reconcile
from autoresearch.mirror.courier import KEPT
from autoresearch.mirror.post import QUIET_SECONDS, Lister, Told, box
from autoresearch.mirror.reconcile import Findings
from autoresearch.mirror.resend import resend
from autoresearch.mirror.seen import Seen
from autoresearch.mirror.sync import Outcome, being_made, forget, id_of, pending, upload
from autoresearch.mirror.watcher import open_listing
from autoresearch.settings import NodeSettings
from autoresearch.tracking.scratch import isolate
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer

FRESH_SECONDS = 60.0  # since its end a run may still be on its way from its node
LINE_SECONDS = 30.0  # between two lines of progress where there is no terminal
SHOWN = 20  # findings, for people


@dataclass
class Report:
    """What was done, by run id."""

    sent: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)  # before anything was sent again
    fresh: int = 0  # ended just now, and were not compared
    complaint: str = ""  # of W&B's own tool


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    if campaign.settings.tracker.kind != "wandb":
        print("nothing to sync: this campaign has no W&B runs (tracker=files)", file=sys.stderr)
        if options.json:
            answer(asdict(Report()))
        return 0
    settings = NodeSettings.read(campaign.layout.node_settings)
    try:
        with box() as folder:
            isolate(folder, keep=(*KEPT, "WANDB_BASE_URL"))
            listing = open_listing(settings)
            try:
                report = Sync(campaign.layout, settings, listing).run()
            finally:
                listing.close()
    except KeyboardInterrupt:
        print(f"left the rest; `autoresearch sync {campaign.layout.root}` goes on", file=sys.stderr)
        return 130
    if options.json:
        answer(asdict(report))
    else:
        print(text(report))
    if report.failed:
        raise CampaignError(failure(report, campaign.layout))
    return 0


@dataclass
class Sync:
    """Send, compare with the journal, send again."""

    layout: Layout
    settings: NodeSettings
    listing: Lister
    report: Report = field(default_factory=Report)

    def run(self) -> Report:
        report = self.report
        outcome = self.upload()
        report.sent, report.left = outcome.sent, outcome.left
        before = time.time() - FRESH_SECONDS
        history, listed, report.findings = self.compare(before)
        findings = report.findings
        if forget(self.layout, findings.missing):  # there is more in their files than here
            report.again += self.upload().sent
            history, listed, findings = self.compare(before)
        finished = reconcile.finished(history)
        stuck = {*report.left, *report.failed}
        wanted = {id: finished[id] for id in findings.to_send if id not in stuck}
        if wanted:
            with progress("sending again") as told:
                lacking = resend(self.layout, self.settings, self.listing, wanted, told)
            report.failed |= {id: problem for id, problem in lacking.items() if problem}
            report.again += [id for id, problem in lacking.items() if not problem]
        report.again = list(dict.fromkeys(report.again))
        told_of = {*report.sent, *report.again, *report.left, *report.failed}
        report.there = [id for id in finished if id in listed and id not in told_of]
        report.fresh = len(finished) - len(reconcile.finished(history, before))
        return report

    def history(self) -> History:
        return History.of(replay(self.layout.journal).events)

    def upload(self) -> Outcome:
        """Send what nodes have left here."""
        making = being_made(self.history())
        live = sum(id_of(path) in making for path in pending(self.layout))
        quiet = QUIET_SECONDS
        if live:
            limits = self.settings.limits
            quiet = max(quiet, limits.setup_seconds, limits.score_seconds)
            tell(f"following {count(live)} to the end; Ctrl-C leaves the rest to the next time")
        where = (self.layout, self.settings.tracker, self.listing)
        with progress("sending") as told:
            outcome = upload(*where, live=True, told=told, making=making, quiet=quiet)
        self.report.failed |= outcome.failed
        self.report.complaint = outcome.complaint or self.report.complaint
        return outcome

    def compare(self, before: float) -> tuple[History, Mapping[str, Seen], Findings]:
        """The journal as it is now, what W&B lists, and how they differ."""
        history, listed = self.history(), self.listing.all()
        return history, listed, reconcile.reconcile(history, listed, before)


@contextmanager
def progress(what: str) -> Iterator[Told]:
    """A bar in a terminal, a line every so often elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(what).told
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@dataclass
class Lines:
    """Progress for a log."""

    what: str
    last: float = field(default_factory=time.monotonic)

    def told(self, done: int, total: int) -> None:
        if time.monotonic() - self.last > LINE_SECONDS:
            self.last = time.monotonic()
            tell(f"{self.what}: {done} of {total}")


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def text(report: Report) -> str:
    """What differs, then one line that sums it up."""
    found = list(reconcile.sentences(report.findings))
    more = [f"... and {len(found) - SHOWN} more (--json names all)"] if len(found) > SHOWN else []
    return "\n".join((*found[:SHOWN], *more, summary(report)))


def summary(report: Report) -> str:
    findings = report.findings
    differing = len({difference.id for difference in findings.different})
    odd = len(findings.doubled) + len(findings.strangers)
    parts = [
        f"{count(len(report.sent))} sent",
        f"{len(report.again)} sent again",
        f"{len(report.there)} there already",
        f"{differing} differed",
    ]
    if odd:
        parts.append(f"{odd} should not be there")
    if report.left:
        parts.append(f"{len(report.left)} left to the next time")
    if report.fresh:
        parts.append(f"{report.fresh} of these ended just now and were not compared")
    return ", ".join(parts)


def count(runs: int) -> str:
    return f"{runs} run{'s' * (runs != 1)}"


def failure(report: Report, layout: Layout) -> str:
    """What could not be sent, in one line."""
    id, problem = next(iter(report.failed.items()))
    said = f" (W&B's client: {report.complaint})" if report.complaint else ""
    return (
        f"every run should be at W&B, but {count(len(report.failed))} could not be sent: "
        f"{id}: {problem}{said}; try `autoresearch sync {layout.root}` again later"
    )
