"""The figures of the Slurm side, each in a quick mode: they measure what they say they do.

Whether a figure keeps its bound is for a quiet machine to say, so the exit code may be 0 or 1.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "scripts" / "bench" / "slurm"
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.usefixtures("testbed"),  # they have their own, but it may install Slurm first
]


def quick(name: str, folder: Path) -> dict[str, float]:
    """The figures of a script, by name."""
    file = folder / f"{name}.json"
    command = [sys.executable, str(BENCH / f"{name}.py"), "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert file.exists(), done.stderr
    record = json.loads(file.read_text())
    assert set(record) == {"title", "machine", "figures"}
    assert {"processor", "cores", "load", "slurm"} <= set(record["machine"])
    assert all(
        row.keys() >= {"what", "value", "unit", "bound", "kept"} for row in record["figures"]
    )
    return {row["what"]: row["value"] for row in record["figures"]}


def test_idle_time_is_accounted_for_everybody_alike(tmp_path: Path) -> None:
    found = quick("idle", tmp_path)
    assert found["experiments"] == 10
    assert found["GPUs"] == 4
    assert 0 <= found["idle between two experiments, median"] <= found["... longest"]
    assert found["claim to result, mean"] > found["a nap, mean"] > 0
    for who in ("ours", "waves of submitit", "hydra-submitit"):
        idle, asleep = found[f"{who}: GPU time idle"], found[f"{who}: GPU time in naps"]
        assert 0 <= idle < 100
        assert 0 < asleep < 100 - idle
    for who in ("waves of submitit", "hydra-submitit"):
        assert found[f"{who} over ours, of GPU time idle"] > 0


def test_calls_are_real_starts_of_slurms_commands(tmp_path: Path) -> None:
    found = quick("calls", tmp_path)
    assert found["ours, at the start"] > 0
    for size in (20, 200):
        assert 0 < found[f"ours, {size} experiments"] < found[f"a squeue per job, {size}"]
        assert found[f"submitit's watcher, {size}"] > 0
    assert found["a squeue per job, 200"] > 2 * found["a squeue per job, 20"]


def test_a_wave_is_timed_in_its_pieces(tmp_path: Path) -> None:
    found = quick("submit", tmp_path)
    for count in ("13", "1,000"):
        assert found[f"ours: a wave of {count} experiments"] > 0
        assert found[f"submitit map_array of {count}"] > 0
    pieces = [found[f"... {name}"] for name in ("propose", "freeze", "queue", "journal", "sbatch")]
    assert sum(pieces) == pytest.approx(found["ours: a wave of 1,000 experiments"])


def test_a_controllers_children_are_seen(tmp_path: Path) -> None:
    found = quick("controller", tmp_path)
    assert found["planners"] > 0
    assert found["processor time of planners"] > 0
    assert found["Slurm calls"] > 0
    assert found["experiments finished"] > 0
    alone = found["memory of the controller alone, peak"]
    assert 10 < alone < found["memory with all children, peak"]
