"""Random search draws evenly on each domain's own scale, and leaves nothing out."""

from collections import Counter

from autoresearch.planners.points import Point
from autoresearch.planners.protocol import Request
from autoresearch.planners.sampling import Settings, propose
from autoresearch.space import Choice, Interval, Space

SPACE: Space = {
    "lr": Interval(1e-4, 1.0, log=True),
    "decay": Interval(0.0, 1.0),
    "depth": Interval(1, 4, integer=True),
    "pattern": Choice(("S", "L")),
}


def request(seed: int = 1, wave: int = 1, capacity: int = 2000) -> Request:
    start: Point = {"lr": 0.01, "decay": 0.5, "depth": 2, "pattern": "S"}
    return Request("random", seed, wave, capacity, SPACE, start)


def test_draws_are_uniform_on_the_domains_own_scale() -> None:
    """Four decades, four quarters, four whole numbers: 500 of 2,000 each, give or take 5 sigma."""
    points = [p.overrides for p in propose(request(), Settings()).proposals]
    decades = Counter(sum(float(p["lr"]) >= e for e in (1e-3, 1e-2, 1e-1)) for p in points)
    quarters = Counter(min(int(float(p["decay"]) * 4), 3) for p in points)
    depths = Counter(p["depth"] for p in points)
    for counts in (decades, quarters, depths):
        assert len(counts) == 4
        assert all(abs(n - 500) < 100 for n in counts.values())
    assert abs(Counter(p["pattern"] for p in points)["S"] - 1000) < 115


def test_seed_and_wave_decide_the_draw() -> None:
    first = propose(request(capacity=5), Settings())
    assert propose(request(seed=2, capacity=5), Settings()) != first
    assert propose(request(wave=2, capacity=5), Settings()) != first
    assert first.hypothesis == "5 uniformly random points of decay × depth × lr × pattern"
