"""`autoresearch run`: start a campaign and stay with it until it ends."""

import argparse

from autoresearch import config, opening
from autoresearch.verbs.attend import attend
from autoresearch.verbs.step import look_after


def main(options: argparse.Namespace) -> int:
    if options.cfg:
        print(config.preview(options.overrides), end="")
        return 0
    settings = config.compose(options.overrides)
    campaign = (opening.start_or_resume if options.go_on else opening.start)(settings)
    return look_after(campaign) if options.leave else attend(campaign)
