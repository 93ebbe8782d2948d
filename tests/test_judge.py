"""Promise 3: better means better than noise. The rules, played through with drawn results."""

import random
import zlib
from dataclasses import replace

import pytest
from worlds import BASELINE, CELL, World, make_settings

from autoresearch import judge
from autoresearch.entry import Purpose
from autoresearch.experiment import Candidate, Failure, Split
from autoresearch.settings import Cluster, Tier


def hash_of(*parts: object) -> int:
    """The same in every process, unlike `hash` of a string."""
    return zlib.crc32(repr(parts).encode())


def noise(seed: int, sigma: float = 0.01) -> float:
    """The same seed always gives the same noise, as a deterministic program does."""
    return random.Random(seed).gauss(0.0, sigma)


def by_width(candidate: Candidate, seed: int) -> float:
    """A world in which width = 3 is the best by far."""
    width = int(candidate.overrides.get("width", 1)) if candidate.program == BASELINE else 3
    return 2.0 + 0.1 * abs(width - 3) + noise(hash_of(candidate.key, seed))


def equal(candidate: Candidate, seed: int) -> float:
    """A world in which nothing makes a difference."""
    return 2.0 + noise(hash_of(candidate.key, seed))


def test_the_baseline_runs_with_several_seeds_in_every_tier() -> None:
    tiers = {"screen": CELL, "validate": replace(CELL, device="cpu-2")}
    cluster = Cluster("local", {t: Tier(c.device, pilots=1) for t, c in tiers.items()})
    world = World(equal, make_settings(cluster=cluster), tiers)
    world.settle()
    for tier in tiers:
        assert len(world.history.scores(world.history.baseline, tier)) == 3


def test_a_baseline_run_lost_to_the_machine_is_replaced_by_another_seed() -> None:
    first = judge.screening_seeds(make_settings(), 1)[0]

    def draw(candidate: Candidate, seed: int) -> float | Failure:
        return Failure.node_failed if seed == first else equal(candidate, seed)

    world = World(draw)
    world.settle()
    assert len(world.history.scores(world.history.baseline, "screen")) == 3
    assert len(world.history.entries) == 4


def test_a_better_candidate_climbs_is_crowned_and_certified() -> None:
    world = World(by_width)
    world.propose(*({"width": width} for width in (2, 3, 4, 6, 7)))
    world.finish()
    (test,) = [t for t in world.history.crowns if t.crowned]
    assert test.challenger.overrides == {"width": 3}
    assert world.history.champion == Candidate(f"{test.number:064d}")
    (certified,) = world.history.certifications
    assert certified["low"] < -0.2 < certified["high"]
    assert certified["counts"] == [4, 4]


def test_most_candidates_get_one_seed_only() -> None:
    world = World(by_width)
    world.propose(*({"width": width} for width in range(2, 11)))
    world.settle()
    counts = sorted(len(entries) for entries in world.history.screened().values())
    assert counts[:6] == [1] * 6
    assert counts[-1] > 1


def test_seeds_of_screening_crown_and_certification_are_never_shared() -> None:
    world = World(by_width)
    world.propose({"width": 3}, {"width": 4}, {"width": 5})
    world.finish()
    seeds: dict[Purpose, set[int]] = {}
    for entry in world.history.entries.values():
        seeds.setdefault(entry.purpose, set()).add(entry.experiment.seed)
    assert seeds[Purpose.screen] <= seeds[Purpose.baseline]  # paired: that is meant
    assert not seeds[Purpose.crown] & (seeds[Purpose.baseline] | seeds[Purpose.certify])
    assert not seeds[Purpose.certify] & seeds[Purpose.baseline]


def test_only_certification_reads_the_test_split_and_only_after_the_last_decision() -> None:
    world = World(by_width)
    world.propose({"width": 3}, {"width": 4}, {"width": 5})
    world.finish()
    tested = [e for e in world.history.entries.values() if e.experiment.split is Split.test]
    assert {entry.purpose for entry in tested} == {Purpose.certify}
    types = [event["type"] for event in world.events]
    last_decision = max(i for i, kind in enumerate(types) if kind == "crown_closed")
    assert types.index("certifying") > last_decision


def campaign_crowns_someone(seed: int, luck: float = 0.0) -> bool:
    """Play a campaign whose candidates all equal the baseline, but for `luck` on one seed."""
    lucky = judge.screening_seeds(make_settings(seed=seed), 1)[0]

    def draw(candidate: Candidate, run: int) -> float:
        gain = luck if candidate.overrides and run == lucky else 0.0
        return 2.0 + noise(hash_of(seed, candidate.key, run)) - gain

    world = World(draw, make_settings(seed=seed))
    for wave in range(4):
        world.propose(*({"width": 10 * wave + k} for k in range(6)))
        world.settle()
    world.finish()
    return any(test.crowned for test in world.history.crowns)


@pytest.mark.parametrize("luck", [0.0, 0.5])
def test_equal_candidates_are_crowned_no_more_often_than_alpha(luck: float) -> None:
    campaigns = 100
    false = sum(campaign_crowns_someone(seed, luck) for seed in range(campaigns))
    assert false / campaigns <= 0.05 + 3 * (0.05 * 0.95 / campaigns) ** 0.5


def test_a_challenger_that_fails_once_on_fresh_seeds_is_not_crowned() -> None:
    screening = judge.screening_seeds(make_settings(), 2)

    def fragile(candidate: Candidate, seed: int) -> float | Failure:
        if candidate.overrides and seed not in screening and seed % 2:
            return Failure.diverged
        return by_width(candidate, seed)

    world = World(fragile)
    world.propose({"width": 3}, {"width": 4}, {"width": 5})
    world.finish()
    assert world.history.crowns
    assert all(not test.crowned for test in world.history.crowns if test.verdict)


def test_failed_candidates_never_climb() -> None:
    def draw(candidate: Candidate, seed: int) -> float | Failure:
        return Failure.out_of_memory if candidate.overrides else equal(candidate, seed)

    world = World(draw)
    world.propose(*({"width": k} for k in range(2, 8)))
    world.finish()
    assert not world.history.crowns
    assert all(len(entries) == 1 for entries in world.history.screened().values())


def test_crown_tests_spend_the_error_rate_in_smaller_and_smaller_shares() -> None:
    world = World(by_width)
    world.propose({"width": 2}, {"width": 6}, {"width": 7})
    world.settle()
    world.propose({"width": 3}, {"width": 8}, {"width": 9})
    world.finish()
    alphas = [test.alpha for test in world.history.crowns]
    assert len(alphas) >= 2
    assert alphas == sorted(alphas, reverse=True)
    assert sum(alphas) <= 0.05


def test_after_the_search_one_last_candidate_is_tested_whatever_its_rung() -> None:
    settings = make_settings(search=replace(make_settings().search, rungs=(1, 50)))
    world = World(by_width, settings)
    world.propose({"width": 3}, {"width": 8})
    world.finish()
    (test,) = world.history.crowns
    assert test.final
    assert test.crowned


def test_a_wished_candidate_meets_the_champion_next() -> None:
    world = World(by_width)
    world.propose({"width": 9}, {"width": 3})
    world.settle()
    assert not world.history.crowns
    world.record(
        {"type": "promoted", "candidate": {"program": BASELINE, "overrides": {"width": 9}}}
    )
    world.settle()
    (test,) = world.history.crowns
    assert test.challenger.overrides == {"width": 9}
    assert not test.crowned


def test_numbers_of_different_cells_never_meet() -> None:
    other = replace(CELL, device="cpu-2")
    tiers = {"screen": CELL, "validate": other}

    def draw(candidate: Candidate, seed: int) -> float:
        return by_width(candidate, seed)

    cluster = Cluster("local", {t: Tier(c.device, pilots=1) for t, c in tiers.items()})
    world = World(draw, make_settings(cluster=cluster), tiers)
    world.propose({"width": 3}, {"width": 4}, {"width": 5})
    world.finish()
    (test,) = [t for t in world.history.crowns if t.crowned]
    crown = [e for e in world.history.entries.values() if e.purpose is Purpose.crown]
    assert {entry.experiment.cell for entry in crown} == {other}
    assert test.tier == "validate"
    screen = world.history.scores(test.challenger, "screen")
    validate = world.history.scores(test.challenger, "validate")
    assert not set(screen) & set(validate)


@pytest.mark.parametrize("use", ["screen", "crown", "certify"])
def test_seeds_are_fixed_by_the_campaign_seed(use: str) -> None:
    assert judge.seed_for(1, use, 0) == judge.seed_for(1, use, 0)
    assert judge.seed_for(1, use, 0) != judge.seed_for(2, use, 0)
    assert 0 <= judge.seed_for(1, use, 0) < 2**31
