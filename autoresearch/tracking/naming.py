"""What an attempt is called in W&B: the same attempt always has the same name.

Pure. Runs on compute nodes too; does not import wandb.
"""

from dataclasses import dataclass

from autoresearch.experiment import Json, digest

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


def run_name(run: Json) -> RunName:
    """What an attempt is called; `run` as a logger's `start` event describes it."""
    experiment, attempt, tier = run["experiment"], run["attempt"], run["tier"]
    cell = run["config"].get("cell")
    tags = (
        tier,
        f"wave {run['wave']}" if run.get("wave") else None,
        run.get("planner"),
        run.get("purpose"),
        f"cell {cell}" if cell else None,
        f"attempt {attempt}" if attempt > 1 else None,
    )
    return RunName(
        id=run_id(run["campaign"], experiment, attempt),
        name=f"{experiment}-{attempt}",
        group=run["campaign"][:GROUP_LIMIT],
        job_type=tier,
        tags=tuple(dict.fromkeys(tag[:TAG_LIMIT] for tag in tags if tag)),
    )
