"""`autoresearch stop`: ask the controller to end; without one, the pilots and who comes next."""

import argparse
import json
from pathlib import Path

from autoresearch.cluster.interface import Phase
from autoresearch.cluster.table import connect
from autoresearch.collect import jobs
from autoresearch.experiment import plural
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout, write_atomically
from autoresearch.lease import is_held
from autoresearch.opening import effective, existing
from autoresearch.verbs.answer import answer
from autoresearch.verbs.find import running, running_count


def main(options: argparse.Namespace) -> int:
    layout = existing(Path(options.directory))
    history = History.of(replay(layout.journal).events)
    if not history.ended:  # the next controller heeds it, if there is none now
        write_atomically(layout.stop, json.dumps({"now": options.now}))
    is_there = is_held(layout.lease)
    told, notices = (0, list[str]()) if is_there else tell_pilots(layout, history, now=options.now)
    if options.json:
        answer(
            {
                "now": options.now,
                "controller": is_there,
                "running": running_count(history),
                "pilots": told,
                "notices": notices,
                "ended": history.ended,
            }
        )
        return 0
    said = asked(history, now=options.now) if is_there else alone(told)
    if history.ended:
        said = f"it has ended already ({history.ended}); {plural(told, 'pilot')} told to stop"
    print(said, *notices, sep="\n")
    return 0


def tell_pilots(layout: Layout, history: History, *, now: bool) -> tuple[int, list[str]]:
    """Without a controller: have the pilots stop; how many, and what the cluster says of them."""
    layout.drain.touch()
    cluster = connect(layout, effective(layout).cluster)
    live = jobs(history)
    seen = cluster.look(live)
    gone = {name for name, sighting in seen.items() if sighting.phase is Phase.gone}
    left = {name: job for name, job in live.items() if name not in gone}
    (cluster.cancel if now else cluster.withdraw)(left)
    return len(left), list(cluster.notices())


def alone(pilots: int) -> str:
    return (
        f"no controller is at work; {plural(pilots, 'pilot')} told to stop; the controller's job "
        "ends the campaign when it comes, or `autoresearch step`"
    )


def asked(history: History, *, now: bool) -> str:
    """What the controller will do next."""
    runs = running(history)
    if now:
        return f"asked the controller to end now; what is cut short ({runs}) runs again on resume"
    return f"asked the controller to finish what runs ({runs}) and end; `--now` does not finish it"
