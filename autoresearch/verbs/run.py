"""`autoresearch run`: start a campaign and stay with it until it ends."""

import argparse
import sys

from autoresearch import config, opening
from autoresearch.verbs.answer import answer
from autoresearch.verbs.attend import attend
from autoresearch.verbs.step import look_after


def main(options: argparse.Namespace) -> int:
    if options.cfg:
        if options.json:
            answer({"settings": config.preview_json(options.overrides)})
        else:
            print(config.preview(options.overrides), end="")
        return 0
    settings = config.compose(options.overrides)
    campaign = (opening.start_or_resume if options.go_on else opening.start)(settings)
    for line in opening.remarks(campaign) if not campaign.history.entries else ():
        print(f"autoresearch: {line}", file=sys.stderr)
    if not options.leave:
        return attend(campaign, as_json=options.json)
    code = look_after(campaign, as_json=options.json)
    if not campaign.history.ended:
        step = f"autoresearch step {campaign.layout.root}"
        print(f"next: {step}, every few minutes; see slurm/scrontab", file=sys.stderr)
    return code
