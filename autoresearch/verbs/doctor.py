"""`autoresearch doctor`: whether a campaign would work here, and what to do about it if not."""

import argparse
import os
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoresearch import config
from autoresearch.doctor.advice import Finding, State
from autoresearch.doctor.examine import examine
from autoresearch.verbs.answer import answer

STYLES = {State.ok: "green", State.problem: "bold red", State.unknown: "yellow", State.note: "dim"}
NARROWEST = 20  # columns; a pipe has the width that COLUMNS says
PIPE_WIDTH = 120  # or so many


def main(options: argparse.Namespace) -> int:
    findings = examine(config.compose(options.overrides), options.minutes, tell)
    breaks = any(finding.breaks for finding in findings)
    if options.json:
        answer({"ok": not breaks, "findings": [finding.to_json() for finding in findings]})
    else:
        is_given = sys.stdout.isatty() or "COLUMNS" in os.environ
        console = Console(width=None if is_given else PIPE_WIDTH)
        console.print(table(findings))
        console.print(verdict(findings), soft_wrap=True)
    return 1 if breaks else 0


def tell(line: str) -> None:
    """Progress, beside what is asked for."""
    print(f"autoresearch: {line}", file=sys.stderr)


def table(findings: Sequence[Finding]) -> Table:
    """A section per place; below what was found, what to do about it."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("where", "check", "", "found"):
        shown.add_column(heading, overflow="fold", min_width=0 if heading != "found" else NARROWEST)
    before = None
    for finding in findings:
        where = place(finding)
        if before not in (None, where):
            shown.add_section()
        state = Text(finding.state.value, style=STYLES[finding.state])
        shown.add_row(Text(where if where != before else ""), finding.title, state, said(finding))
        before = where
    return shown


def place(finding: Finding) -> str:
    if not finding.tier:
        return "login node"
    return f"{finding.tier} in {finding.partition}" if finding.partition else finding.tier


def said(finding: Finding) -> Text:
    """What programs and Slurm print is shown as text, never as markup."""
    text = Text(finding.found)
    return text.append(f"\n→ {finding.cure}", style="bold") if finding.cure else text


def verdict(findings: Sequence[Finding]) -> Text:
    """The last line: what to take away."""
    breaking = sum(finding.breaks for finding in findings)
    problems = sum(finding.state is State.problem for finding in findings)
    unknown = sum(finding.state is State.unknown for finding in findings)
    rest = f"; {unknown} could not be checked" if unknown else ""
    if breaking:
        return Text(f"Problems: {problems}; {breaking} would break a campaign{rest}", "bold red")
    if problems:
        return Text(f"Problems: {problems}; a campaign works all the same{rest}", "yellow")
    return Text(f"No problems{rest}", "yellow" if unknown else "green")
