"""Tokens per second, and what share of a GPU's peak that is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.hardware import PEAK_FLOPS, gpu_type
from autoresearch.node.pace import Pace


def test_the_first_reading_says_nothing_the_next_what_was_between() -> None:
    pace = Pace("h100")
    assert pace.read(10.0, 1000, 50_000_000) == {}
    read = pace.read(12.0, 2_001_000, 50_000_000)
    assert read["tokens_per_second"] == pytest.approx(1e6)
    assert read["mfu"] == pytest.approx(6 * 5e7 * 1e6 / 989e12)


@pytest.mark.parametrize("device", ["cpu-4", "fake-h100", "a100-1g.5gb"])
def test_without_a_known_peak_there_is_no_utilisation(device: str) -> None:
    pace = Pace(device)
    pace.read(0.0, 0, 100)
    assert set(pace.read(1.0, 100, 100)) == {"tokens_per_second"}


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**12))))
def test_whatever_a_program_says_no_rate_is_negative(readings: list[tuple[float, int]]) -> None:
    pace = Pace("h200")
    for now, tokens in readings:
        assert all(value >= 0 for value in pace.read(now, tokens, 10).values())


@pytest.mark.parametrize(
    "name",
    ["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA L40S", "Tesla V100-SXM2-32GB"],
)
def test_peaks_are_filed_under_the_names_that_devices_go_by(name: str) -> None:
    assert gpu_type(name) in PEAK_FLOPS
