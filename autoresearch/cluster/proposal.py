"""A site → which tiers a careful user would write down, and what is left out of them and why.

Pure decisions; `proposal_text` writes them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from autoresearch.cluster import gpus
from autoresearch.cluster.site import Bounds, Node, Partition, Qos, Site
from autoresearch.errors import ClusterError
from autoresearch.hardware import FAKE

TESTBED = "testbed"  # the cluster of scripts/testbed, whose GPUs are none: devices are called fake
MINUTES = 30  # a shorter MaxTime leaves little of a pilot but its start
MEMORY_MB = 32 * 1024  # what prices assume where memory costs
SCREENING, VALIDATING = 8, 4  # pilots at once, at most: polite, and enough for a first campaign
AT_MOST = 4  # partitions of a tier
TRIALS = re.compile(r"debug|interact|devel|test|jupyter|ood|visual|viz", re.IGNORECASE)
GIVES_WAY = re.compile(r"preempt|scav|requeue|backfill|spot|guest|lowprio|opportun", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """A partition we may use, with the QOS that lets us in ("": Slurm's own choice)."""

    partition: Partition
    qos: str = ""
    gives_way: str = ""  # how its jobs are preempted, if they are
    doubt: str = ""  # why it is used only where there is nothing better


@dataclass(frozen=True)
class Kind:
    """A sort of device, and where it is; `type` as Slurm calls it, "" for a GPU without a name."""

    device: str  # as the node calls it
    type: str = ""
    is_gpu: bool = True
    constraint: str = ""  # the feature that tells it from others
    places: tuple[Place, ...] = ()  # those whose jobs must give way last
    count: int = 0  # GPUs, or nodes without any, in places that last; each once
    nodes: int = 0
    cores: int = 1  # a fair share of a node
    memory_mb: int = 0

    @property
    def is_slice(self) -> bool:
        return gpus.is_slice(self.type)

    @property
    def strength(self) -> int:
        return gpus.strength(self.device.removeprefix(FAKE))


@dataclass(frozen=True)
class TierPlan:
    """One tier."""

    name: str
    kind: Kind
    places: tuple[Place, ...]
    spare: tuple[Place, ...]  # would do too, and why not is a comment
    threads: int
    pilots: int
    bounded_by: str  # what keeps the pilots from being more
    prices: dict[str, float | None]  # per pilot hour, by partition; None: it has none

    @property
    def price(self) -> float | None:
        return self.prices[self.places[0].partition.name]

    @property
    def qos(self) -> str:
        return self.places[0].qos


@dataclass(frozen=True)
class Proposal:
    """Tiers, and everything found beside them."""

    site: Site
    account: str
    tiers: tuple[TierPlan, ...]
    others: tuple[TierPlan, ...]  # tiers that could be
    left_out: dict[str, str]  # partitions, and why


def propose(site: Site) -> Proposal:
    """Raises ClusterError if there is no partition that the user may use."""
    account = site.default_account
    verdicts = {p.name: verdict(site, p, account) for p in site.partitions}
    places = [found for found in verdicts.values() if isinstance(found, Place)]
    left_out = {name: why for name, why in verdicts.items() if isinstance(why, str)}
    if not places:
        whys = "; ".join(f"{name}: {why}" for name, why in left_out.items()) or "it shows none"
        raise ClusterError(
            f"Slurm should have a partition that you may use, but: {whys}; ask the site"
        )
    chosen, others = choose(gpu_kinds(site, places) or [cpu_kind(places)])
    names = ("screen", "validate") if len(chosen) == 2 else ("gpu" if chosen[0].is_gpu else "cpu",)
    tiers = [plan(site, name, kind) for name, kind in zip(names, chosen, strict=True)]
    used = {place.partition.name for tier in tiers for place in (*tier.places, *tier.spare)}
    beside = [plan(site, tier_name(kind), kind) for kind in others]
    offered = {place.partition.name for tier in beside for place in tier.places}
    for place in places:
        if place.partition.name not in used | offered:
            left_out[place.partition.name] = place.doubt or unused(place, chosen[0].is_gpu)
    return Proposal(site, account, tuple(tiers), tuple(beside), left_out)


def unused(place: Place, gpus_wanted: bool) -> str:
    if gpus_wanted and not place.partition.gpus:
        return "no GPUs"
    return f"a tier has {AT_MOST} partitions at most"


def tier_name(kind: Kind) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", kind.device).strip("-") or "gpu"


# ---- partitions ----------------------------------------------------------------------------------


def verdict(site: Site, partition: Partition, account: str) -> Place | str:
    """A place for pilots, or why it is none."""
    closed = why_closed(site, partition, account)
    if closed:
        return closed
    allowed = allowed_qos(site, partition, account)
    if allowed is None:
        wanted = ", ".join(partition.allow_qos) or f"any but {', '.join(partition.deny_qos)}"
        return f"wants another QOS than yours ({wanted})"
    return Place(partition, allowed, gives_way(site, partition, allowed), doubt(partition))


def why_closed(site: Site, partition: Partition, account: str) -> str:
    name = account.lower()
    others = [a.account for a in site.mine if a.partition == partition.name]
    elsewhere = f", open to {shortened(others)}" if others else ""
    is_known = site.association(account, partition.name) is not None
    is_stranger = site.needs_association and bool(site.mine) and not is_known
    is_other = bool(partition.allow_accounts) and name not in partition.allow_accounts
    is_named = bool(re.fullmatch(r"[\w.-]+", partition.name))
    rules = (
        (not is_named, "its name is not one that settings can hold"),
        (partition.state != "UP", f"its state is {partition.state}"),
        (partition.is_for_root, "for root alone"),
        (partition.needs_reservation, "for reservations alone"),
        (partition.min_nodes > 1, f"gives a job {partition.min_nodes} nodes or more (MinNodes)"),
        (is_other, f"open to other accounts: {shortened(partition.allow_accounts)}"),
        (name in partition.deny_accounts, f"closed to account {account}"),
        (is_stranger, f"closed to account {account}{elsewhere}"),
        (not partition.up, "none of its nodes takes jobs now"),
    )
    return next((why for applies, why in rules if applies), "")


def allowed_qos(site: Site, partition: Partition, account: str) -> str | None:
    """The QOS to ask for, "" if what Slurm chooses will do; None if none of ours will."""
    found = site.association(account, partition.name)
    default = site.qos_in_use(account, partition=partition.name)
    if found is None:
        return "" if not partition.allow_qos else partition.allow_qos[0]
    for name in dict.fromkeys((default, *found.qos)):
        is_open = not partition.allow_qos or name in partition.allow_qos
        if is_open and name not in partition.deny_qos:
            return "" if name == default else name
    return None


def doubt(partition: Partition) -> str:
    if partition.max_minutes is not None and partition.max_minutes < MINUTES:
        return f"jobs last {partition.max_minutes} minutes at most (MaxTime), too short for a pilot"
    if partition.gives_whole_nodes:
        return "gives whole nodes: a pilot would hold, and pay for, GPUs that it does not use"
    if TRIALS.search(partition.name):
        return "by its name for trying things out; add it if its rules allow campaigns"
    return ""


def gives_way(site: Site, partition: Partition, qos: str) -> str:
    """How a job there is preempted, or "" if it is not, as far as one can see."""
    if not site.preempts_by or site.preempts_by == "none":
        return ""
    found = site.qos.get(site.qos_in_use(site.default_account, qos, partition.name))
    if site.preempts_by == "qos" and found:
        above = [other.name for other in site.qos.values() if found.name in other.preempts]
        if above:
            return f"jobs of QOS {found.name} give way to those of {shortened(above)}"
    mode = partition.preempt_mode.upper()
    if site.preempts_by == "partition_prio" and mode not in ("", "OFF"):
        above = [p.name for p in site.partitions if takes_from(p, partition)]
        if above:
            grace = f", after {partition.grace_seconds} s" if partition.grace_seconds else ""
            return f"its jobs give way to those of {shortened(above)} ({mode}{grace})"
    if GIVES_WAY.search(partition.name):
        return "its jobs give way to others, as its name says"
    return ""


def takes_from(stronger: Partition, weaker: Partition) -> bool:
    shared = {node.name for node in stronger.nodes} & {node.name for node in weaker.nodes}
    return stronger.priority_tier > weaker.priority_tier and bool(shared)


def shortened(names: Iterable[str], most: int = 4) -> str:
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


# ---- devices -------------------------------------------------------------------------------------


def gpu_kinds(site: Site, places: list[Place]) -> list[Kind]:
    """Every sort of GPU and the places that have it: doubtful ones only if no others do."""
    with_gpus = [place for place in places if place.partition.gpus]
    sound = [place for place in with_gpus if not place.doubt] or with_gpus
    found: dict[Kind, dict[str, list[Node]]] = {}
    for place in sound:
        for node in place.partition.up:
            for slurm_type in node.gpus:
                kind = gpu_kind(site, slurm_type, node)
                found.setdefault(kind, {}).setdefault(place.partition.name, []).append(node)
    by_name = {place.partition.name: place for place in sound}
    return [
        measured(kind, [(by_name[name], nodes) for name, nodes in where.items()])
        for kind, where in found.items()
    ]


def gpu_kind(site: Site, slurm_type: str, node: Node) -> Kind:
    device, feature = gpus.device(slurm_type, node.features)
    fake = FAKE if site.name == TESTBED else ""
    return Kind(fake + (device or "gpu"), slurm_type, constraint=feature)


def measured(kind: Kind, where: list[tuple[Place, list[Node]]]) -> Kind:
    """A kind with its places in order, and with what they hold: each node counts once."""
    ordered = sorted(where, key=lambda found: preference(*found))
    lasting = [found for found in ordered if not found[0].gives_way] or ordered
    nodes = {node.name: node for _, there in lasting for node in there}.values()
    shares = [max(1, sum(node.gpus.values())) for node in nodes]
    return replace(
        kind,
        places=tuple(place for place, _ in ordered),
        count=sum(node.gpus.get(kind.type, 0) if kind.is_gpu else 1 for node in nodes),
        nodes=len(nodes),
        cores=max(1, min(node.cpus // n for node, n in zip(nodes, shares, strict=True))),
        memory_mb=min(node.memory_mb // n for node, n in zip(nodes, shares, strict=True)),
    )


def preference(place: Place, nodes: list[Node]) -> tuple[bool, bool, int, str]:
    """What lasts first, then the default, then the larger."""
    return bool(place.gives_way), not place.partition.is_default, -len(nodes), place.partition.name


def cpu_kind(places: list[Place]) -> Kind:
    """The cores of a site that has no GPUs for us."""
    sound = [place for place in places if not place.doubt] or places
    kind = measured(Kind("", is_gpu=False), [(p, list(p.partition.up)) for p in sound])
    return replace(kind, device=f"cpu-{min(4, kind.cores)}")


def choose(kinds: list[Kind]) -> tuple[list[Kind], list[Kind]]:
    """The kinds to screen and to validate on, one if they are the same, and the others.

    Screening wants many devices, validation the strongest. Whole GPUs of a known model before
    those we cannot name, and those before slices, which are too small for most programs.
    """
    groups = [
        [kind for kind in kinds if not kind.is_slice and kind.strength],
        [kind for kind in kinds if not kind.is_slice and not kind.strength],
        kinds,
    ]
    best = next(group for group in groups if group)
    screen = max(best, key=lambda kind: (kind.count, -kind.strength))
    validate = max(best, key=lambda kind: (kind.strength, kind.count))
    chosen = [screen] if screen.device == validate.device else [screen, validate]
    return chosen, [kind for kind in kinds if kind not in chosen]


# ---- tiers ---------------------------------------------------------------------------------------


def plan(site: Site, name: str, kind: Kind) -> TierPlan:
    """A tier on a kind of device: all its places share the first one's QOS."""
    first = kind.places[0]
    same = [place for place in kind.places if place.qos == first.qos]
    # Everything waits for the few experiments of validation: they should not give way.
    kept = [p for p in same if not p.gives_way] or same if name == "validate" else same
    places = tuple(kept[:AT_MOST])
    fake = kind.device.startswith(FAKE)
    threads = 1 if fake else min(4, kind.cores)
    most = 2 if fake else VALIDATING if name == "validate" else SCREENING
    pilots, bounded_by = most_pilots(site, kind, first, threads=threads, most=most)
    return TierPlan(
        name=name,
        kind=kind,
        places=places,
        spare=tuple(place for place in kind.places if place not in places),
        threads=threads,
        pilots=pilots,
        bounded_by=bounded_by,
        prices={p.partition.name: price(site, p, kind, threads) for p in kind.places},
    )


def most_pilots(
    site: Site, kind: Kind, place: Place, *, threads: int, most: int
) -> tuple[int, str]:
    """How many pilots to begin with, and which limit keeps them from being more, if one does."""
    bounds = [(most, "")]
    if kind.is_gpu:
        bounds.append((kind.count, "there are no more"))
    for holder, limits in site.holders(qos=place.qos, partition=place.partition.name):
        bounds += [
            (n, f"{holder} allows {what}") for n, what in pilot_bounds(limits, kind, threads)
        ]
    pilots, why = min(bounds, key=lambda bound: bound[0])
    return max(1, pilots), why


def pilot_bounds(limits: Bounds, kind: Kind, threads: int) -> list[tuple[int, str]]:
    """How many pilots fit under one holder's limits."""
    held = {"gres/gpu": 1, f"gres/gpu:{kind.type.lower()}": 1} if kind.is_gpu else {}
    held["cpu"] = threads
    amounts = [limits.grp_tres]
    counts = [limits.grp_jobs, getattr(limits, "max_jobs", None)]
    if isinstance(limits, Qos):
        amounts += [limits.max_tres_per_user, limits.max_tres_per_account]
        counts += [limits.max_jobs_per_user, limits.max_jobs_per_account]
    found = [(amount[name] // n, f"{name}={amount[name]}") for amount in amounts
             for name, n in held.items() if name in amount]  # fmt: skip
    return found + [(count, f"{count} running jobs") for count in counts if count is not None]


def price(site: Site, place: Place, kind: Kind, cpus: int) -> float | None:
    """Of a pilot's hour by the partition's TRESBillingWeights; None if it has none."""
    weights = place.partition.weights
    if not weights:
        return None
    memory = min(MEMORY_MB, kind.memory_mb)
    node = [cpus * weights.get("cpu", 0.0), memory * weights.get("mem", 0.0)]
    node.append(weights.get("node", 0.0))
    typed = f"gres/gpu:{kind.type.lower()}"
    gres = [weights.get(name, 0.0) for name in ("gres/gpu", typed) if kind.is_gpu]
    if "MAX_TRES" in site.price_flags:
        units = max(*node, *gres, 0.0)
    elif "MAX_TRES_GRES" in site.price_flags:
        units = max(node) + sum(gres)
    else:
        units = sum(node) + sum(gres)
    qos = site.qos.get(site.qos_in_use(site.default_account, place.qos, place.partition.name))
    return round(units * (qos.usage_factor if qos else 1.0), 4)
