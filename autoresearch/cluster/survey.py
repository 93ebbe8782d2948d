"""Asking a Slurm site about itself, each thing once, and reading the answers into a `Site`.

A site without accounting, or whose slurmdbd is silent, is a site too: it then says so.
"""

import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autoresearch.cluster import site_text as text
from autoresearch.cluster.commands import NoAnswer, ask
from autoresearch.cluster.site import MAX_ARRAY, Association, Bounds, Node, Partition, Qos, Site
from autoresearch.errors import ClusterError

NODES = "%N|%R|%t|%c|%m|%f|%G"
ACCOUNTING_PATIENCE = 30.0  # seconds: sacctmgr tries for minutes when slurmdbd is gone


@dataclass(frozen=True)
class Answers:
    """What Slurm printed."""

    config: str = ""
    partitions: str = ""
    nodes: str = ""
    user: str = ""
    associations: str = ""
    accounts: str = ""
    qos: str = ""
    silence: str = ""


def site_of(answers: Answers, user: str) -> Site:
    config = text.settings(answers.config)
    nodes = nodes_of(answers.nodes)
    rows = [*text.table(answers.associations), *text.table(answers.accounts)]
    accounts = text.table(answers.user)
    enforced = config.get("AccountingStorageEnforce")
    associations = tuple(map(association_of, rows))
    default = next((text.word(row.get("defacct", "")) for row in accounts), "")
    mine = [found.account for found in associations if found.user]
    qos = [qos_of(row) for row in text.table(answers.qos)]
    return Site(
        name=text.word(config.get("ClusterName", "")),
        version=text.word(config.get("SLURM_VERSION", "")),
        max_array=text.whole(config.get("MaxArraySize", "")) or MAX_ARRAY,
        preempts_by=text.word(config.get("PreemptType", "").removeprefix("preempt/")),
        enforced=None if enforced is None else text.names(enforced.lower()),
        price_flags=text.names(config.get("PriorityFlags", "").upper()),
        partitions=tuple(
            partition_of(record, nodes)
            for record in text.records(answers.partitions, "PartitionName")
        ),
        user=user,
        default_account=default if default in mine or not mine else mine[0],
        associations=associations,
        qos={found.name: found for found in qos},
        silence=answers.silence,
    )


def nodes_of(answer: str) -> list[Node]:
    """Of `sinfo -N -o` with our format; lines of any other form are left out."""
    rows = [line.split("|", NODES.count("|")) for line in answer.splitlines()]
    return [
        Node(
            name=name.strip(),
            partition=partition.strip(),
            state=state.strip().lower(),
            cpus=text.whole(cpus) or 0,
            memory_mb=text.megabytes(memory) or 0,
            features=text.names(features),
            gpus=text.gpus(gres),
        )
        for name, partition, state, cpus, memory, features, gres in (
            row for row in rows if len(row) == NODES.count("|") + 1
        )
    ]


def partition_of(record: Mapping[str, str], nodes: list[Node]) -> Partition:
    def get(key: str) -> str:
        return record.get(key, "")

    return Partition(
        name=get("PartitionName"),
        is_default=get("Default") == "YES",
        state=get("State").upper() or "UP",
        max_minutes=text.minutes(get("MaxTime")),
        default_minutes=text.minutes(get("DefaultTime")),
        nodes=tuple(node for node in nodes if node.partition == get("PartitionName")),
        min_nodes=text.whole(get("MinNodes")) or 0,
        preempt_mode=text.word(get("PreemptMode")),
        priority_tier=text.whole(get("PriorityTier")) or 0,
        grace_seconds=text.whole(get("GraceTime")) or 0,
        qos=text.word(get("QoS")),
        weights=text.weights(get("TRESBillingWeights")),
        allow_accounts=text.names(get("AllowAccounts").lower()),
        deny_accounts=text.names(get("DenyAccounts").lower()),
        allow_qos=text.names(get("AllowQos")),
        deny_qos=text.names(get("DenyQos")),
        gives_whole_nodes=get("OverSubscribe").startswith("EXCLUSIVE"),
        needs_reservation=get("ReqResv") == "YES",
        is_for_root=get("RootOnly") == "YES",
    )


# Fields by their column in sacctmgr's tables.
COUNTS = {
    "grp_jobs": "grpjobs",
    "grp_submit": "grpsubmit",
    "max_jobs": "maxjobs",
    "max_submit": "maxsubmit",
    "max_jobs_per_user": "maxjobspu",
    "max_submit_per_user": "maxsubmitpu",
    "max_jobs_per_account": "maxjobspa",
    "max_submit_per_account": "maxsubmitpa",
}
AMOUNTS = {
    "grp_tres": "grptres",
    "grp_tres_minutes": "grptresmins",
    "grp_tres_run_minutes": "grptresrunmins",
    "max_tres": "maxtres",
    "max_tres_per_node": "maxtrespernode",
    "max_tres_minutes": "maxtresmins",
    "max_tres_per_user": "maxtrespu",
    "max_tres_per_account": "maxtrespa",
    "min_tres": "mintres",
}
TIMES = {"grp_minutes": "grpwall", "max_minutes": "maxwall"}
READERS: tuple[tuple[dict[str, str], Callable[[str], Any]], ...] = (
    (COUNTS, text.whole),
    (AMOUNTS, text.tres),
    (TIMES, text.minutes),
)


def limits_in(row: Mapping[str, str], kind: type[Bounds]) -> dict[str, Any]:
    """The limits of a table's row that this kind of holder has."""
    return {
        name: read(row.get(column, ""))
        for columns, read in READERS
        for name, column in columns.items()
        if name in kind.__dataclass_fields__
    }


def association_of(row: Mapping[str, str]) -> Association:
    return Association(
        account=row.get("account", "").strip(),
        user=row.get("user", "").strip(),
        partition=text.word(row.get("partition", "")),
        qos=text.names(row.get("qos", "")),
        default_qos=text.word(row.get("defqos", "")),
        **limits_in(row, Association),
    )


def qos_of(row: Mapping[str, str]) -> Qos:
    factor = text.number(row.get("usagefactor", ""))
    return Qos(
        name=row.get("name", "").strip(),
        priority=text.whole(row.get("priority", "")) or 0,
        preempts=text.names(row.get("preempt", "")),
        preempt_mode=text.word(row.get("preemptmode", "")),
        grace_seconds=text.seconds(row.get("gracetime", "")) or 0,
        flags=text.names(row.get("flags", "")),
        usage_factor=1.0 if factor is None else factor,
        **limits_in(row, Qos),
    )


# ---- asking --------------------------------------------------------------------------------------


def read_site(nodes: bool = True) -> Site:
    """Ask Slurm about itself, each thing once; about nodes only if they matter.

    Raises NoAnswer, or ClusterError where there is no Slurm.
    """
    config = ask("scontrol", "show", "config")
    seen = Answers(
        config=config,
        partitions=ask("scontrol", "show", "partition", "-o"),
        nodes=ask("sinfo", "-h", "-N", "-o", NODES) if nodes else "",
    )
    user, cluster = user_name(), text.settings(config).get("ClusterName", "")
    if not text.word(text.settings(config).get("AccountingStorageType", "").partition("/")[2]):
        return site_of(with_accounts(seen, silence="the site keeps no accounts"), user)
    try:
        answers = with_accounts(seen, **ask_accounting(user, cluster))
    except (NoAnswer, ClusterError) as error:  # sacctmgr is silent, or not there
        answers = with_accounts(seen, silence=str(error))
    return site_of(answers, user)


def with_accounts(seen: Answers, **answers: str) -> Answers:
    return Answers(seen.config, seen.partitions, seen.nodes, **answers)


def ask_accounting(user: str, cluster: str) -> dict[str, str]:
    """Tables with their headings and default columns: a version's columns need not be known."""

    def show(*what: str) -> str:
        return ask("sacctmgr", "-P", "show", *what, patience=ACCOUNTING_PATIENCE)

    associations = show("assoc", f"user={user}", f"cluster={cluster}")
    accounts = sorted({row.get("account", "") for row in text.table(associations)} - {""})
    shared = ("assoc", f"account={','.join(accounts)}", "user=", f"cluster={cluster}")
    return {
        "associations": associations,
        "accounts": show(*shared) if accounts else "",
        "user": show("user", user),
        "qos": show("qos"),
    }


def user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user, whom nobody has named
        return str(os.getuid())
