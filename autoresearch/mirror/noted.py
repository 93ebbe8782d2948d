"""What the watcher last wrote into control/wandb.json, in words for people."""

import time
from collections.abc import Iterator, Mapping

from autoresearch.experiment import Json, one_line
from autoresearch.journal import is_moment
from autoresearch.layout import Layout, read_json
from autoresearch.mirror.reconcile import is_number

SILENCE_SECONDS = 120.0  # without an answer before anybody is told


def noted(layout: Layout) -> Json:
    """{} before the first turn."""
    return read_json(layout.watched) or {}


def notices(said: Json, now: float | None = None) -> Iterator[str]:
    """What a person should know, one line each."""
    now = time.time() if now is None else now
    problem, polled = said.get("problem"), moment(said, "polled")
    if problem and now - polled > SILENCE_SECONDS:
        waiting = said.get("unsent")
        runs = f"; {plural(waiting, 'run waits', 'runs wait')} to be sent" if waiting else ""
        since = f" since {time.strftime('%H:%M', time.localtime(polled))}" if polled else ""
        yield line(f"W&B has not answered{since} ({problem}){runs}")
    refused = said.get("refused")
    if isinstance(refused, dict) and refused:
        run, why = next(iter(refused.items()))
        what = plural(len(refused), "result from W&B was", "results from W&B were")
        yield line(f"{what} refused: {run}: {why}")
    differences = said.get("differences")
    if isinstance(differences, list) and differences:
        more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
        yield line(f"W&B differs from the journal: {differences[0]}{more}")


def plural(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def moment(said: Json, name: str) -> float:
    """A time that was written down; 0 if it is none."""
    value = said.get(name)
    return value if is_moment(value) else 0.0


def line(text: str) -> str:
    """What was found at W&B anybody may have written there."""
    return one_line(text, 400)


def training(said: Json) -> Mapping[str, Mapping[str, float]]:
    """By experiment, the newest numbers of what is running."""
    running = said.get("running")
    if not isinstance(running, dict):
        return {}
    return {
        str(name).partition("-")[0]: values
        for name, values in running.items()
        if isinstance(values, dict) and all(map(is_number, values.values()))
    }
