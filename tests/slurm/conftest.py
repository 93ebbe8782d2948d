"""One real Slurm for all tests that need one."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nights import HEADING, MATRIX
from testbeds import Testbed, TestbedError, script


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """A testbed for the session, in a short folder: Slurm puts sockets there."""
    directory = Path(tempfile.mkdtemp(prefix="tb-", dir="/tmp"))
    failure = ""
    try:
        yield Testbed.start(directory, install="TESTBED_INSTALL" in os.environ)
    except TestbedError as error:
        failure = str(error)
    finally:
        script({"TESTBED_DIR": str(directory)}, "down", "--wipe", check=False)
        shutil.rmtree(directory, ignore_errors=True)
    if failure:  # its line alone, without the way it came
        pytest.fail(failure, pytrace=False)


@pytest.fixture
def quiet_testbed(testbed: Testbed) -> Testbed:
    """The session's testbed: everything up and nothing queued, whatever happened before."""
    testbed.wait_idle()
    return testbed


@pytest.fixture(autouse=True)
def matrix(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Rows that a test adds to the fault matrix go into its report: see tests/conftest.py."""
    MATRIX.clear()
    yield
    if MATRIX:
        for line in (HEADING, *map(str, MATRIX)):
            record_property("faults on a real Slurm", line[:240])
