"""`autoresearch promote`: have a candidate tested against the champion next, whatever its rung."""

import argparse
import json
import secrets

from autoresearch.layout import write_atomically
from autoresearch.lease import is_held
from autoresearch.verbs import find


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    entry = find.entry(campaign.history, options.experiment)
    layout = campaign.layout
    layout.promotions.mkdir(parents=True, exist_ok=True)
    wish = json.dumps({"experiment": entry.experiment.id})
    write_atomically(layout.promotions / f"{secrets.token_hex(4)}.json", wish)
    when = "next" if is_held(layout.lease) else f"after `autoresearch resume {layout.root}`"
    print(f"candidate {entry.experiment.candidate.key} will be tested against the champion {when}")
    return 0
