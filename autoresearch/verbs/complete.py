"""`autoresearch complete`: what may come next on a command line. For completion scripts."""

import argparse

from autoresearch import config


def main(options: argparse.Namespace) -> int:
    words = [word for word in options.words if word != "--"]
    for candidate in config.complete(words):
        print(candidate)
    return 0
