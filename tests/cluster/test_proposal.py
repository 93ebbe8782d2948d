"""What is proposed for a site, and that the file is one that can be used."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import PARTS, answers, recorded

from autoresearch.cli import main
from autoresearch.cluster import gpus
from autoresearch.cluster.commands import NoAnswer
from autoresearch.cluster.proposal import Proposal, TierPlan, propose
from autoresearch.cluster.proposal_text import quoted, render
from autoresearch.cluster.site import Association, Node, Partition, Qos, Site
from autoresearch.cluster.survey import Answers, site_of
from autoresearch.config import compose
from autoresearch.errors import ClusterError
from autoresearch.layout import shipped
from autoresearch.settings import Cluster
from autoresearch.verbs import probe


def composed(proposal: Proposal, folder: Path) -> Cluster:
    """The settings that the written file makes."""
    (folder / "cluster").mkdir(exist_ok=True)
    text = render(proposal, "here", "2025-03-04")
    (folder / "cluster" / "here.yaml").write_text(text, encoding="utf-8")
    overrides = ["cluster=here", f"task.data.directory={folder}"]
    return compose(overrides, [folder, shipped("conf")]).cluster


def nodes(partition: str, gpus: str = "h100", count: int = 2, first: int = 1) -> tuple[Node, ...]:
    return tuple(
        Node(f"{gpus}{i}", partition, cpus=64, memory_mb=512000, gpus={gpus: 4} if gpus else {})
        for i in range(first, first + count)
    )


def names(tier: TierPlan) -> list[str]:
    return [place.partition.name for place in tier.places]


def site(*partitions: Partition, **more: Any) -> Site:
    return replace(Site(name="c", user="ada", silence="none kept", partitions=partitions), **more)


# ---- the recorded sites --------------------------------------------------------------------------


def test_a_testbed_has_a_tier_per_type_and_its_gpus_are_fake(tmp_path: Path) -> None:
    proposal = propose(recorded("testbed"))
    screen, validate = proposal.tiers
    assert (screen.name, names(screen), screen.price) == ("screen", ["h100", "scavenge"], 1.0)
    assert (validate.name, names(validate), validate.price) == ("validate", ["h200"], 1.5)
    assert proposal.left_out == {"cpu": "no GPUs"}
    cluster = composed(proposal, tmp_path)
    assert (cluster.kind, cluster.account, cluster.qos) == ("slurm", "lab", "")
    assert cluster.tiers["screen"].device == "fake-h100"
    assert cluster.tiers["screen"].gres == "gpu:h100:1"
    assert cluster.tiers["validate"].partitions == ("h200",)
    assert [tier.memory_gb for tier in cluster.tiers.values()] == [12, 12]


def test_a_campus_is_sorted_out(tmp_path: Path) -> None:
    proposal = propose(recorded("campus"))
    screen, validate = proposal.tiers
    assert (screen.kind.device, screen.kind.count, screen.qos) == ("a100", 20, "gpu")
    assert (validate.kind.device, names(validate), validate.price) == ("h100", ["gpu"], 64)
    assert (screen.pilots, screen.bounded_by) == (6, "QOS gpu allows gres/gpu=6")
    others = {tier.kind.device: tier.kind.count for tier in proposal.others}
    assert others == {"a100-1g.5gb": 14, "a100-3g.20gb": 4, "rtx2080ti": 8, "gpu": 2}
    assert set(proposal.left_out) == {"compute", "gpu-debug", "bio", "whole", "broken"}
    cluster = composed(proposal, tmp_path)
    assert list(cluster.tiers) == ["screen", "validate"]
    assert cluster.tiers["screen"].gres == "gpu:nvidia_a100-sxm4-80gb:1"
    assert (cluster.poll_seconds, cluster.poll_limit) == (5, 180)


def test_everything_found_stands_in_the_file() -> None:
    text = render(propose(recorded("campus")), "campus", "2025-03-04")
    for words in (
        *("autoresearch run cluster=campus", "Slurm 24.05.4", "also yours: bio", "gpu-long"),
        *("MaxArraySize 10001", "QOS gpu, MaxTRESPerUser cpu=64,gres/gpu=6,mem=1024G"),
        *("account nlp as a whole, GrpTRES gres/gpu=24", "QOS scavenger is charged 0 times"),
        *("too short for a pilot", "bio: 1 node with 8 v100", "its state is DOWN", "MaxTime 2-00"),
    ):
        assert words in text
    for name in ("compute", "gpu", "gpu-preempt", "gpu-debug", "mig", "whole", "broken", "old"):
        assert f"\n#   {name}: " in text


@pytest.mark.parametrize("name", ["testbed", "campus"])
def test_a_tier_offered_as_a_comment_can_be_uncommented(name: str, tmp_path: Path) -> None:
    proposal = propose(recorded(name))
    text = render(proposal, "here", "2025-03-04")
    offered = [line[1:] if line.startswith("#  ") else line for line in text.splitlines()]
    end = offered.index("# Limits")
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster/here.yaml").write_text("\n".join(offered[:end]))
    overrides = ["cluster=here", f"task.data.directory={tmp_path}"]
    tiers = compose(overrides, [tmp_path, shipped("conf")]).cluster.tiers
    assert len(tiers) == len(proposal.tiers) + len(proposal.others)


def test_lines_fit_a_terminal() -> None:
    for name in ("testbed", "campus"):
        text = render(propose(recorded(name)), name, "2025-03-04")
        assert max(len(line) for line in text.splitlines()) <= 100


# ---- choices -------------------------------------------------------------------------------------


def test_one_type_is_one_tier() -> None:
    (tier,) = propose(site(Partition("p", nodes=nodes("p")))).tiers
    assert (tier.name, tier.kind.device, tier.kind.count) == ("gpu", "h100", 8)


def test_the_strongest_of_which_there_are_most_is_one_tier_and_the_others_are_offered() -> None:
    both = nodes("p", count=5) + nodes("p", "a100", count=2)
    proposal = propose(site(Partition("p", nodes=both)))
    assert [tier.kind.device for tier in proposal.tiers] == ["h100"]
    assert [tier.kind.device for tier in proposal.others] == ["a100"]


def test_a_site_without_gpus_has_a_tier_of_cores(tmp_path: Path) -> None:
    proposal = propose(site(Partition("p", nodes=nodes("p", "", count=3))))
    (tier,) = proposal.tiers
    assert (tier.name, tier.kind.device, tier.threads) == ("cpu", "cpu-4", 4)
    cluster = composed(proposal, tmp_path)
    assert (cluster.tiers["cpu"].gpus, cluster.tiers["cpu"].device) == (0, "cpu-4")
    assert "No accounts to be seen: none kept" in render(proposal, "c", "2025-03-04")


def test_slices_are_proposed_only_where_there_is_nothing_else() -> None:
    slices = Partition("mig", nodes=nodes("mig", "a100_1g.5gb", count=9))
    proposal = propose(site(slices, Partition("p", nodes=nodes("p", "v100"))))
    assert [tier.kind.device for tier in proposal.tiers] == ["v100"]
    assert [tier.kind.device for tier in propose(site(slices)).tiers] == ["a100-1g.5gb"]


def test_a_gpu_nobody_names_is_a_guess_that_says_so(tmp_path: Path) -> None:
    unnamed = Node("n", "p", cpus=8, memory_mb=64000, gpus={"": 2})
    proposal = propose(site(Partition("p", nodes=(unnamed,))))
    tier = composed(proposal, tmp_path).tiers["gpu"]
    assert (tier.device, tier.gres, tier.pilots) == ("gpu", "gpu:1", 2)
    assert "Slurm does not say which GPU" in render(proposal, "c", "2025-03-04")
    told = replace(unnamed, features=("ib", "v100"))
    tier = composed(propose(site(Partition("p", nodes=(told,)))), tmp_path).tiers["gpu"]
    assert (tier.device, tier.gres, tier.constraint) == ("v100", "gpu:1", "v100")


def test_nodes_in_several_partitions_count_once() -> None:
    (tier,) = propose(site(*(Partition(name, nodes=nodes(name)) for name in "abcdef"))).tiers
    assert (tier.kind.count, names(tier)) == (8, ["a", "b", "c", "d"])
    assert [place.partition.name for place in tier.spare] == ["e", "f"]


def test_what_gives_way_comes_last_in_screening_and_is_a_comment_in_validation() -> None:
    stronger = [Partition(t, nodes=nodes(t, t), priority_tier=9) for t in ("h100", "h200")]
    weak = Partition(
        "scavenge",
        is_default=True,
        nodes=nodes("scavenge") + nodes("scavenge", "h200"),
        preempt_mode="REQUEUE",
        grace_seconds=20,
    )
    screen, validate = propose(site(weak, *stronger, preempts_by="partition_prio")).tiers
    assert names(screen) == ["h100", "scavenge"]
    assert names(validate) == ["h200"]
    assert [place.partition.name for place in validate.spare] == ["scavenge"]
    assert "give way to those of h100, h200 (REQUEUE, after 20 s)" in validate.spare[0].gives_way
    both = propose(site(weak, *stronger, preempts_by="none")).tiers
    assert names(both[1]) == ["scavenge", "h200"]  # nothing is preempted: the default comes first


def test_where_everything_gives_way_it_is_used_all_the_same() -> None:
    queue = Partition("preemptible", nodes=nodes("preemptible"))
    (tier,) = propose(site(queue, preempts_by="partition_prio")).tiers
    assert names(tier) == ["preemptible"]


def test_a_qos_that_gives_way_is_told(tmp_path: Path) -> None:
    mine = Association(account="lab", user="ada", qos=("low",))
    qos = {"low": Qos(name="low"), "high": Qos(name="high", preempts=("low",))}
    queue = Partition("p", nodes=nodes("p"))
    found = site(queue, silence="", associations=(mine,), qos=qos, preempts_by="qos")
    (tier,) = propose(replace(found, default_account="lab")).tiers
    assert tier.places[0].gives_way == "jobs of QOS low give way to those of high"


@pytest.mark.parametrize(
    ("closed", "why"),
    [
        ({"state": "DRAIN"}, "its state is DRAIN"),
        ({"is_for_root": True}, "for root alone"),
        ({"needs_reservation": True}, "for reservations alone"),
        ({"min_nodes": 2}, "gives a job 2 nodes or more (MinNodes)"),
        ({"allow_accounts": ("bio",)}, "open to other accounts: bio"),
        ({"deny_accounts": ("lab",)}, "closed to account lab"),
        ({"allow_qos": ("vip",)}, "wants another QOS than yours (vip)"),
        ({"deny_qos": ("normal",)}, "wants another QOS than yours (any but normal)"),
        ({"max_minutes": 15}, "jobs last 15 minutes at most (MaxTime), too short for a pilot"),
        ({"nodes": ()}, "none of its nodes takes jobs now"),
        ({"name": "debug", "nodes": nodes("debug")}, "by its name for trying things out"),
        ({"gives_whole_nodes": True}, "gives whole nodes"),
    ],
)
def test_a_partition_that_is_no_use_is_left_out_and_why_is_said(
    closed: dict[str, Any], why: str
) -> None:
    mine = Association(account="lab", user="ada", qos=("normal",))
    fine = Partition("fine", nodes=nodes("fine"))
    queue = replace(Partition("q", nodes=nodes("q")), **closed)
    found = site(fine, queue, silence="", default_account="lab", associations=(mine,))
    proposal = propose(found)
    assert names(proposal.tiers[0]) == ["fine"]
    assert proposal.left_out[queue.name].startswith(why)


def test_a_partition_of_another_account_names_the_account() -> None:
    mine = [Association(account=a, user="ada", partition=p) for a, p in (("x", "p"), ("y", "q"))]
    queues = [Partition(name, nodes=nodes(name)) for name in "pq"]
    found = site(*queues, silence="", default_account="x", associations=tuple(mine))
    proposal = propose(found)
    assert proposal.left_out == {"q": "closed to account x, open to y"}
    assert "who pays; also yours: y" in render(proposal, "c", "2025-03-04")
    assert propose(replace(found, enforced=())).left_out == {}  # nobody asks for associations


def test_without_a_partition_to_use_there_is_no_proposal() -> None:
    with pytest.raises(ClusterError, match="shows none"):
        propose(site())
    with pytest.raises(ClusterError, match="p: its state is DOWN"):
        propose(site(Partition("p", state="DOWN", nodes=nodes("p"))))


def test_a_doubtful_partition_is_used_where_there_is_no_other() -> None:
    (tier,) = propose(site(Partition("debug", nodes=nodes("debug")))).tiers
    assert names(tier) == ["debug"]


@pytest.mark.parametrize(
    ("flags", "units"), [((), 4 + 8 + 16 + 2), (("MAX_TRES",), 16), (("MAX_TRES_GRES",), 8 + 18)]
)
def test_a_price_is_what_slurm_would_charge(flags: tuple[str, ...], units: float) -> None:
    weights = {"cpu": 1.0, "mem": 0.25 / 1024, "gres/gpu": 16.0, "gres/gpu:h100": 2.0}
    queue = Partition("p", nodes=nodes("p"), weights=weights)
    mine = Association(account="lab", user="ada", qos=("half",))
    qos = {"half": Qos(name="half", usage_factor=0.5)}
    found = site(queue, price_flags=flags)
    assert propose(found).tiers[0].price == units
    found = replace(found, silence="", default_account="lab", associations=(mine,), qos=qos)
    assert propose(found).tiers[0].price == units / 2


# ---- names of GPUs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slurm_type", "device"),
    [
        ("h100", "h100"),
        ("nvidia_h100_80gb_hbm3", "h100"),
        ("NVIDIA_A100-SXM4-80GB", "a100"),
        ("a100l", "a100"),
        ("h100_80", "h100"),
        ("tesla_v100-sxm2-32gb", "v100"),
        ("2080ti", "rtx2080ti"),
        ("a6000", "rtxa6000"),
        ("gtx_1080_ti", "gtx1080ti"),
        ("l40s", "l40s"),
        ("l4", "l4"),
        ("nvidia_rtx_6000_ada_generation", "rtx6000ada"),
        ("a100_1g.5gb", "a100-1g.5gb"),
        ("nvidia_a100_80gb_pcie_3g.40gb", "a100-3g.40gb"),
        ("mi250x", "mi250x"),
        ("1g.5gb", ""),
        ("", ""),
    ],
)
def test_a_site_s_name_for_a_gpu_becomes_the_node_s(slurm_type: str, device: str) -> None:
    assert gpus.device(slurm_type) == (device, "")


def test_features_name_what_slurm_does_not() -> None:
    assert gpus.device("", ["skylake", "a100"]) == ("a100", "a100")
    assert gpus.device("1g.5gb", ["gpu:a100"]) == ("a100-1g.5gb", "gpu:a100")
    assert gpus.device("", ["GPU_SKU:V100_PCIE"]) == ("v100", "GPU_SKU:V100_PCIE")
    assert gpus.device("", ["v100", "a100"]) == ("", "")


def test_strength_orders_what_is_known() -> None:
    known = ["k80", "t4", "v100", "a100", "h100", "h200", "b200"]
    assert sorted(known, key=gpus.strength) == known
    assert gpus.strength("h100-1g.10gb") == gpus.strength("h100")
    assert gpus.strength("abacus") == 0


# ---- the verb ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cluster", "name"),
    [
        ("testbed", "testbed"),
        ("Campus.HPC", "Campus-HPC"),
        ("local", "site-local"),
        ("12", "site-12"),
        ("on", "site-on"),
        ("", "site"),
        ("../x", "x"),
        ("é", "site"),
    ],
)
def test_a_file_is_called_after_the_cluster(cluster: str, name: str) -> None:
    assert probe.site_name(Site(cluster)) == name
    assert probe.checked(name) == name


def test_the_verb_writes_once_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probe, "read_site", lambda: recorded("testbed"))
    path = tmp_path / "conf/cluster/testbed.yaml"
    assert main(["probe", "--print"]) == 0
    printed = capsys.readouterr().out
    assert not path.exists()
    assert main(["probe"]) == 0
    assert path.read_text() == printed
    assert "autoresearch run cluster=testbed" in capsys.readouterr().out
    path.write_text("precious")
    assert main(["probe"]) == main(["probe", "testbed"]) == main(["probe", "a/b"]) == 1
    assert path.read_text() == "precious"
    assert main(["probe", "--force"]) == 0
    assert path.read_text() == printed
    capsys.readouterr()
    assert main(["probe", "--print", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"schema": 1, "name": "testbed", "file": "", "text": printed}
    assert main(["probe", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "conf/cluster/testbed.yaml"


def test_a_silent_slurm_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent() -> Site:
        raise NoAnswer("scontrol has not answered within 120 s")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probe, "read_site", silent)
    assert main(["probe"]) == 1
    words = "Slurm should answer, but: scontrol has not answered within 120 s; try again later"
    assert words in capsys.readouterr().err


# ---- odd sites -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["null", "Yes", "12", "1e3", "a: b", "#x", "", "é", '"', "a:b"])
def test_text_stays_text(text: str, tmp_path: Path) -> None:
    mine = Association(account=text.lower(), user="ada")
    found = site(
        Partition("p", nodes=nodes("p")), default_account=text.lower(), associations=(mine,)
    )
    assert quoted(text)
    assert composed(propose(found), tmp_path).account == text.lower()


ODD = st.text(alphabet="abgp:=,|()-0123456789.#KMG \n\x00\x85'\"[]{}", max_size=60)


@settings(max_examples=20)
@given(part=st.sampled_from(PARTS), odd=ODD)
def test_an_odd_answer_makes_a_file_that_can_be_used(
    part: str, odd: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    real = answers("campus")
    lines = real[part].splitlines(keepends=True)
    real[part] = "".join(lines[: len(lines) // 2]) + odd + "".join(lines[len(lines) // 2 :])
    try:
        proposal = propose(site_of(Answers(**real), "ada"))
    except ClusterError:  # nothing left that one may use: said in one line
        return
    cluster = composed(proposal, tmp_path_factory.mktemp("conf"))
    assert list(cluster.tiers) == [tier.name for tier in proposal.tiers]
