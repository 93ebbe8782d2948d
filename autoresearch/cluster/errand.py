"""One job beside all campaigns: submitted like a pilot, found by its name, followed to its end.

Whoever asks for the same errand while it waits or runs is shown that job: it is submitted once.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autoresearch.cluster.commands import NoAnswer, ask, is_up
from autoresearch.cluster.interface import Phase
from autoresearch.cluster.limits import read_limits
from autoresearch.cluster.options import Options, arguments, sbatch_options
from autoresearch.cluster.proposal import Place, preference, verdict
from autoresearch.cluster.queue import Row, read_squeue, squeue
from autoresearch.cluster.site import Site
from autoresearch.cluster.states import meaning
from autoresearch.cluster.survey import read_site, user_name
from autoresearch.errors import ClusterError
from autoresearch.settings import Cluster, Tier

LONGEST = 240  # minutes a job asks for, if its partition allows so many
THREADS = 4  # at least, if nobody says how many
BASE_GB, THREAD_GB = 2.0, 0.25
LOOK_SECONDS = 0.5  # between two looks at the log
QUEUE_SECONDS = 2.0  # ... at the queue, at first; then ever more
QUEUE_LIMIT = 30.0
COMPLETED = "COMPLETED"  # with exit code 0
SCRIPT = """\
#!/bin/bash
# Written by autoresearch.
{setup}
exec {command}
"""


@dataclass(frozen=True)
class Errand:
    """What a job does. `command` is shell text; a job's log is `log` with its number behind."""

    name: str
    command: str
    log: Path
    env: dict[str, str]
    threads: int = 0  # 0: as many as fit where it runs

    def log_of(self, job: str) -> Path:
        return self.log.with_name(f"{self.log.name}-{job}.log")


def start(cluster: Cluster, errand: Errand, partition: str, tell: Callable[[str], None]) -> str:
    """The number of the job that does it: one that is there already, or a new one.

    Raises ClusterError, in sbatch's own words if it refuses.
    """
    try:
        found = find(errand.name)
    except NoAnswer as silence:
        raise silent(silence) from silence
    if found:
        tell(f"job {found.job} does this already")
        return found.job
    tier = place(cluster, partition)
    job = submit(cluster, tier, errand)
    tell(f"job {job} in partition {','.join(tier.partitions)}, its log is {errand.log_of(job)}")
    return job


def find(name: str) -> Row | None:
    """Our job of this name that waits or runs. Raises NoAnswer."""
    ours = [row for row in jobs() if row.name == name and meaning(row.state)[0] is not Phase.gone]
    return ours[-1] if ours else None


def jobs() -> list[Row]:
    """All that the user has in the queue. Raises NoAnswer."""
    return read_squeue(ask(*squeue(user_name())))


def silent(silence: NoAnswer) -> ClusterError:
    return ClusterError(f"Slurm should answer, but: {silence}; try again later")


# ---- where, and for how long -----------------------------------------------------------------


def place(cluster: Cluster, partition: str = "") -> Tier:
    """Where a job without GPUs may run: the partition that is named, the cluster's first tier
    without GPUs, or what Slurm shows us. Raises ClusterError.
    """
    if partition:
        return Tier(partitions=(partition,))
    for tier in cluster.tiers.values():
        if not (tier.gpus or tier.gres):
            return tier
    try:
        return without_gpus(read_site(), cluster.account)
    except NoAnswer as silence:
        raise silent(silence) from silence


def without_gpus(site: Site, account: str = "") -> Tier:
    """The partition to choose of those a site shows. Raises ClusterError."""
    account = account or site.default_account
    verdicts = [verdict(site, each, account) for each in site.partitions if not each.gpus]
    found = [each for each in verdicts if isinstance(each, Place)]
    if not found:
        raise ClusterError(
            "there should be a partition without GPUs for this job, but Slurm shows none that is "
            "open to you; say --partition NAME"
        )
    best = min(found, key=lambda each: (bool(each.doubt), preference(each, [*each.partition.up])))
    return Tier(partitions=(best.partition.name,), qos=best.qos)


def minutes(cluster: Cluster, tier: Tier) -> int:
    """How long a job may run there."""
    with suppress(NoAnswer):
        allowed = read_limits(cluster.account, tier.qos or cluster.qos).max_minutes
        bounds = [allowed.get(name) for name in tier.partitions]
        return min([LONGEST, *(bound for bound in bounds if bound)])
    return LONGEST


def options(cluster: Cluster, tier: Tier, errand: Errand) -> Options:
    threads = errand.threads or max(THREADS, tier.cpus, tier.threads)
    memory_gb = BASE_GB + THREAD_GB * threads
    ours: Options = {
        "job-name": errand.name,
        "time": str(minutes(cluster, tier)),
        "output": str(errand.log_of("%j")),
        "open-mode": "append",
        "cpus-per-task": str(threads),
    }
    return sbatch_options(cluster, tier, ",".join(tier.partitions), memory_gb) | ours


def submit(cluster: Cluster, tier: Tier, errand: Errand) -> str:
    """The job's number. Raises ClusterError."""
    words = arguments(options(cluster, tier, errand))
    errand.log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", prefix="autoresearch-", encoding="utf-8") as file:
        file.write(SCRIPT.format(setup="\n".join(cluster.setup) or ":", command=errand.command))
        file.flush()
        try:
            said = ask("sbatch", "--parsable", *words, file.name, env=errand.env)
        except NoAnswer as refusal:
            if not is_up():
                raise silent(refusal) from refusal
            raise ClusterError(
                f"Slurm should take a job in partition {','.join(tier.partitions)}, but says: "
                f"{str(refusal).removeprefix('sbatch: ')}; say --partition NAME, or see to "
                "cluster.account, cluster.qos"
            ) from refusal
    return said.strip().partition(";")[0]


# ---- what becomes of it ----------------------------------------------------------------------


def follow(job: str, log: Path, tell: Callable[[str], None], lag: float = 0.0) -> str:
    """Until a job has ended: its log goes to stdout, how it stands to `tell`.

    Returns in words what went wrong, "" if nothing is known to. `lag` is what files may take.
    """
    shown, last, wait, looked = 0, "", QUEUE_SECONDS, 0.0
    while True:
        shown += copy(log, shown)
        if time.monotonic() >= looked + wait:
            looked, wait = time.monotonic(), min(QUEUE_LIMIT, wait * 1.2)
            phase, words = standing(job)
            if phase is Phase.gone:
                time.sleep(lag)
                copy(log, shown)
                return words
            if words and words != last:
                tell(f"job {job} {words}")
                last = words
        time.sleep(LOOK_SECONDS)


def standing(job: str) -> tuple[Phase | None, str]:
    """Where a job stands, and in words; None if Slurm does not say."""
    try:
        row = next((row for row in jobs() if row.job == job), None)
    except NoAnswer:
        return None, ""
    if row is None or row.state == COMPLETED:
        return Phase.gone, ""
    phase, _, words = meaning(row.state)
    if phase is Phase.waiting:
        return phase, f"waits: {row.reason}"
    return phase, f"runs on {row.node}" if phase is Phase.running else f"it {words}"


def copy(log: Path, start: int) -> int:
    """Print what a log holds from byte `start` on; how many bytes that was."""
    try:
        with log.open("rb") as file:
            file.seek(start)
            data = file.read()
    except OSError:  # not there yet, or for a moment out of sight
        return 0
    sys.stdout.write(data.decode("utf-8", "replace"))
    sys.stdout.flush()
    return len(data)
