"""A child may print without end: both ends stay, in bounded time and memory."""

import pytest

from autoresearch.node.output import KEPT, Output


@pytest.mark.parametrize("piece", [1, 1000, 65536])
def test_long_output_keeps_its_two_ends(piece: int) -> None:
    output = Output()
    for _ in range(4 * KEPT // piece + 1):  # quadratic work would take minutes
        output.add(b"m" * piece)
    output.add(b"the end")
    first = Output()
    first.add(b"the beginning")
    assert first.text == "the beginning"
    assert output.text.endswith("the end")
    assert "bytes left out" in output.text
    assert len(output.text) < 3 * KEPT
