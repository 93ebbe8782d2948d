"""What limits leave of a submission, and squeue's reasons in words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import recorded

from autoresearch.cluster import limits
from autoresearch.cluster.limits import is_forever, limits_of, read_limits
from autoresearch.cluster.reasons import PLAIN
from autoresearch.cluster.site import Association, Partition, Qos, Site

SITE = Site(
    default_account="lab",
    partitions=(Partition("h100", max_minutes=1440, qos="part"), Partition("cpu")),
    associations=(
        Association(account="lab", user="ada", qos=("normal",), max_jobs=5, max_submit=50),
        Association(
            account="lab", grp_submit=40, grp_tres_minutes={"cpu": 1000}, grp_tres={"gres/gpu": 6}
        ),
    ),
    qos={
        "normal": Qos(
            name="normal",
            max_tres_per_user={"gres/gpu": 4, "gres/gpu:h100": 2, "cpu": 32, "mem": 65536},
            max_jobs_per_user=3,
            max_minutes=600,
            grp_tres_run_minutes={"cpu": 500},
            min_tres={"gres/gpu": 1},
        ),
        "part": Qos(name="part", max_tres={"gres/gpu:h100": 2}, max_minutes=300),
    },
)


# ---- numbers -------------------------------------------------------------------------------------


def test_the_smallest_limit_counts() -> None:
    found = limits_of(SITE)
    assert (found.max_submit, found.max_jobs) == (40, 3)
    assert found.max_minutes == {"h100": 300, "cpu": 600}
    assert limits_of(recorded("testbed")).max_submit == 200
    short = limits_of(recorded("testbed"), "lab", "short")
    assert (short.max_submit, short.max_jobs, short.max_minutes["cpu"]) == (20, 3, 1440)


def test_where_nothing_is_known_nothing_is_limited() -> None:
    found = limits_of(Site(silence="no accounts", partitions=(Partition("p"),)))
    assert (found.max_array, found.max_submit, found.max_jobs) == (1001, None, None)
    assert found.max_minutes == {"p": None}


def test_limits_that_are_not_enforced_do_not_count() -> None:
    site = recorded("testbed", config="AccountingStorageEnforce = associations\nMaxArraySize = 7\n")
    found = limits_of(site, "lab", "short")
    assert (found.max_array, found.max_submit, found.max_minutes["h100"]) == (7, None, 1440)


def test_limits_are_asked_for_without_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "read_site", lambda nodes: recorded("campus") if nodes else SITE)
    assert read_limits("lab", "normal") == limits_of(SITE, "lab", "normal")


# ---- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "QOSMaxGRESPerUser",
            "QOS normal allows gres/gpu=4, gres/gpu:h100=2 per user (MaxTRESPerUser)",
        ),
        ("QOSMaxCpuPerUserLimit", "QOS normal allows cpu=32 per user (MaxTRESPerUser)"),
        ("QOSMaxMemoryPerUser", "QOS normal allows mem=64G per user (MaxTRESPerUser)"),
        ("QOSMaxJobsPerUserLimit", "QOS normal allows 3 running jobs per user (MaxJobsPerUser)"),
        (
            "QOSMaxWallDurationPerJobLimit",
            "QOS normal allows 10:00:00 per job (MaxWallDurationPerJob)",
        ),
        (
            "QOSGrpCPURunMinutesLimit",
            "QOS normal allows cpu=500 minutes of running jobs in all (GrpTRESRunMins)",
        ),
        ("QOSMinGRES", "QOS normal wants at least gres/gpu=1 (MinTRESPerJob)"),
        (
            "QOSMaxGRESPerJob",
            "QOS part of partition h100 allows gres/gpu:h100=2 per job (MaxTRESPerJob)",
        ),
        ("AssocMaxJobsLimit", "account lab allows 5 running jobs (MaxJobs)"),
        ("AssocMaxSubmitJobLimit", "account lab allows 50 jobs in the queue (MaxSubmitJobs)"),
        ("AssocGrpGRES", "account lab as a whole allows gres/gpu=6 (GrpTRES)"),
        (
            "AssocGrpCPUMinutesLimit",
            "account lab as a whole allows cpu=1000 minutes in all (GrpTRESMins)",
        ),
        ("AssocGrpMemLimit", "a limit of the account is reached (GrpTRES)"),
        ("MaxGRESPerAccount", "a limit of the QOS is reached per account (MaxTRESPerAccount)"),
        ("PartitionTimeLimit", "partition h100 lets no job ask for more than 1-00:00:00 (MaxTime)"),
        ("PartitionDown", "partition h100 takes jobs but starts none for now"),
        ("InvalidAccount", "account lab is not one it may use; set cluster.account"),
        ("InvalidQOS", "QOS normal is not one account lab may use; set cluster.qos"),
        (
            "ReqNodeNotAvail, UnavailableNodes:h100-01",
            "nodes it needs are down, drained or reserved (h100-01)",
        ),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher ...",
            "nodes it needs are down, drained or reserved",
        ),
        ("(Resources)", "it is next, as soon as what it asks for is free"),
        ("Priority", "jobs of higher priority come first"),
        ("None", "Slurm has not looked at it yet"),
        ("(null)", "Slurm has not looked at it yet"),
        ("", "Slurm has not looked at it yet"),
        ("SomethingNew", "SomethingNew"),
        ("{0} of {name}", "{0} of {name}"),
    ],
)
def test_a_reason_in_words(reason: str, words: str) -> None:
    assert limits_of(SITE).describe(reason, "lab", "normal", "h100") == words


def test_of_several_partitions_the_first_speaks() -> None:
    words = limits_of(SITE).describe("QOSMaxGRESPerJob", partition="h100,cpu")
    assert words.startswith("QOS part of partition h100 allows")


FOREVER = [
    *("PartitionTimeLimit", "PartitionNodeLimit", "JobHeldAdmin", "JobHeldUser", "BadConstraints"),
    *("launch failed requeued held", "launch_failed_requeued_held", "job requeued in held state"),
    *("InvalidAccount", "InvalidQOS", "AccountNotAllowed", "QOSNotAllowed", "JobHoldMaxRequeue"),
    *("QOSMaxWallDurationPerJobLimit", "QOSMaxGRESPerJob", "AssocMaxCpuPerJobLimit", "QOSMinGRES"),
    *("(QOSMaxGRESPerNode)", "(JobHeldUser)", "DependencyNeverSatisfied", "QOSMaxUnknownPerJob"),
]
PASSING = [
    *("Resources", "Priority", "None", "", "BeginTime", "Dependency", "PartitionDown"),
    *("PartitionInactive", "ReqNodeNotAvail, UnavailableNodes:n1", "Reservation", "SomethingNew"),
    *("QOSMaxGRESPerUser", "QOSMaxJobsPerUserLimit", "AssocMaxJobsLimit", "AssocGrpGRES"),
    *("AssocGrpCPUMinutesLimit", "MaxGRESPerAccount", "Nodes required for job are DOWN, DRAINED"),
]


@pytest.mark.parametrize("reason", FOREVER)
def test_waiting_does_not_help(reason: str) -> None:
    assert is_forever(reason)


@pytest.mark.parametrize("reason", PASSING)
def test_waiting_helps(reason: str) -> None:
    assert not is_forever(reason)


@given(st.text() | st.from_regex(r"(QOS|Assoc)?(Grp|Max|Min)[A-Za-z]{0,30}"))
def test_no_reason_is_too_odd(reason: str) -> None:
    for site in (SITE, Site()):
        assert isinstance(limits_of(site).describe(reason), str)
    assert is_forever(reason) in (True, False)


def test_every_sentence_names_what_it_can_and_leaves_no_gap() -> None:
    for reason in PLAIN:
        for site in (SITE, Site()):
            words = limits_of(site).describe(reason, partition="h100")
            assert words
            assert not re.search(r"[{}]|  |None", words)
