"""`autoresearch report`: write report/ and show the result."""

import argparse

from autoresearch.report.publish import publish
from autoresearch.report.summary import summarize
from autoresearch.verbs import find


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    publish(summarize(campaign.history, campaign.settings, campaign.sources))
    return 0
