"""What every test shares: which tests run by default, and how Hypothesis searches."""

import signal
from pathlib import Path

import hypothesis
import pytest

# No deadline: a test's speed is a matter for scripts/bench, and a busy machine is no fault.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run tests that take minutes")
    parser.addoption("--slurm", action="store_true", help="also run tests that need a real Slurm")


def pytest_configure() -> None:
    """Give the processes that tests start the signals of a terminal's.

    Under nohup, or in the background of a script, these are ignored, and what is ignored is
    inherited; a handler is not, so one that does nothing keeps us as immune and them as they are.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip rather than deselect: what did not run is counted in the closing line, with its cure.

    Raised here, all tests with one reason make one line of pytest's summary.
    """
    if item.get_closest_marker("slow") and not item.config.getoption("--full"):
        pytest.skip("takes minutes: ./scripts/test --full")
    if item.get_closest_marker("slurm") and not item.config.getoption("--slurm"):
        pytest.skip("needs a real Slurm: ./scripts/test --slurm")
    if item.get_closest_marker("gpu") and not Path("/dev/nvidiactl").exists():
        pytest.skip("needs a CUDA device, and this machine has none")
