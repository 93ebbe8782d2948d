"""`autoresearch verify`: re-check a whole campaign from its own record."""

import argparse
from pathlib import Path

from autoresearch.opening import existing
from autoresearch.verbs.answer import answer
from autoresearch.verification.campaign import verify


def main(options: argparse.Namespace) -> int:
    report = verify(existing(Path(options.directory)))
    if options.json:
        answer(report.to_json())
    else:
        print("\n".join(report.lines()))
    return 1 if report.complaints else 0
