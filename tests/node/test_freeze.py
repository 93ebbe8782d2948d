"""The frozen copy: complete, working on its own, and identified by its content."""

import os
import subprocess
import sys
from pathlib import Path

from autoresearch import node
from autoresearch.node import freeze


def test_every_module_of_the_node_is_frozen() -> None:
    modules = {f"node/{path.name}" for path in (freeze.PACKAGE / "node").glob("*.py")}
    assert {name for name in node.FROZEN if name.startswith("node/")} == modules
    assert sorted(set(node.FROZEN)) == sorted(node.FROZEN)


def test_the_copy_is_what_runs_and_has_the_same_hash(tmp_path: Path) -> None:
    code = freeze.freeze(tmp_path)
    ask = (
        "from autoresearch.node import freeze, pilot, referee; "
        "print(freeze.PACKAGE, freeze.node_hash())"
    )
    asked = subprocess.run(
        (sys.executable, "-P", "-c", ask),
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.split() == [str(tmp_path / "autoresearch"), code]


def test_the_hash_follows_every_byte_and_every_name(tmp_path: Path) -> None:
    freeze.freeze(tmp_path)
    seen = {freeze.node_hash()}
    ask = "from autoresearch.node import freeze; print(freeze.node_hash())"
    for name in ("experiment.py", "node/scoring.py"):
        path = tmp_path / "autoresearch" / name
        path.write_text(path.read_text() + "\n")
        asked = subprocess.run(
            (sys.executable, "-P", "-c", ask),
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(asked.stdout.strip())
    assert len(seen) == 3


def test_the_logger_comes_along_but_decides_nothing(tmp_path: Path) -> None:
    code = freeze.freeze(tmp_path)
    assert (tmp_path / "autoresearch" / "tracking" / "logger.py").exists()
    assert not any(name.startswith("tracking") for name in node.FROZEN)
    assert code == freeze.node_hash()
