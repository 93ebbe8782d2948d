"""From what a node answered to what is wrong with it."""

from dataclasses import replace
from typing import Any

import pytest

from autoresearch.doctor.advice import State
from autoresearch.doctor.verdict import Wanted, judge, offset
from autoresearch.experiment import Json
from autoresearch.settings import Tier, Tracker

GPU = Tier("h100", threads=4, gpus=1)
WANTED = Wanted(
    tier=GPU,
    tracker=Tracker("wandb"),
    software="python 3.11 torch 2.6.0",
    manifest="a" * 64,
    memory_gb=4,
    file_seconds=0,
    login_offset=0.0,
    host="api.wandb.ai",
    sandbox="auto",
)
LISTING = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\n"
FACTS: Json = {
    "python": {"version": [3, 11, 7], "executable": "python"},
    "reply": 0.2,
    "clock": {"before": 100.0, "after": 100.01, "stamp": 100.005},
    "links": "",
    "data": {"sha256": "a" * 64, "wrong": []},
    "cores": 4,
    "memory": {"bytes": 4 << 30, "by": "Slurm"},
    "disk": {"path": "/tmp", "free": 5e9},
    "sealing": True,
    "secrets": [],
    "gpus": {"visible": "0", "listing": LISTING},
    "key": True,
    "internet": "",
    "sandbox": "",
    "numpy": {"version": "2.0"},
    "torch": {"version": "2.6.0+cu124", "cuda": True, "names": ["NVIDIA H100 80GB HBM3"]},
}


def verdicts(
    wanted: Wanted = WANTED, delay: float = 0.1, **changes: Any
) -> dict[str, tuple[State, str]]:
    """A healthy node's, with some facts changed; {"error": ...} is a look that failed."""
    values = {name: {"value": value} for name, value in (FACTS | changes).items()}
    errors = {name: v for name, v in changes.items() if isinstance(v, dict) and "error" in v}
    return {check: (state, found) for check, state, found in judge(wanted, values | errors, delay)}


def problems(wanted: Wanted = WANTED, delay: float = 0.1, **changes: Any) -> dict[str, str]:
    found = verdicts(wanted, delay, **changes)
    return {check: words for check, (state, words) in found.items() if state is State.problem}


def test_a_healthy_node_has_no_problems() -> None:
    assert {state for state, _ in verdicts().values()} == {State.ok}
    assert len(verdicts()) == 19


@pytest.mark.parametrize(
    ("look", "value", "check", "words"),
    [
        ("python", {"version": [3, 9, 2], "executable": "p"}, "python", "3.11 or newer"),
        ("python", {"version": [3, 12, 2], "executable": "p"}, "python", "here it is 3.11"),
        ("numpy", {"error": "RuntimeError: No module named 'numpy'"}, "numpy", "No module named"),
        ("torch", {**FACTS["torch"], "version": "2.5.1"}, "torch", "2.5.1; here it is 2.6.0"),
        ("torch", {**FACTS["torch"], "cuda": False}, "cuda", "finds no CUDA device"),
        ("torch", {**FACTS["torch"], "names": ["NVIDIA A40"]}, "cuda", "should be h100"),
        ("gpus", {"visible": "0", "listing": "No devices were found\n"}, "gpu", "No devices were"),
        ("gpus", {"visible": "0", "listing": "GPU 0: NVIDIA A40 (UUID: G)"}, "gpu", "a40; should"),
        ("gpus", {"visible": None, "listing": LISTING}, "visible", "is not set"),
        ("gpus", {"visible": "0,1", "listing": LISTING * 2}, "visible", "should show 1"),
        ("gpus", {"visible": "", "listing": LISTING}, "visible", "should show 1"),
        ("cores", 2, "cores", "2; the tier's programs have 4"),
        ("memory", {"bytes": 2 << 30, "by": "Slurm"}, "memory", "2.0 GiB by Slurm; a program may"),
        ("disk", {"path": "/tmp", "free": 5e8}, "disk", "0.5 GB free in /tmp"),
        ("disk", {"error": "OSError: No space left on device"}, "disk", "No space left on device"),
        ("sealing", False, "sealing", "can be changed"),
        ("sealing", {"error": "OSError: Function not implemented"}, "sealing", "not implemented"),
        ("reply", None, "shared", "not seen there"),
        ("links", "a name can be taken twice", "links", "taken twice"),
        ("data", {"sha256": "b" * 64, "wrong": []}, "data", "another manifest than here"),
        ("data", {"sha256": "a" * 64, "wrong": ["t.bin"]}, "data", "manifest says: t.bin"),
        ("data", {"error": "FileNotFoundError: no manifest"}, "data", "no manifest"),
        ("secrets", ["A_KEY", "B_KEY"], "secrets", "A_KEY, B_KEY"),
        ("key", False, "key", "no api.wandb.ai in ~/.netrc"),
        ("key", {"error": "FileNotFoundError: .netrc"}, "key", "no api.wandb.ai in ~/.netrc"),
    ],
)
def test_each_defect_is_one_problem(look: str, value: Any, check: str, words: str) -> None:
    found = problems(**{look: value})
    assert list(found) == [check]
    assert words in found[check]


def test_a_missing_torch_says_nothing_of_cuda() -> None:
    found = verdicts(torch={"error": "RuntimeError: No module named 'torch'"})
    assert found["torch"][0] is State.problem
    assert found["cuda"] == (State.unknown, "torch cannot be imported")


def test_a_look_that_failed_for_reasons_of_its_own_says_nothing() -> None:
    found = verdicts(memory={"error": "PermissionError: denied"})
    assert found["memory"] == (State.unknown, "denied")
    assert verdicts(clock={"error": "OSError: stale"})["clock"][0] is State.unknown


def test_what_a_killed_job_did_not_reach_could_not_be_checked() -> None:
    facts = {"python": {"value": FACTS["python"]}}
    states = {check: state for check, state, _ in judge(WANTED, facts, None)}
    assert states.pop("python") is State.ok
    assert set(states.values()) == {State.unknown}


def test_a_fake_gpu_needs_no_cuda_but_the_right_type() -> None:
    wanted = replace(WANTED, tier=replace(GPU, device="fake-h100"))
    no_cuda = {"version": "2.6.0+cpu", "cuda": False, "names": []}
    assert problems(wanted, torch=no_cuda) == {}
    wrong = replace(WANTED, tier=replace(GPU, device="fake-h200"))
    assert problems(wrong, torch=no_cuda) == {"gpu": "h100; should be h200"}


def test_cores_alone_need_no_gpu() -> None:
    wanted = replace(WANTED, tier=Tier("cpu-4", threads=4))
    found = verdicts(wanted, gpus={"visible": None, "listing": "no nvidia-smi"})
    assert {"gpu", "visible", "cuda"}.isdisjoint(found)
    assert {state for state, _ in found.values()} == {State.ok}


def test_where_all_gpus_of_a_node_are_listed_the_jobs_own_counts() -> None:
    listing = "GPU 0: NVIDIA A40 (UUID: G0)\nGPU 1: NVIDIA H100 PCIe (UUID: G1)\n"
    assert problems(gpus={"visible": "1", "listing": listing}) == {}
    assert "gpu" in problems(gpus={"visible": "0", "listing": listing})


def test_only_an_online_tracker_misses_the_internet() -> None:
    offline = verdicts(internet="timed out")
    assert offline["internet"][0] is State.note
    online = replace(WANTED, tracker=Tracker("wandb", "online"))
    assert "timed out" in problems(online, internet="timed out")["internet"]
    files = replace(WANTED, tracker=Tracker("files"))
    assert "key" not in verdicts(files, key=False)


@pytest.mark.parametrize(
    ("asked", "found", "state", "words"),
    [
        ("auto", "", State.ok, "bubblewrap works"),
        ("auto", "there is no bwrap", State.note, "no bwrap; results would be unprotected"),
        ("bubblewrap", "there is no bwrap", State.problem, "there is no bwrap"),
        ("none", "", State.note, "bubblewrap would work, but cluster.sandbox=none"),
        ("none", "there is no bwrap", State.note, "cluster.sandbox=none: results will be unpro"),
    ],
)
def test_a_sandbox_is_judged_by_what_was_asked(
    asked: str, found: str, state: State, words: str
) -> None:
    judged = verdicts(replace(WANTED, sandbox=asked), sandbox=found)["sandbox"]
    assert judged[0] is state
    assert words in judged[1]


def test_files_that_take_long_are_a_matter_of_a_setting() -> None:
    assert "7.0 s until seen here" in problems(delay=7.0)["delay"]
    assert problems(replace(WANTED, file_seconds=10), delay=7.0) == {}


def test_a_clock_that_is_ahead_makes_no_delay() -> None:
    ahead = {"before": 130.0, "after": 130.0, "stamp": 100.0}
    found = verdicts(delay=-29.5, clock=ahead)
    assert found["clock"] == (State.problem, "node +30.0 s from here, +30.0 s from the file server")
    assert found["delay"] == (State.ok, "0.5 s until seen here")


def test_the_login_nodes_clock_may_be_the_wrong_one() -> None:
    found = problems(replace(WANTED, login_offset=-60.0), delay=-59.9)
    assert found == {"clock": "node +60.0 s from here, +0.0 s from the file server"}


def test_a_clocks_offset_is_known_to_the_time_a_write_takes() -> None:
    assert offset(before=10, after=14, stamp=12) == 0
    assert offset(before=10, after=14, stamp=9.99) == 0
    assert offset(before=10, after=14, stamp=4) == 6
    assert offset(before=10, after=14, stamp=20) == -6
