"""A proposal → the text of conf/cluster/SITE.yaml: settings, and as comments all that was found.

Written by hand: comments are what it is for, and only `config` knows a YAML library.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Iterator

from autoresearch.cluster.proposal import AT_MOST, TESTBED, Place, Proposal, TierPlan, shortened
from autoresearch.cluster.reasons import clock, gigabytes
from autoresearch.cluster.site import Bounds, Partition
from autoresearch.experiment import plural
from autoresearch.hardware import FAKE

WIDTH = 99  # a tier that is offered as a comment has one more
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(:[A-Za-z0-9_.-]+)*", re.ASCII)
WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"}  # not text

TIERS = (
    "A tier is a kind of node. Candidates are screened on the first, champions crowned on the last."
)

# How often to look, and how late a file may be seen: a real site's file system takes its time.
POLITE = (5, 180, 60)
QUICK = (2, 15, 0)

# Limits worth knowing: our field, sacctmgr's name, what it means.
MEANINGS = (
    ("max_tres_per_user", "MaxTRESPerUser", "what your running jobs may hold together"),
    ("max_tres_per_account", "MaxTRESPerAccount", "what the account's running jobs may hold"),
    ("grp_tres", "GrpTRES", "what all its running jobs may hold, whosever they are"),
    ("grp_tres_minutes", "GrpTRESMins", "minutes that may be used in all, by everybody"),
    ("grp_tres_run_minutes", "GrpTRESRunMins", "minutes that running jobs may still have to go"),
    ("max_tres", "MaxTRESPerJob", "what one job may hold"),
    ("min_tres", "MinTRESPerJob", "what a job must ask for"),
    ("max_jobs_per_user", "MaxJobsPerUser", "jobs of yours that run at once"),
    ("max_jobs_per_account", "MaxJobsPerAccount", "jobs of the account that run at once"),
    ("max_jobs", "MaxJobs", "jobs of yours that run at once"),
    ("grp_jobs", "GrpJobs", "jobs that run at once, whosever they are"),
    ("max_submit_per_user", "MaxSubmitJobsPerUser", "jobs of yours in the queue; a pilot is one"),
    ("max_submit_per_account", "MaxSubmitJobsPerAccount", "jobs of the account in the queue"),
    ("max_submit", "MaxSubmitJobs", "jobs of yours in the queue; a pilot is one"),
    ("grp_submit", "GrpSubmitJobs", "jobs in the queue, whosever they are"),
    ("max_minutes", "MaxWall", "how long a job may last"),
    ("grp_minutes", "GrpWall", "how long all its jobs may last together"),
)


def render(proposal: Proposal, name: str, when: str) -> str:
    """The whole file, ready to be used."""
    site = proposal.site
    lines = [
        *comment(
            f"{site.name or name}, as `autoresearch probe` found it on {when} for {site.user} "
            f"(Slurm {site.version or 'of a version unknown'})."
        ),
        *comment(f"To use it: autoresearch run cluster={name}"),
        *comment("What it leaves to you, and what was left out, stands at the end."),
        "",
        *cluster_lines(proposal),
        "",
        *comment(TIERS),
        *comment(why_these(proposal)),
        "tiers:",
        *(line for tier in proposal.tiers for line in tier_lines(tier)),
        *alternatives(proposal),
        "",
        *limits(proposal),
        "",
        *partitions(proposal),
    ]
    return "".join(f"{printable(line).rstrip()}\n" for line in lines)


def printable(line: str) -> str:
    """YAML knows no control characters, not even in comments."""
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def comment(text: str, indent: int = 0, hang: int = 0) -> list[str]:
    start = f"{' ' * indent}# "
    found = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=start + " " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return found or [start]


def setting(key: str, value: str, note: str = "", indent: int = 0) -> list[str]:
    """`key: value  # note`; a note that does not fit beside it comes first."""
    line = f"{' ' * indent}{key}: {value}"
    whole = f"{line:<{indent + 20}} # {note}" if note else line
    return [whole] if len(whole) <= WIDTH else [*comment(note, indent), line]


def quoted(text: str) -> str:
    """As YAML reads it back: text, whatever it looks like."""
    is_plain = PLAIN.fullmatch(text) and text.lower() not in WORDS
    return text if is_plain else json.dumps(text)


# ---- settings ------------------------------------------------------------------------------------


def cluster_lines(proposal: Proposal) -> Iterator[str]:
    site = proposal.site
    poll, limit, late = QUICK if site.name == TESTBED else POLITE
    yield "kind: slurm"
    yield from setting("poll_seconds", str(poll), "between two looks, one squeue each, at least")
    yield from setting("poll_limit", str(limit), "... at most")
    yield from setting(
        "file_seconds", str(late), "how late a file written on a node may be seen here"
    )
    yield ""
    yield from account_lines(proposal)
    yield from setting("constraint", '""', "features that nodes must have; a tier's own goes first")
    yield from setting("exclude", '""', "nodes to leave alone: node[01-03],node07")
    yield from setting("setup", "[]", "shell lines before a pilot starts: [module load cuda/12.4]")
    yield from setting("python", '""', 'how a node starts Python; "": with the Python you use here')
    yield from setting("options", "{}", "any other option of sbatch: {nice: 100, reservation: x}")
    yield from setting(
        "max_jobs", "0", "pilots of ours in the queue; 0: what the limits below leave"
    )


def account_lines(proposal: Proposal) -> Iterator[str]:
    site, account = proposal.site, proposal.account
    if site.silence:
        yield from comment(f"No accounts to be seen: {site.silence}. Slurm may not want one.")
    others = [name for name in site.accounts if name != account]
    note = f"who pays; also yours: {', '.join(others)}" if others else "who pays"
    yield from setting("account", quoted(account), note if account else '"": Slurm\'s own choice')
    found = site.association(account)
    mine = found.qos if found else ()
    default = site.qos_in_use(account)
    chosen = f'"": Slurm\'s own choice{f", here {default}" if default else ""}'
    more = [name for name in mine if name != default]
    yield from setting("qos", '""', f"{chosen}; also yours: {', '.join(more)}" if more else chosen)


def why_these(proposal: Proposal) -> str:
    tiers = proposal.tiers
    first = tiers[0].kind
    if not first.is_gpu:
        return "You may use no GPUs here, so there is one tier, on cores."
    if len(tiers) == 2:
        return (
            f"Screening wants many, and of {first.device} you may use {first.count}; validation "
            f"wants the strongest, {tiers[1].kind.device}. Scores of the two are never mixed."
        )
    if proposal.others:
        return f"One tier: of {first.device} there are most, and we know of nothing stronger here."
    return "One tier: there is one kind of GPU here."


def tier_lines(tier: TierPlan) -> Iterator[str]:
    kind = tier.kind
    yield f"  {tier.name}:"
    yield from comment(holds(tier), 4)
    if kind.is_gpu and not kind.strength:
        yield from comment(
            "Slurm does not say which GPU this is, and a pilot refuses one of another name: write "
            f"here what `nvidia-smi -L` says on a node, such as a100 (srun --gres={gres(tier)} "
            f"--partition={tier.places[0].partition.name} nvidia-smi -L)",
            4,
        )
    fake = "fake: dealt out like a GPU, computed on the CPU" if kind.device.startswith(FAKE) else ""
    yield from setting("device", quoted(kind.device), fake or "what makes scores comparable", 4)
    if kind.is_gpu:
        yield from setting("gres", quoted(gres(tier)), "what a pilot asks for", 4)
    if kind.constraint:
        note = "the feature of nodes that tells this GPU from others"
        yield from setting("constraint", quoted(kind.constraint), note, 4)
    yield from partition_lines(tier)
    if tier.qos:
        yield from setting(
            "qos", quoted(tier.qos), "the QOS of yours that these partitions take", 4
        )
    yield from share_lines(tier)
    yield from pilots_line(tier)
    yield from price_line(tier)


def gres(tier: TierPlan) -> str:
    return f"gpu:{tier.kind.type}:1" if tier.kind.type else "gpu:1"


def holds(tier: TierPlan) -> str:
    kind = tier.kind
    if not kind.is_gpu:
        return (
            f"{plural(kind.nodes, 'node')}. A score belongs to {kind.device}, whichever CPU it is."
        )
    share = f"a GPU's share is {kind.cores} cores and {kind.memory_mb // 1024} GB"
    nodes = plural(kind.nodes, "node")
    if kind.is_slice:
        return f"{kind.count} slices of GPUs on {nodes}: cheap, and too small for most programs."
    return f"{plural(kind.count, 'GPU')} on {nodes}; of a node, {share}."


def partition_lines(tier: TierPlan) -> Iterator[str]:
    yield from setting(
        "partitions", "", "where pilots may wait: each runs where there is room first", 4
    )
    for place in tier.places:
        yield from entry(f"- {quoted(place.partition.name)}", about(tier, place), 6)
    for place in tier.spare:
        yield from comment(
            f"- {place.partition.name}: {about(tier, place)}{why_spare(tier, place)}", 6, 2
        )


def entry(item: str, note: str, indent: int) -> list[str]:
    line = f"{' ' * indent}{item}"
    whole = f"{line:<24} # {note}"
    return [whole] if len(whole) <= WIDTH else [*comment(note, indent), line]


def about(tier: TierPlan, place: Place) -> str:
    parts = [lasts(place.partition), place.gives_way, place.doubt]
    if place.gives_way:
        parts.append("an experiment cut off is run again")
    price = tier.prices[place.partition.name]
    if price is not None and price != tier.price:
        parts.append(f"price {decimal(price)}")
    return "; ".join(part for part in parts if part)


def why_spare(tier: TierPlan, place: Place) -> str:
    if place.qos != tier.qos:
        return f"; not used: it wants QOS {place.qos or 'of your default'}, and a tier has one"
    if place.gives_way:
        return "; not used, as everything waits for validation: add it if GPUs are slow to come"
    return f"; not used: {AT_MOST} are enough"


def lasts(partition: Partition) -> str:
    if partition.max_minutes is None:
        return "no MaxTime"
    return f"MaxTime {clock(partition.max_minutes)}"


def share_lines(tier: TierPlan) -> Iterator[str]:
    kind = tier.kind
    if kind.is_gpu:
        yield from setting("gpus", "1", "GPUs of each experiment", 4)
    note = "CPU threads of each experiment, and cores of a pilot"
    yield from setting("threads", str(tier.threads), note, 4)
    if kind.device.startswith(FAKE):
        yield from setting("memory_gb", "0", "of a pilot; 0: what the task's limits add up to", 4)
    else:
        yield from setting("memory_gb", "0", "of a pilot; 0: what the task's limits add up to", 4)


def pilots_line(tier: TierPlan) -> list[str]:
    why = f"; {tier.bounded_by}" if tier.bounded_by else "; as you like, the queue is shared"
    return setting("pilots", str(tier.pilots), f"experiments at once{why}", 4)


def price_line(tier: TierPlan) -> list[str]:
    if tier.price is None:
        return setting("price", "1", "per pilot hour; the site weighs nothing, so: hours", 4)
    note = f"per pilot hour, by the billing weights of {tier.places[0].partition.name}"
    return setting("price", decimal(tier.price), note, 4)


def decimal(value: float) -> str:
    return f"{value:f}".rstrip("0").rstrip(".")


# ---- what else was found -------------------------------------------------------------------------


def alternatives(proposal: Proposal) -> Iterator[str]:
    """Tiers that could be, to be uncommented: what is a comment in them stays one."""
    if proposal.others:
        yield ""
        yield from comment(
            "Other devices. Take the # from the lines of one to have it as a tier too."
        )
    for tier in proposal.others:
        yield from (f"#{line}" for line in tier_lines(tier))


def limits(proposal: Proposal) -> Iterator[str]:
    site = proposal.site
    yield "# Limits"
    size = site.max_array
    yield from bullet(f"MaxArraySize {size}: an array of jobs has at most {size} tasks")
    for holder, bounds in all_holders(proposal):
        for value, name, meaning in known(bounds):
            yield from bullet(f"{holder}, {name} {value}: {meaning}")
    if site.silence:
        yield from bullet("those of accounts and QOS are not known")
    elif not site.has_limits:
        yield from bullet("those of accounts and QOS are not enforced here")
    for name in proposal_qos(proposal):
        found = site.qos.get(name)
        if found and found.usage_factor != 1:
            yield from bullet(f"QOS {name} is charged {found.usage_factor:g} times (UsageFactor)")


def bullet(text: str) -> list[str]:
    return comment(f"  {text}", hang=4)


def proposal_qos(proposal: Proposal) -> list[str]:
    found = proposal.site.association(proposal.account)
    asked = [tier.qos for tier in proposal.tiers]
    return list(dict.fromkeys(name for name in (*asked, *(found.qos if found else ())) if name))


def all_holders(proposal: Proposal) -> Iterable[tuple[str, Bounds]]:
    """Whose limits the tiers' jobs obey, each once; then those of the user's other QOS."""
    site = proposal.site
    found: dict[str, Bounds] = {}
    for tier in proposal.tiers:
        for place in tier.places:
            found.update(site.holders(qos=tier.qos, partition=place.partition.name))
    for name in proposal_qos(proposal):
        if name in site.qos and site.has_limits:
            found.setdefault(f"QOS {name}", site.qos[name])
    return found.items()


def known(bounds: Bounds) -> Iterator[tuple[str, str, str]]:
    for field, name, meaning in MEANINGS:
        value = getattr(bounds, field, None)
        if isinstance(value, dict) and value:
            parts = (f"{n}={gigabytes(v) if n == 'mem' else v}" for n, v in value.items())
            yield ",".join(parts), name, meaning
        elif isinstance(value, int):
            yield clock(value) if "minutes" in field else str(value), name, meaning


def partitions(proposal: Proposal) -> Iterator[str]:
    site = proposal.site
    used: dict[str, list[str]] = {}
    for tier in proposal.tiers:
        for place in tier.places:
            used.setdefault(place.partition.name, []).append(tier.name)
    yield "# Partitions, and how long a job may last: a pilot's life fits into MaxTime"
    for partition in site.partitions:
        name = partition.name
        why = proposal.left_out.get(name)
        where = f"used by {' and '.join(used[name])}" if name in used else "see above"
        state = f"left out: {why}" if why else where
        yield from bullet(f"{name}: {contents(partition)}, {lasts(partition)}; {state}")


def contents(partition: Partition) -> str:
    held = [f"{count} {kind or 'GPUs without a name'}" for kind, count in partition.gpus.items()]
    out = len(partition.nodes) - len(partition.up)
    nodes = plural(len(partition.nodes), "node") + (f" ({out} down or drained)" if out else "")
    default = ", Slurm's default" if partition.is_default else ""
    return f"{nodes}{f' with {shortened(held)}' if held else ''}{default}"
