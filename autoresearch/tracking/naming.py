"""What an attempt is called in W&B: the same attempt always has the same name.

Pure. Runs on compute nodes too; does not import wandb.
"""

from dataclasses import dataclass

from autoresearch.experiment import digest

GROUP_LIMIT = 128  # characters W&B takes for a group
TAG_LIMIT = 64  # and for a tag


@dataclass(frozen=True)
class RunName:
    """One W&B run: a campaign is a group, a tier a job type."""

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]


def run_id(campaign: str, experiment: str, attempt: int) -> str:
    """The W&B id of an attempt. Campaigns share a project, and may share experiments: the
    campaign's name is part of it."""
    return f"{experiment}-{attempt}-{digest(campaign, 6)}"


def run_name(campaign: str, experiment: str, attempt: int, tier: str) -> RunName:
    again = (f"attempt {attempt}",) if attempt > 1 else ()
    return RunName(
        id=run_id(campaign, experiment, attempt),
        name=f"{experiment}-{attempt}",
        group=campaign[:GROUP_LIMIT],
        job_type=tier,
        tags=(tier[:TAG_LIMIT], *again),
    )
