"""What Slurm's limits leave of a submission, and what a waiting job waits for, in words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autoresearch.cluster import reasons
from autoresearch.cluster.reasons import is_forever
from autoresearch.cluster.site import Association, Bounds, Partition, Qos, Site
from autoresearch.cluster.survey import read_site

__all__ = ["Limits", "is_forever", "limits_of", "read_limits"]


@dataclass(frozen=True)
class Limits:
    """What bounds the jobs of one account and QOS. None: nothing that we know of."""

    max_array: int  # an array's indices are below it
    max_submit: int | None  # jobs in the queue at once; each task of an array counts
    max_jobs: int | None  # jobs running at once
    max_minutes: dict[str, int | None]  # of one job, by partition
    site: Site

    def describe(self, reason: str, account: str = "", qos: str = "", partition: str = "") -> str:
        """A reason of squeue's as a short sentence, with the limit's name and value if known."""
        return reasons.describe(self.site, reason, account, qos, partition)


def read_limits(account: str = "", qos: str = "") -> Limits:
    """Ask Slurm; "" is what Slurm would choose. Raises NoAnswer, or ClusterError without Slurm."""
    return limits_of(read_site(nodes=False), account, qos)


def limits_of(site: Site, account: str = "", qos: str = "") -> Limits:
    holders = [bounds for _, bounds in site.holders(account, qos)]
    return Limits(
        max_array=site.max_array,
        max_submit=smallest(bound for holder in holders for bound in submit_bounds(holder)),
        max_jobs=smallest(bound for holder in holders for bound in job_bounds(holder)),
        max_minutes={
            partition.name: max_minutes(site, account, qos, partition)
            for partition in site.partitions
        },
        site=site,
    )


def smallest(bounds: Iterable[int | None]) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def submit_bounds(holder: Bounds) -> Iterator[int | None]:
    yield holder.grp_submit
    if isinstance(holder, Association):
        yield holder.max_submit
    if isinstance(holder, Qos):
        yield holder.max_submit_per_user
        yield holder.max_submit_per_account


def job_bounds(holder: Bounds) -> Iterator[int | None]:
    yield holder.grp_jobs
    if isinstance(holder, Association):
        yield holder.max_jobs
    if isinstance(holder, Qos):
        yield holder.max_jobs_per_user
        yield holder.max_jobs_per_account


def max_minutes(site: Site, account: str, qos: str, partition: Partition) -> int | None:
    holders = [bounds.max_minutes for _, bounds in site.holders(account, qos, partition.name)]
    return smallest([partition.max_minutes, *holders])
