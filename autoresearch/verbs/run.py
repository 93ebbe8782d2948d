"""`autoresearch run`: start a campaign and stay with it until it ends."""

import argparse

from autoresearch import config, opening
from autoresearch.verbs.attend import attend


def main(options: argparse.Namespace) -> int:
    if options.cfg:
        print(config.preview(options.overrides), end="")
        return 0
    return attend(opening.start(config.compose(options.overrides)))
