"""Pilots as local processes: real ones, that outlive whoever started them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standins import freeze_stand_in

from autoresearch.cluster.environment import scrubbed
from autoresearch.cluster.interface import Phase
from autoresearch.cluster.local import LocalCluster, is_mentioned
from autoresearch.cluster.table import connect
from autoresearch.errors import ConfigError
from autoresearch.layout import Layout
from autoresearch.process import Identity
from autoresearch.settings import Cluster, Tier

OPENED: list[LocalCluster] = []


def open_cluster(layout: Layout, tiers: dict[str, Tier]) -> LocalCluster:
    """A cluster whose pilots are waited for when the test ends."""
    OPENED.append(LocalCluster(layout, Cluster("local", tiers)))
    return OPENED[-1]


def gone(cluster: LocalCluster, *names: str) -> set[str]:
    """Which of these pilots the cluster takes for gone."""
    seen = cluster.look({name: {} for name in names})
    return {name for name, sighting in seen.items() if sighting.phase is Phase.gone}


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A campaign whose frozen node code is a stand-in for the pilot: it names itself and waits."""
    layout = Layout(tmp_path)
    freeze_stand_in(layout)
    yield layout
    layout.drain.touch()
    wait_for(lambda: all(job.done() for cluster in OPENED for job in cluster.started))
    OPENED.clear()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_pilots_start_are_seen_and_are_seen_to_be_gone(layout: Layout) -> None:
    cluster = open_cluster(layout, {"screen": Tier("cpu-1", pilots=2)})
    jobs = cluster.submit("screen", ["a", "b"])
    assert not gone(cluster, *jobs)  # also before they have said who they are
    wait_for(lambda: layout.pilot("a").exists() and layout.pilot("b").exists())
    assert not gone(cluster, *jobs)
    os.kill(json.loads(layout.pilot("a").read_text(encoding="utf-8"))["pid"], signal.SIGKILL)
    wait_for(lambda: gone(cluster, *jobs) == {"a"})
    layout.drain.touch()
    wait_for(lambda: gone(cluster, *jobs) == {"a", "b"})


def test_another_controller_sees_the_same_pilots(layout: Layout) -> None:
    tiers = {"screen": Tier("cpu-1", pilots=1)}
    jobs = open_cluster(layout, tiers).submit("screen", ["a"])
    fresh = open_cluster(layout, tiers)
    assert not gone(fresh, *jobs)
    assert not gone(fresh, "a")  # its job was never recorded: found by name all the same
    assert gone(fresh, "never") == {"never"}
    wait_for(lambda: layout.pilot("a").exists())
    layout.drain.touch()
    wait_for(lambda: gone(fresh, *jobs) == {"a"})


def test_cancelling_ends_pilots(layout: Layout) -> None:
    cluster = open_cluster(layout, {"screen": Tier("cpu-1", pilots=1)})
    jobs = cluster.submit("screen", ["a"])
    wait_for(lambda: layout.pilot("a").exists())
    cluster.cancel(jobs)
    wait_for(lambda: gone(cluster, *jobs) == {"a"})


OUTLIVED = """
import signal, sys
from pathlib import Path
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)  # who started us may have had it ignored
from autoresearch.cluster.interface import Phase
from autoresearch.cluster.local import LocalCluster
from autoresearch.layout import Layout
from autoresearch.settings import Cluster, Tier
settings = Cluster("local", {"screen": Tier("cpu-1", pilots=1)})
LocalCluster(Layout(Path(sys.argv[1])), settings).submit("screen", ["a"])
print("submitted", flush=True)
input()
"""


OUTLIVABLE = [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL]


@pytest.mark.parametrize("number", OUTLIVABLE)
def test_pilots_outlive_their_controller(layout: Layout, number: signal.Signals) -> None:
    """The signal goes to the whole process group, as a terminal's or `timeout`'s does."""
    controller = subprocess.Popen(
        [sys.executable, "-c", OUTLIVED, str(layout.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert controller.stdin is not None
    assert controller.stdout is not None
    controller.stdout.readline()
    wait_for(lambda: layout.pilot("a").exists())
    os.killpg(controller.pid, number)
    controller.wait()
    controller.stdin.close()
    controller.stdout.close()
    record = json.loads(layout.pilot("a").read_text(encoding="utf-8"))
    pilot = Identity(**{key: record[key] for key in Identity.__dataclass_fields__})
    time.sleep(0.5)
    assert pilot.is_alive
    assert os.getsid(pilot.pid) not in (controller.pid, os.getsid(0))
    job = open_cluster(layout, {"screen": Tier("cpu-1", pilots=1)})
    assert not gone(job, "a")
    job.cancel({"a": {}})
    wait_for(lambda: not pilot.is_alive)


def test_secrets_and_an_outer_jobs_variables_stay_home(tmp_path: Path) -> None:
    variables = {
        "ANTHROPIC_API_KEY": "x",
        "WANDB_API_KEY": "x",
        "GITHUB_TOKEN": "x",
        "MY_PASSWORD": "x",
        "OPENAI_KEY": "x",
        "AWS_ACCESS_KEY_ID": "x",
        "GITHUB_PAT": "x",
        "SSH_PRIVATE_KEY": "x",
        "SSH_AUTH_SOCK": "x",
        "PGPASS": "x",
        "MYSQL_PWD": "x",
        "session_cookie": "x",
        "DATABASE_URL": "postgres://me:pw@host/db",
        "OTHER_URL": "postgres://me:p/w@host/db",
        "LDAP_PW": "x",
        "AWS_CREDS": "x",
        "HF_JWT": "x",
        "SENTRY_DSN": "x",
        "SLACK_WEBHOOK_URL": "x",
        "INDEX": "https://glpat-abc@host/simple",
        "ANTHROPIC_CUSTOM_HEADERS": "x-api-key: sk-ant-abc",
        "CONNECTION": "Server=db;Password=x",
        "BEARING": "ghp_abc",
        "REDIS": "redis://:pw@host",
        "SLURM_JOB_ID": "1",
        "SBATCH_PARTITION": "x",
        "PYTHONPATH": "/mine",
    }
    harmless = {
        "HOME": "/users/me",
        "PATH": "/bin",
        "PWD": "/tmp",
        "LD_LIBRARY_PATH": "/lib",
        "HTTP_PROXY": "http://proxy:8080",
        "GIT_REMOTE": "ssh://git@host:22/x",
    }
    kept = scrubbed(Layout(tmp_path), variables | harmless)
    assert kept == harmless | {
        "PYTHONPATH": str(tmp_path / "node"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.mark.parametrize("chosen", ["", "2,3,MIG-1a2b"])
def test_gpus_are_dealt_out_one_per_pilot(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    cluster = open_cluster(layout, {"gpu": Tier("h100", gpus=1, pilots=3)})
    jobs = cluster.submit("gpu", ["a", "b", "c"])
    wait_for(lambda: all(layout.pilot(name).exists() for name in jobs))
    seen = set()
    for name in jobs:
        pid = json.loads(layout.pilot(name).read_text(encoding="utf-8"))["pid"]
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        seen |= {v for v in environ if v.startswith(b"CUDA_VISIBLE_DEVICES=")}
    wanted = (chosen or "0,1,2").split(",")
    assert seen == {f"CUDA_VISIBLE_DEVICES={gpu}".encode() for gpu in wanted}


def test_an_unknown_kind_of_cluster_names_the_valid_ones(layout: Layout) -> None:
    with pytest.raises(ConfigError, match="local"):
        connect(layout, Cluster("lokal"))
    assert not is_mentioned(str(layout.root / "nobody knows this"))
