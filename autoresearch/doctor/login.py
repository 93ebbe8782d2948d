"""What can be checked on the login node, before anything is submitted."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from autoresearch.cluster.commands import NoAnswer, ask, is_up
from autoresearch.cluster.environment import SECRET, SECRET_VALUE
from autoresearch.cluster.options import arguments
from autoresearch.doctor import verdict
from autoresearch.doctor.advice import Finding, State
from autoresearch.doctor.checkup import Checkup, tried, wrong_with_links
from autoresearch.doctor.jobs import MINUTES, Place, asked, variables
from autoresearch.errors import ClusterError, DataError
from autoresearch.experiment import Json
from autoresearch.node.data import Prepared
from autoresearch.settings import Settings
from autoresearch.tracking import server

# Cheap questions that only a working command answers.
QUESTIONS = {
    "sbatch": ("sbatch", "--version"),
    "squeue": ("squeue", "-h", "-u", str(os.getuid()), "-o", "%i"),
    "sacct": ("sacct", "-n", "-X", "-o", "JobID", "-S", "now"),
}


def request(settings: Settings) -> Json:
    """What a checkup must know."""
    address = urlsplit(server.address(settings.tracker))
    return {
        "data": settings.task.data.directory,
        "secret": SECRET.pattern,
        "url": SECRET_VALUE.pattern,
        "machine": address.netloc,
        "host": address.hostname or "",
        "port": address.port or (80 if address.scheme == "http" else 443),
    }


def commands(settings: Settings) -> Iterator[Finding]:
    """Whether we are on a login node of a Slurm that answers."""
    if settings.cluster.kind != "slurm":
        return
    job = os.environ.get("SLURM_JOB_ID")
    inside = f"SLURM_JOB_ID={job}: this is job {job}"
    yield Finding(
        "inside", State.problem if job else State.ok, inside if job else "no SLURM_JOB_ID"
    )
    for check, question in QUESTIONS.items():
        yield answer(check, question)


def answer(check: str, question: tuple[str, ...]) -> Finding:
    try:
        said = ask(*question, patience=60.0)
    except (NoAnswer, ClusterError) as error:
        return Finding(check, State.problem, str(error).partition(";")[0])
    return Finding(check, State.ok, said.strip() if check == "sbatch" else "answers")


def parent(settings: Settings) -> Path:
    """Where the campaign's directory would be made: the nearest folder above it that exists."""
    above = Path(settings.dir).parents
    return next(folder for folder in above if folder.is_dir())


def directory(folder: Path) -> Iterator[Finding]:
    """What the campaign's file system can do, tried in a folder of ours on it."""
    yield Finding("directory", State.ok, f"{folder.parent} can be written")
    try:
        wrong = wrong_with_links(folder)
    except OSError as error:
        wrong = error.strerror or str(error)
    yield Finding("links", State.problem if wrong else State.ok, wrong or "work")


def data(settings: Settings) -> Finding:
    """Whether there is prepared data, all of it."""
    place = Path(settings.task.data.directory)
    try:
        prepared = Prepared.open(place)
    except DataError as error:
        return Finding("data", State.problem, str(error).rpartition(";")[0])
    fact = tried(Checkup(place, request(settings)), "data")
    if "error" in fact:
        return Finding("data", State.problem, fact["error"])
    if fact["value"]["wrong"]:
        wrong = ", ".join(fact["value"]["wrong"][:3])
        return Finding("data", State.problem, f"in {place}, not as the manifest says: {wrong}")
    return Finding("data", State.ok, f"{place}, manifest {prepared.id[:12]}")


def key(settings: Settings) -> Iterator[Finding]:
    """Whether W&B knows us, if it is asked for."""
    if settings.tracker.kind == "wandb":
        asks = request(settings)
        has = tried(Checkup(Path(), asks), "key").get("value", False)
        where = f"{asks['machine']} in ~/.netrc"
        if not has:
            yield Finding("key", State.problem, f"there is no {where}")
            return
        account = server.ask(server.address(settings.tracker))
        if account.is_refused:
            yield Finding("key", State.problem, account.problem)
        else:
            yield Finding("key", State.ok, where)


def options(settings: Settings, place: Place) -> Finding:
    """Whether sbatch would take a pilot, in its own words if not."""
    wanted = arguments(asked(settings.cluster, place))
    command = ("sbatch", "--test-only", f"--time={MINUTES}", *wanted, "--wrap", "true")
    state, found = State.ok, " ".join(wanted)
    try:
        ask(*command, env=variables(settings.dir))
    except NoAnswer as refusal:
        state = State.problem if is_up() else State.unknown
        found = f"{str(refusal).removeprefix('sbatch: ')} ({' '.join(wanted)})"
    return Finding("options", state, found, place.name, place.partition)


def clock(folder: Path) -> float:
    """Our clock minus the file server's."""
    fact = tried(Checkup(folder, {}), "clock")
    return verdict.offset(**fact["value"]) if "value" in fact else 0.0
