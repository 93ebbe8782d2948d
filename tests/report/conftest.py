"""One campaign, as the reports see it: two tiers, noise, failures, a champion, hostile words."""

import random
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from autoresearch.experiment import Seconds
from autoresearch.report.view import (
    CellView,
    CertificationView,
    ChampionView,
    CrownView,
    Row,
    View,
)

HOSTILE = '\x1b[31m=cmd|\t"calc"\n[bold red]\u202e$x^{ 变 \ud800\u2028end'
BASELINE, CHAMPION, LOSER, BROKEN = "base000000", "c4a9000000", "1053000000", "b20c000000"
SCREEN = CellView("1a2b3c4d", "screen", "cpu-1", "20000 tokens", 1.143, 5, 0.0012, 0.0031)
VALIDATE = CellView("99887766", "validate", "h100", "300 s", 0.998, 5, 0.0006, 0.0016)


def rows() -> Iterator[Row]:
    """In the order of proposal; they finish one a minute in that order."""
    noise, numbers = random.Random(1), count()

    def row(candidate: str, purpose: str, place: CellView, seed: int, **more: Any) -> Row:
        number = next(numbers)
        known: dict[str, Any] = {
            "experiment": f"{number:012x}",
            "candidate": candidate,
            "program": "p" * 64,
            "commit": "abc1234",
            "wave": 1,
            "purpose": purpose,
            "tier": place.tier,
            "cell": place.key,
            "seed": seed,
            "bpb": (place.baseline_mean or 0) + noise.gauss(0, place.sigma or 0),
            "status": "keep" if candidate in (BASELINE, CHAMPION) else "discard",
            "state": "finished",
            "ended": 1.8e9 + 60 * number,
            "memory_gb": 3.25,
            "seconds": Seconds(1, 2, 300, 20),
        }
        return Row(**known | more)

    for place in (SCREEN, VALIDATE):
        for seed in range(5):
            yield row(BASELINE, "baseline", place, seed, description="the baseline")
    changed = {"overrides": {"lr": 0.031}, "description": "lower learning rate"}
    yield row(LOSER, "screen", SCREEN, 0, description=HOSTILE, bpb=1.15)
    yield row(CHAMPION, "screen", SCREEN, 0, bpb=1.138, **changed)
    yield row(CHAMPION, "climb", SCREEN, 1, bpb=1.140, **changed)
    broken = {"bpb": None, "status": "crash", "failure": "out_of_memory", "reason": HOSTILE}
    yield row(BROKEN, "screen", SCREEN, 0, **broken)
    tested = {"overrides": {"lr": 0.031}, "description": "crown test 1: challenger"}
    for seed in range(3):
        yield row(CHAMPION, "crown", VALIDATE, seed, bpb=0.995 + seed * 1e-4, **tested)
    final = {"split": "test", "description": "certification: champion", "bpb": 0.5}
    yield row(CHAMPION, "certify", VALIDATE, 9, **final)
    yield row(LOSER, "screen", VALIDATE, 0, bpb=None, status="running", state="running")


@pytest.fixture
def view() -> View:
    return View(
        name="night-1",
        directory="/campaigns/night-1",
        rows=tuple(rows()),
        cells=(SCREEN, VALIDATE),
        champion=ChampionView(CHAMPION, "p" * 64, "abc1234", {"lr": 0.031}, 0.9951, "lower", 1),
        certification=CertificationView(
            -0.0031, -0.0042, -0.0020, 0.95, 5, 0.9981, 0.9950, significant=True
        ),
        crowns=(CrownView(CHAMPION, 1, -0.003, 0.0004, 0.0304, True, "lower learning rate"),),
        detectable=0.0016,
        spent={"experiments": 18, "gpu_hours": 4.256, "wall_hours": 2.0},
        limits={"experiments": 80, "gpu_hours": 8.0, "wall_hours": 0.0},
        failures={"out_of_memory": 1},
        planner="bayes",
        state="ended",
        end_reason="the budget of experiments is spent",
        pilots_busy=2,
        pilots=3,
    )
