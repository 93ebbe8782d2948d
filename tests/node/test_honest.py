"""Honest programs are left alone: by the look at their text, and by the referee behind a wall."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from honest import TRAIN, Honest, campaign_of, honest, queue
from honest_facets import CPU, CUDA, facets
from walls import needs_bubblewrap

from autoresearch.inspection import inspect
from autoresearch.node import sandbox

EAGER, MANY = 6, 40  # programs that are run by default, and with --full
HAS_COMPILER = shutil.which("g++") is not None  # torch's own choice on a CPU


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_two_hundred_take_every_way_there_is(device: str) -> None:
    programs = honest(200, device=device)
    assert programs[:30] == honest(30, device=device)
    assert len({(p.text, str(p.overrides)) for p in programs}) == 200
    for facet, ways in facets(device).items():
        assert {p.facets[facet] for p in programs} == {way.name for way in ways}
    assert programs[0].text == TRAIN
    assert honest(5, seed=1, device=device)[1:] != programs[1:5]


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_no_text_has_a_remark(device: str) -> None:
    remarks = {p.name: inspect(p.text) for p in honest(200, device=device)}
    assert {name: found for name, found in remarks.items() if found} == {}


def test_some_are_scored(tmp_path: Path) -> None:
    programs = honest(200)
    eager = [p for p in programs if p.facets["compile"] == "eager"]
    compiled = [p for p in programs if p.facets["compile"] == "scoring" and HAS_COMPILER]
    judge(eager[:EAGER] + compiled[:1], tmp_path)


@pytest.mark.slow
def test_many_are_scored(tmp_path: Path) -> None:
    some = [p for p in honest(200) if p.facets["compile"] == "eager" or HAS_COMPILER]
    judge(some[-MANY:], tmp_path)


def judge(programs: Sequence[Honest], folder: Path) -> None:
    """Two pilots run them all behind a wall; all get a score, and all probes are within bounds."""
    needs_bubblewrap()
    campaign = campaign_of(folder, CPU, sandbox.BUBBLEWRAP)
    attempts = {program.name: queue(campaign, program) for program in programs}
    pilots = [campaign.start(name) for name in ("p1", "p2")]
    said = [pilot.communicate()[1] for pilot in pilots]
    assert said == ["", ""]
    results = {name: campaign.result(attempt) for name, attempt in attempts.items()}
    ended = {name: (r.failure, r.reason) for name, r in results.items() if r.bpb is None}
    assert ended == {}, {p.name: p.facets for p in programs if p.name in ended}
    assert all({"prefix_difference", "challenge_mean"} <= set(r.probes) for r in results.values())
