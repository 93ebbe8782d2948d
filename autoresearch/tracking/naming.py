"""What an attempt is called in W&B: the same attempt always has the same name; and what a program
calls what it logs, made fit to show there.

Pure. Runs on compute nodes too; does not import wandb.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autoresearch.experiment import Json, digest, one_line

GROUP_LIMIT = 128  # characters W&B takes for a group
TAG_LIMIT = 64  # and for a tag
NAME_LIMIT = 100  # characters of a name that a program has chosen
TEXT_LIMIT = 1000  # and of a text
OTHERS = "program/"  # what a name begins with that a program should not have chosen
RESULT = {  # what a run's summary says of its result, besides seconds and probes
    *("bpb", "failure", "reason", "steps", "tokens", "weights", "peak_memory"),
    *("result", "signature"),
}


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


def shown(values: Mapping[str, object]) -> Json:
    """Names and texts of a program as W&B may show them; what has no name is left out."""
    named = {one_line(name, NAME_LIMIT): fit(value) for name, value in values.items()}
    return {name: value for name, value in named.items() if name}


def fit(value: object) -> object:
    if isinstance(value, dict):
        return shown(value)
    return one_line(value, TEXT_LIMIT) if isinstance(value, str) else value


def logged(values: Mapping[str, object]) -> Json:
    """The same of what a program logs: a name of W&B's own, or of a result's, is not for it."""
    return {OTHERS + name if is_taken(name) else name: v for name, v in shown(values).items()}


def is_taken(name: str) -> bool:
    return name.startswith(("_", "seconds/", "probes/")) or name in RESULT
