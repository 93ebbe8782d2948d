"""Whatever ends a program has a name, and a line of train.py where it has one."""

from pathlib import Path

import pytest

from autoresearch.experiment import Failure
from autoresearch.node import harness
from autoresearch.node.explain import explain


def explained(tmp_path: Path, program: str) -> tuple[Failure, str]:
    """How a train.py that cannot even be imported is explained."""
    path = tmp_path / "train.py"
    try:
        path.write_text(program, encoding="utf-8")
        harness.load(path)
    except (ArithmeticError, SyntaxError, MemoryError, RuntimeError, ImportError) as error:
        return explain(error, error.__traceback__, path)
    pytest.fail("should have raised")


@pytest.mark.parametrize(
    ("program", "failure", "reason"),
    [
        ("x = 1\ny = (", Failure.crashed, "train.py line 2: SyntaxError"),
        ("\n\n1 / 0", Failure.crashed, "train.py line 3: ZeroDivisionError: division by zero"),
        ("def f():\n    1 / 0\nf()", Failure.crashed, "train.py line 2: Zero"),
        ("import json\nimport jsno", Failure.crashed, "line 2: ModuleNotFoundError: No module"),
        ("raise RuntimeError('a\\nb')", Failure.crashed, "train.py line 1: RuntimeError: a"),
        ("raise MemoryError", Failure.out_of_memory, "MemoryError"),
        ("import torch\ntorch.empty(1 << 60)", Failure.out_of_memory, "allocate"),
        ("import torch\nraise torch.OutOfMemoryError('CUDA')", Failure.out_of_memory, "CUDA"),
        ("raise FloatingPointError('overflow')", Failure.diverged, "overflow"),
    ],
)
def test_what_a_program_raises_is_named_in_one_line(
    tmp_path: Path, program: str, failure: Failure, reason: str
) -> None:
    found, text_ = explained(tmp_path, program)
    assert found is failure
    assert reason in text_
    assert "\n" not in text_
