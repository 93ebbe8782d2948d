"""What Slurm prints, read: answers of real forms, and rubbish."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import PARTS, answers, recorded

from autoresearch.cluster import site_text, survey
from autoresearch.cluster.commands import NoAnswer
from autoresearch.cluster.reasons import clock
from autoresearch.cluster.site import Association, Node, Partition, Qos, Site
from autoresearch.cluster.survey import Answers, read_site, site_of
from autoresearch.errors import ClusterError

# ---- single values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1-00:00:00", 1440),
        ("7-12", 10800),
        ("2-12:30", 3630),
        ("00:10:00", 10),
        ("36:00:00", 2160),
        ("30:00", 30),
        ("00:59", 0),
        ("45", 45),
        ("UNLIMITED", None),
        ("INFINITE", None),
        ("NONE", None),
        ("(null)", None),
        ("", None),
        ("soon", None),
    ],
)
def test_times(text: str, found: int | None) -> None:
    assert site_text.minutes(text) == found


@given(st.integers(min_value=0, max_value=10**7))
def test_a_time_is_read_as_it_is_written(minutes: int) -> None:
    assert site_text.minutes(clock(minutes)) == minutes


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [("256000", 256000), ("256000+", 256000), ("500G", 512000), ("1.50T", 1572864), ("2048K", 2)],
)
def test_memory(text: str, megabytes: int) -> None:
    assert site_text.megabytes(text) == megabytes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(null)", {}),
        ("", {}),
        ("gpu:4", {"": 4}),
        ("gpu", {"": 1}),
        ("gpu:h100:4(S:0-1)", {"h100": 4}),
        ("gpu:h100:4(S:0,1),mps:400", {"h100": 4}),
        ("gpu:h100:2(S:0),gpu:h100:2(S:1)", {"h100": 4}),
        ("gpu:a100_1g.5gb:7,gpu:a100_3g.20gb:2(S:0-1)", {"a100_1g.5gb": 7, "a100_3g.20gb": 2}),
        ("gpu:h100:no_consume:4", {"h100": 4}),
        ("gres:gpu:v100:8", {"v100": 8}),
        ("gpu:a100:4(IDX:0-3)", {"a100": 4}),
        ("gpu:tesla", {"tesla": 1}),
        ("gpu:h100:0", {}),
        ("shard:16,nic:2", {}),
    ],
)
def test_gpus_of_a_node(text: str, found: dict[str, int]) -> None:
    assert site_text.gpus(text) == found


TYPES = st.from_regex(r"[a-z][a-z0-9_.-]{0,12}", fullmatch=True).filter(
    lambda name: name not in ("gres", "no_consume") and site_text.number(name) is None
)


@given(st.dictionaries(st.one_of(st.just(""), TYPES), st.integers(1, 64)))
def test_gpus_are_read_as_they_are_written(gpus: dict[str, int]) -> None:
    parts = (f"gpu:{kind}:{n}(S:0-1)" if kind else f"gpu:{n}" for kind, n in gpus.items())
    assert site_text.gpus(",".join(["mps:1", *parts])) == gpus


def test_amounts_and_weights() -> None:
    amounts = "cpu=64,gres/gpu=6,gres/gpu:H100=2,mem=1T,node=N,energy"
    found = {"cpu": 64, "gres/gpu": 6, "gres/gpu:h100": 2, "mem": 1048576}
    assert site_text.tres(amounts) == found
    weights = site_text.weights("CPU=1.0,Mem=0.25G,GRES/gpu=16,GRES/gpu:h100=x")
    assert weights == {"cpu": 1.0, "mem": 0.25 / 1024, "gres/gpu": 16.0}
    assert site_text.weights("Mem=0.5") == {"mem": 0.5}


TEXT = st.text() | st.text(alphabet="abgpu:=,|()-0123456789.KMG \n(null)", max_size=80)


@given(TEXT)
def test_no_text_is_too_odd_for_a_value(text: str) -> None:
    for read in (site_text.seconds, site_text.whole, site_text.megabytes, site_text.names):
        read(text)
    for read_many in (site_text.tres, site_text.weights, site_text.gpus, site_text.settings):
        assert isinstance(read_many(text), dict)


@given(st.lists(TEXT, min_size=8, max_size=8), st.sampled_from(PARTS), TEXT)
def test_no_answer_is_too_odd_for_a_site(texts: list[str], part: str, extra: str) -> None:
    assert isinstance(site_of(Answers(*texts), "ada"), Site)
    real = answers("campus")
    real[part] = real[part][: len(real[part]) // 2] + extra
    assert isinstance(site_of(Answers(**real), "ada"), Site)


# ---- whole answers -------------------------------------------------------------------------------


def test_a_testbed_is_read() -> None:
    site = recorded("testbed")
    assert (site.name, site.version, site.max_array) == ("testbed", "22.05.8", 1001)
    assert (site.preempts_by, site.has_limits, site.accounting) == ("partition_prio", True, True)
    assert [p.name for p in site.partitions] == ["cpu", "h100", "h200", "scavenge"]
    cpu, h100, _, scavenge = site.partitions
    assert (cpu.is_default, cpu.max_minutes, cpu.default_minutes, cpu.gpus) == (True, None, 10, {})
    assert (h100.max_minutes, h100.gpus, h100.cpus_per_node) == (1440, {"h100": 8}, 64)
    assert h100.memory_mb_per_node == 256000
    assert scavenge.gpus == {"h100": 8, "h200": 8}
    assert (scavenge.preempt_mode, scavenge.priority_tier) == ("REQUEUE", 1)
    assert scavenge.grace_seconds == 20
    assert scavenge.weights == {"cpu": 0.0, "gres/gpu": 0.5}
    assert site.accounts == ("lab", "astro", "root")


def test_a_testbeds_accounts_are_read() -> None:
    site = recorded("testbed")
    lab = site.association("lab")
    assert lab == Association(
        account="lab",
        user="root",
        qos=("low", "normal", "short"),
        default_qos="normal",
        max_jobs=50,
        max_submit=200,
    )
    assert site.qos["short"] == Qos(
        name="short",
        priority=10,
        preempts=("low",),
        preempt_mode="cluster",
        grace_seconds=60,
        flags=("DenyOnLimit",),
        usage_factor=0.5,
        max_minutes=1440,
        max_tres_per_user={"gres/gpu": 4, "mem": 512000},
        max_jobs_per_user=3,
        max_submit_per_user=20,
    )


def test_records_of_many_lines_are_read_like_those_of_one() -> None:
    site = recorded("campus")
    assert len(site.partitions) == 9
    gpu = site.partition("gpu")
    assert gpu is not None
    assert (gpu.qos, gpu.allow_qos) == ("gpu_part", ("gpu", "gpu-long"))
    assert gpu.gpus == {"nvidia_a100-sxm4-80gb": 20, "h100": 8}  # not the drained node's four
    assert gpu.weights["gres/gpu:h100"] == 64
    bio = site.partition("bio")
    assert bio is not None
    assert bio.allow_accounts == ("bio", "bio-old")


def test_a_column_that_is_not_known_changes_nothing_and_one_that_is_missing_is_no_limit() -> None:
    row = survey.qos_of(site_text.table("Name|New Thing|MaxJobsPU\ngpu|x|4\n")[0])
    assert row == Qos(name="gpu", max_jobs_per_user=4)
    assert survey.qos_of(site_text.table("Name|MaxJobsPU\ngpu\n")[0]) == Qos(name="gpu")
    trailing = site_text.table("Name|MaxJobsPU|\ngpu|4|\n")[0]  # sacctmgr -p
    assert survey.qos_of(trailing).max_jobs_per_user == 4


def test_a_partition_of_an_older_slurm() -> None:
    record = site_text.records(
        "PartitionName=old\n   AllowQos=ALL MaxTime=INFINITE\n", "PartitionName"
    )
    assert survey.partition_of(record[0], [Node("n1", "old"), Node("n2", "new")]) == Partition(
        "old", nodes=(Node("n1", "old"),), priority_tier=0
    )


# ---- whose limits --------------------------------------------------------------------------------


def test_the_qos_of_a_job_that_asks_for_none() -> None:
    site = Site(
        default_account="a",
        associations=(
            Association(account="a", user="ada", partition="p", qos=("x", "y")),
            Association(account="a", user="ada", qos=("b", "normal")),
            Association(account="d", user="ada", qos=("b", "c"), default_qos="c"),
        ),
    )
    assert site.qos_in_use("a") == "normal"
    assert site.qos_in_use("a", partition="p") == "x"
    assert site.qos_in_use("d") == "c"
    assert site.qos_in_use("d", "b") == "b"
    assert site.qos_in_use("nobody") == ""


def test_limits_that_are_not_enforced_are_nobodys() -> None:
    found = recorded("testbed")
    assert [name for name, _ in found.holders(qos="short")] == [
        "QOS short",
        "account lab",
        "account lab as a whole",
    ]
    lax = Site(enforced=("associations",), associations=found.associations, qos=found.qos)
    assert lax.holders("lab", "short") == []


# ---- asking --------------------------------------------------------------------------------------


class Slurm:
    """Answers as recorded, and counts the questions."""

    def __init__(self, silent: str = "", config: str = "") -> None:
        self.asked: list[tuple[str, ...]] = []
        self.silent = silent
        self.config = config

    def __call__(self, *command: str, patience: float = 0.0) -> str:
        self.asked.append(command)
        if command[0] == self.silent:
            raise NoAnswer(f"{command[0]} has not answered within 30 s")
        return answers("testbed")[self.part(command)] + self.config

    def part(self, command: tuple[str, ...]) -> str:
        parts = {"config": "config", "partition": "partitions", "-N": "nodes", "qos": "qos"}
        words = {**parts, "user=": "accounts", "assoc": "associations", "user": "user"}
        return next(part for word, part in words.items() if word in command)


def test_each_thing_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = Slurm()
    monkeypatch.setattr(survey, "ask", slurm)
    monkeypatch.setattr(survey, "user_name", lambda: "ada")
    assert read_site() == recorded("testbed")
    assert len(slurm.asked) == len(set(slurm.asked)) == len(PARTS)
    assert ("sacctmgr", "-P", "show", "assoc", "user=ada", "cluster=testbed") in slurm.asked
    slurm.asked.clear()
    read_site(nodes=False)
    assert "sinfo" not in {command[0] for command in slurm.asked}


def test_a_silent_accounting_is_said_and_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "ask", Slurm(silent="sacctmgr"))
    site = read_site()
    assert not site.accounting
    assert site.silence == "sacctmgr has not answered within 30 s"
    assert len(site.partitions) == 4


def test_a_site_without_accounting_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = Slurm(config="AccountingStorageType = accounting_storage/none\n")
    monkeypatch.setattr(survey, "ask", slurm)
    assert read_site().silence == "the site keeps no accounts"
    assert "sacctmgr" not in {command[0] for command in slurm.asked}


def test_a_silent_controller_is_not_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "ask", Slurm(silent="scontrol"))
    with pytest.raises(NoAnswer):
        read_site()


def test_without_slurm_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="scontrol should be on PATH"):
        read_site()


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    assert survey.user_name() == str(2**31 - 7)
