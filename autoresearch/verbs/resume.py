"""`autoresearch resume`: go on with a campaign, amended if asked."""

import argparse
from pathlib import Path

from autoresearch import opening
from autoresearch.verbs.attend import attend


def main(options: argparse.Namespace) -> int:
    campaign = opening.resume(Path(options.directory), options.overrides)
    return attend(campaign, as_json=options.json)
