"""Real pilots: claims that only one can win, and every way a pilot or its referee can end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nodes import PROGRAM, Campaign, wait_until

from autoresearch.experiment import Attempt, Failure
from autoresearch.layout import link_once
from autoresearch.node import kernel
from autoresearch.process import Identity
from autoresearch.settings import Pilot

HANGS = PROGRAM.replace("    run.ready()\n", "    import time; time.sleep(600)\n")

# Ends with an error, but not before there is a file.
WAITS = """
import pathlib, time
while not pathlib.Path({!r}).exists():
    time.sleep(0.01)
1 / 0
"""

# Reports where it is and leaves a daemon of its own session behind, as fast as it can.
LEAVES_A_DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""

RACER = """
import json, sys, time
from pathlib import Path
from autoresearch.layout import link_once
folder, name = Path(sys.argv[1]), sys.argv[2]
(folder / f"ready-{name}").touch()
while not (folder / "go").exists():
    time.sleep(0.0005)
print(json.dumps([k for k in range(200) if link_once(folder / f"claim-{k}", name * 1000, name)]))
"""


@pytest.fixture
def pilots(campaign: Campaign) -> Iterator[list["subprocess.Popen[str]"]]:
    """Pilots a test has started; none is left afterwards."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for pilot in started:
        pilot.kill()
        pilot.communicate()


def below(pilot: "subprocess.Popen[str]") -> list[Identity]:
    """Every descendant of a pilot that lives now."""
    return [who for pid in kernel.tree(pilot.pid) if (who := Identity.of(pid))]


def child_of(pid: int) -> int:
    return next(child for child, parent in kernel.parents().items() if parent == pid)


def running_program(campaign: Campaign, attempt: Attempt, pilot: "subprocess.Popen[str]") -> None:
    """Wait until an attempt is claimed and its harnesses have been started."""
    wait_until(campaign.layout.claim(attempt).exists)
    wait_until(lambda: len(below(pilot)) >= 4)


# ---- claims --------------------------------------------------------------------------------------


def test_of_many_processes_exactly_one_wins_each_claim(tmp_path: Path) -> None:
    names = [f"racer{k}" for k in range(6)]
    command = (sys.executable, "-c", RACER, str(tmp_path))
    racers = [subprocess.Popen((*command, n), stdout=subprocess.PIPE, text=True) for n in names]
    wait_until(lambda: all((tmp_path / f"ready-{name}").exists() for name in names))
    (tmp_path / "go").touch()
    won = {n: json.loads(r.communicate(timeout=60)[0]) for n, r in zip(names, racers, strict=True)}
    assert sorted(k for claims in won.values() for k in claims) == list(range(200))
    for name, claims in won.items():
        assert all((tmp_path / f"claim-{k}").read_text() == name * 1000 for k in claims)
    assert not list(tmp_path.glob(".claim*"))


def test_a_claim_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    assert link_once(path, "mine", "a")
    assert not link_once(path, "yours", "b")
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["claim"]


def test_a_duplicate_entry_is_dropped_and_the_next_one_run(campaign: Campaign) -> None:
    taken, other = campaign.queue("taken"), campaign.queue("1 +")
    campaign.layout.attempt(taken).mkdir()
    campaign.layout.claim(taken).write_text("another pilot's")
    campaign.run()
    assert campaign.layout.claim(taken).read_text() == "another pilot's"
    assert not campaign.layout.result(taken).exists()
    assert campaign.result(other).failure is Failure.crashed
    assert os.listdir(campaign.layout.queue("screen")) == []


def test_an_entry_without_its_experiment_is_left_alone(campaign: Campaign) -> None:
    campaign.layout.queue_entry("screen", 0, Attempt("nothing", 1)).touch()
    other = campaign.queue("1 +")
    assert campaign.run() == ""
    assert campaign.result(other).failure is Failure.crashed


# ---- a pilot's life ------------------------------------------------------------------------------


def test_a_pilot_says_who_it_is_and_in_what_order_it_claims(campaign: Campaign) -> None:
    attempts = [campaign.queue(f"{k} +") for k in range(2)]
    campaign.run("night-1")
    record = json.loads(campaign.layout.pilot("night-1").read_text())
    assert record["pilot"] == "night-1"
    assert record["tier"] == "screen"
    identity = Identity(**{k: record[k] for k in Identity.__dataclass_fields__})
    assert identity.is_here
    assert not identity.is_alive
    claims = [json.loads(campaign.layout.claim(a).read_text()) for a in attempts]
    assert all(claim["pid"] == identity.pid for claim in claims)
    assert claims[0]["claimed"] < claims[1]["claimed"]
    result = campaign.result(attempts[0])
    assert (result.pilot, result.started) == ("night-1", claims[0]["claimed"])
    assert 0 < result.seconds.queue < 60


@pytest.mark.parametrize("limit", ["drain", "experiments", "life"])
def test_a_pilot_claims_no_more_than_it_may(campaign: Campaign, limit: str) -> None:
    first, second = campaign.queue("1 +"), campaign.queue("2 +")
    if limit == "drain":
        campaign.layout.drain.touch()
    elif limit == "life":
        campaign.life = 1e-6
    else:
        campaign.pilot = replace(campaign.pilot, experiments=1)
        campaign.write_settings()
    assert campaign.run() == ""
    assert campaign.layout.result(first).exists() == (limit == "experiments")
    assert not campaign.layout.claim(second).exists()


def test_near_its_end_a_pilot_claims_nothing_that_would_outlast_it(
    campaign: Campaign, pilots: list["subprocess.Popen[str]"], tmp_path: Path
) -> None:
    """An attempt lasts until it has taken longer than what is left of the pilot's life, which is
    four times what a pilot with one attempt takes on this machine now."""
    began = time.monotonic()
    campaign.queue("1 +")
    campaign.run("first")
    campaign.life = 4 * (time.monotonic() - began)
    go = tmp_path / "go"
    held = WAITS.format(str(go))
    quick, long, late = (campaign.queue(program) for program in ("2 +", held, "3 +"))
    pilots.append(pilot := campaign.start("second"))
    wait_until(campaign.layout.claim(long).exists, campaign.life)
    started = json.loads(campaign.layout.pilot("second").read_text())["started"]
    claimed = json.loads(campaign.layout.claim(long).read_text())["claimed"]
    wait_until(lambda: time.time() - claimed > started + campaign.life - time.time(), campaign.life)
    go.touch()
    assert pilot.communicate(timeout=300)[1] == ""
    assert [campaign.layout.result(a).exists() for a in (quick, long, late)] == [True, True, False]
    assert not campaign.layout.claim(late).exists()
    assert json.loads(campaign.layout.pilot("second").read_text())["claimed"] == 2


def test_a_pilot_says_when_it_goes_home_and_has_one_life(campaign: Campaign) -> None:
    campaign.queue("1 +")
    campaign.run("once")
    record = json.loads(campaign.layout.pilot("once").read_text())
    assert record["started"] < record["ended"] <= time.time()
    second = campaign.queue("2 +")
    assert campaign.run("once") == ""
    assert not campaign.layout.claim(second).exists()
    assert json.loads(campaign.layout.pilot("once").read_text()) == record


def test_what_a_killed_pilot_leaves_on_the_node_goes_with_the_next(
    campaign: Campaign, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    node.mkdir()
    campaign.environment = {"TMPDIR": str(node)}
    attempt = campaign.queue(HANGS)
    pilot = campaign.start("killed")
    running_program(campaign, attempt, pilot)
    pilot.kill()
    pilot.communicate()
    assert list(node.iterdir())
    campaign.queue("1 +", number=2)
    campaign.run("next")
    assert not list(node.glob("autoresearch-pilot-*"))


def test_an_idle_pilot_waits_for_work_and_then_goes_home(campaign: Campaign) -> None:
    campaign.pilot = Pilot(idle_seconds=2.0, poll_seconds=0.05)
    campaign.write_settings()
    pilot = campaign.start()
    wait_until(campaign.layout.pilot("p1").exists)
    time.sleep(1.0)
    attempt = campaign.queue("1 +")
    assert pilot.communicate(timeout=120)[1] == ""
    assert pilot.returncode == 0
    assert campaign.result(attempt).failure is Failure.crashed


def test_a_pilot_that_cannot_work_says_why_in_one_line(campaign: Campaign) -> None:
    campaign.layout.node_settings.unlink()
    pilot = campaign.start()
    printed = pilot.communicate(timeout=60)[1]
    assert pilot.returncode == 1
    assert printed.startswith("pilot: ")
    assert printed.count("\n") == 1
    assert "settings.json" in printed


# ---- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_pilot_that_is_told_to_end_leaves_a_preempted_attempt(
    campaign: Campaign, pilots: list["subprocess.Popen[str]"], told: signal.Signals
) -> None:
    attempt, waiting = campaign.queue(HANGS), campaign.queue()
    pilots.append(pilot := campaign.start())
    running_program(campaign, attempt, pilot)
    family = below(pilot)
    pilot.send_signal(told)
    assert pilot.communicate(timeout=60)[1] == ""
    assert pilot.returncode == 0
    result = campaign.result(attempt)
    assert (result.failure, result.reason) == (Failure.preempted, "the pilot was told to end")
    assert not campaign.layout.claim(waiting).exists()
    assert not any(who.is_alive for who in family)


def test_an_idle_pilot_ends_at_once_when_told(
    campaign: Campaign, pilots: list["subprocess.Popen[str]"]
) -> None:
    campaign.pilot = Pilot(idle_seconds=600, poll_seconds=60)
    campaign.write_settings()
    pilots.append(pilot := campaign.start())
    wait_until(campaign.layout.pilot("p1").exists)
    time.sleep(1.0)
    pilot.terminate()
    assert pilot.wait(timeout=20) == 0


def test_a_killed_referee_costs_its_attempt_and_the_pilot_goes_on(
    campaign: Campaign, pilots: list["subprocess.Popen[str]"]
) -> None:
    lost, next_ = campaign.queue(LEAVES_A_DAEMON), campaign.queue("1 +")
    pilots.append(pilot := campaign.start())
    running_program(campaign, lost, pilot)
    wait_until(lambda: len(below(pilot)) >= 7)  # three harnesses and their daemons
    family = below(pilot)
    os.kill(child_of(pilot.pid), signal.SIGKILL)
    pilot.communicate(timeout=60)
    result = campaign.result(lost)
    assert result.failure is Failure.node_failed
    assert result.reason == "the referee was killed by signal 9"
    assert result.seconds.setup > 0
    assert campaign.result(next_).failure is Failure.crashed
    assert not any(who.is_alive for who in family)


def test_a_killed_pilot_leaves_nothing_behind_and_nothing_written(
    campaign: Campaign, pilots: list["subprocess.Popen[str]"]
) -> None:
    attempt = campaign.queue(LEAVES_A_DAEMON)
    pilots.append(pilot := campaign.start())
    running_program(campaign, attempt, pilot)
    wait_until(lambda: len(below(pilot)) >= 7)
    family = below(pilot)
    pilot.kill()
    pilot.wait()
    wait_until(lambda: not any(who.is_alive for who in family), seconds=20)
    assert not campaign.layout.result(attempt).exists()  # others may have given it up already


def test_a_referee_that_never_comes_up_ends_the_pilot_without_a_claim(campaign: Campaign) -> None:
    attempt = campaign.queue()
    referee = campaign.layout.node / "autoresearch" / "node" / "referee.py"
    referee.write_text("raise SystemExit(7)\n")
    pilot = campaign.start()
    printed = pilot.communicate(timeout=60)[1]
    assert pilot.returncode == 1
    assert printed == "pilot: the referee ended with exit code 7, 3 times in a row\n"
    assert not campaign.layout.claim(attempt).exists()


def test_a_disk_that_takes_nothing_ends_the_pilot_in_one_line(campaign: Campaign) -> None:
    attempt = campaign.queue()
    pilot = campaign.start(prefix=("sh", "-c", 'ulimit -f 0; exec "$@"', "sh"))
    printed = pilot.communicate(timeout=60)[1]
    assert pilot.returncode == 1
    assert printed.startswith("pilot: ")
    assert printed.count("\n") == 1
    assert not campaign.layout.claim(attempt).exists()
