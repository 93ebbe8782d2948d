"""`autoresearch stop`: ask the controller to end; without one, the pilots and who comes next."""

import argparse
import json
from pathlib import Path

from autoresearch.cluster.interface import Phase
from autoresearch.cluster.table import connect
from autoresearch.collect import jobs
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import write_atomically
from autoresearch.lease import is_held
from autoresearch.opening import effective, existing
from autoresearch.verbs.find import running


def main(options: argparse.Namespace) -> int:
    layout = existing(Path(options.directory))
    history = History.of(replay(layout.journal).events)
    if not history.ended:  # the next controller heeds it, if there is none now
        write_atomically(layout.stop, json.dumps({"now": options.now}))
    if is_held(layout.lease):
        print(asked(history, now=options.now))
        return 0
    layout.drain.touch()
    cluster = connect(layout, effective(layout).cluster)
    live = jobs(history)
    seen = cluster.look(live)
    gone = {name for name, sighting in seen.items() if sighting.phase is Phase.gone}
    left = {name: job for name, job in live.items() if name not in gone}
    (cluster.cancel if options.now else cluster.withdraw)(left)
    print(
        f"no controller is at work; {len(left)} pilots were told to stop, and whoever comes next, "
        "a visit or the controller's job, ends the campaign"
    )
    for notice in cluster.notices():
        print(notice)
    return 0


def asked(history: History, *, now: bool) -> str:
    """What the controller will do next."""
    runs = running(history)
    if now:
        return f"asked the controller to end now; what is cut short ({runs}) runs again on resume"
    return f"asked the controller to finish what runs ({runs}) and end; `--now` does not finish it"
