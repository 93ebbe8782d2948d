"""What every test shares: which run by default, in which process, and how Hypothesis searches."""

import signal
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling, Scheduling

# No deadline: a test's speed is a matter for scripts/bench, and a busy machine is no fault.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

SLURM = "tests/slurm/"
FAULTS = "faults on a real Slurm"  # a property of a test: lines of the fault matrix


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


class OneSlurm(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """For `--dist=loadfile`: a worker takes whole files, and tests/slurm as if it were one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return SLURM if file.startswith(SLURM) else file


@pytest.hookimpl(optionalhook=True)  # there is none with `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # it puts files of few tests last, and they are slow
    return OneSlurm(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A worker that takes all of tests/slurm begins with it, else the others would wait for it."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(SLURM))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The fault matrix: what was done to a campaign on Slurm, and what became of it.

    Its rows come with the reports of tests, for those may have run in another process.
    """
    reports = [report for some in terminalreporter.stats.values() for report in some]
    ends = [r for r in reports if isinstance(r, pytest.TestReport) and r.when == "teardown"]
    lines = [line for end in ends for name, line in end.user_properties if name == FAULTS]
    if lines:
        terminalreporter.section(FAULTS)
        for line in dict.fromkeys(lines):  # the heading once
            terminalreporter.write_line(str(line))


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
