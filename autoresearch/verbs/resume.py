"""`autoresearch resume`: go on with a campaign, amended if asked."""

import argparse
from pathlib import Path

from autoresearch import opening
from autoresearch.verbs.attend import attend


def main(options: argparse.Namespace) -> int:
    return attend(opening.resume(Path(options.directory), options.overrides))
