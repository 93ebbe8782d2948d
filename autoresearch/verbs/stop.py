"""`autoresearch stop`: ask the controller to end, or, without one, the pilots themselves."""

import argparse
import json
from pathlib import Path

from autoresearch.cluster.table import connect
from autoresearch.collect import jobs
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import write_atomically
from autoresearch.lease import is_held
from autoresearch.opening import existing, read_settings


def main(options: argparse.Namespace) -> int:
    layout = existing(Path(options.directory))
    if is_held(layout.lease):
        write_atomically(layout.stop, json.dumps({"now": options.now}))
        print("asked the controller to stop")
        return 0
    layout.drain.touch()
    history = History.of(replay(layout.journal).events)
    cluster = connect(layout, read_settings(layout).cluster)
    live = jobs(history)
    running = {name: job for name, job in live.items() if name not in cluster.gone(live)}
    if options.now:
        cluster.cancel(running)
    print(f"no controller is at work; {len(running)} pilots were told to stop")
    return 0
