"""What was frozen for an attempt, as the referee reads it: checked against its own hashes."""

import hashlib
import json

from autoresearch.experiment import Attempt, Experiment, Failure, Json, Result
from autoresearch.layout import Layout, read_json
from autoresearch.node.failure import AttemptFailed
from autoresearch.node.progress import Claim

PARAMETERS = "parameters"  # of a run's config: those whose names are taken
OURS = {  # what a run's config says besides the program's parameters
    *("experiment", "attempt", "tier", "purpose", "wave", "planner"),
    *("candidate", "program", "seed", "split", "cell", "device", "budget", "data", "software"),
    *("ruler", "pilot", PARAMETERS),
}


def place(parameter: str) -> str:
    """Where a run's config has a parameter of the program."""
    return f"{PARAMETERS}.{parameter}" if parameter in OURS else parameter


def read_experiment(layout: Layout, claim: Claim) -> Experiment:
    """Raises AttemptFailed if the frozen experiment cannot be read."""
    path = layout.experiment_json(claim.attempt.experiment)
    try:
        return Experiment.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{path} should be a frozen experiment, but: {error!r}"
        raise AttemptFailed(Failure.node_failed, reason) from error


def run_of(layout: Layout, campaign: str, tier: str, attempt: Attempt, config: Json) -> Json:
    """An attempt as those who watch are told of it, with all that identifies it as `config`.

    The wave that asked for it, and why, are for people: no part of what an experiment is.
    """
    record = read_json(layout.experiment_json(attempt.experiment)) or {}
    context = record.get("context", {})
    who = {"experiment": attempt.experiment, "attempt": attempt.number}
    return {
        "campaign": campaign,
        "tier": tier,
        **who,
        **context,
        "config": {**config, **who, "tier": tier, **context},
    }


def identity(experiment: Experiment, result: Result) -> Json:
    """All that identifies an experiment, flat: what W&B can filter, group and plot by."""
    parameters = result.parameters or experiment.candidate.overrides
    taken = {name: value for name, value in parameters.items() if name in OURS}
    return {
        **{name: value for name, value in parameters.items() if name not in OURS},
        **({PARAMETERS: taken} if taken else {}),
        "candidate": experiment.candidate.key,
        "program": experiment.candidate.program,
        "seed": experiment.seed,
        "split": experiment.split,
        "cell": experiment.cell.key,
        "device": experiment.cell.device,
        "budget": str(experiment.cell.budget),
        "data": experiment.cell.data,
        "software": experiment.cell.software,
        "ruler": experiment.cell.ruler,
        "pilot": result.pilot,
    }


def read_program(layout: Layout, experiment: Experiment) -> bytes:
    """train.py, checked against the experiment's hash. Raises AttemptFailed."""
    path = layout.program(experiment.id)
    try:
        text = path.read_bytes()
    except OSError as error:
        reason = f"{path} should be the program, but: {error.strerror}"
        raise AttemptFailed(Failure.node_failed, reason) from error
    found = hashlib.sha256(text).hexdigest()
    if found != experiment.candidate.program:
        wanted = experiment.candidate.program
        reason = f"{path} should have the SHA-256 {wanted:.12}…, but has {found:.12}…"
        raise AttemptFailed(Failure.node_failed, reason)
    return text
