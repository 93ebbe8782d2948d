import os
import subprocess
import sys

import pytest

from autoresearch.process import Identity


def test_a_process_knows_itself_to_be_alive() -> None:
    assert Identity.mine() == Identity.of(os.getpid())
    assert Identity.mine().is_alive


def test_an_ended_process_is_not_alive_even_as_a_zombie() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = Identity.of(child.pid)
    assert identity is not None
    assert identity.is_alive
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet reaped: a zombie
    states = [identity.is_alive]
    child.wait()
    assert [*states, identity.is_alive] == [False, False]


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot": "other"}, {"host": "elsewhere"}])
def test_the_same_pid_elsewhere_or_at_another_time_is_another_process(
    change: dict[str, str | int],
) -> None:
    mine = Identity.mine()
    fields = {"host": mine.host, "pid": mine.pid, "start_ticks": mine.start_ticks}
    other = Identity(**{**fields, "boot": mine.boot, **change})  # type: ignore[arg-type]
    assert not other.is_alive


def test_no_process_has_no_identity() -> None:
    assert Identity.of(2**22 + 1) is None
