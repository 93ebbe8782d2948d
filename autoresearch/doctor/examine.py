"""The examination: the login node first, then a tiny job in every place where pilots may run.

Nothing is left behind: jobs are cancelled and files removed, however it ends.
"""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoresearch.cluster.commands import NoAnswer, last_line
from autoresearch.cluster.interface import Phase, Sighting
from autoresearch.doctor import checkup, login, verdict
from autoresearch.doctor.advice import Finding, State
from autoresearch.doctor.jobs import MINUTES, Jobs, LocalJobs, Place, SlurmJobs
from autoresearch.errors import DataError
from autoresearch.experiment import Json
from autoresearch.layout import read_json, write_atomically
from autoresearch.node.data import manifest_id
from autoresearch.node.device import software
from autoresearch.settings import Settings

LOOKS = 10  # at the queue, per waiting time so far
LOOK_SECONDS = 0.1  # between two looks for files
QUEUE_SECONDS = 2.0  # ... at the queue, at first; then ever more
GRACE_SECONDS = 10.0  # for the files of a job that has ended, besides cluster.file_seconds
NO_REASON = "None"  # so squeue says of a job that it has not looked at yet
NEVER_SECONDS = 6.0  # a reason of this kind that stays so long will stay
NEVER = re.compile(
    r"Held|PerJob|MinGRES|BadConstraints|Invalid|NotAllowed|Partition(Time|Node)Limit|NeverSatis"
)
LIMIT = re.compile(r"^(QOS|Assoc|Partition(Down|Inactive))|ReqNodeNotAvail")


@dataclass
class Patient:
    """One checkup under way."""

    place: Place
    folder: Path
    job: str
    began: float  # monotonic
    waiting: str = ""  # why, as Slurm says; "" once it runs
    since: float = 0.0  # ... it waits for that reason; monotonic
    started: float | None = None  # monotonic, as are the following
    ended: float | None = None
    words: str = ""  # how it ended, as Slurm says
    node: str = ""
    delay: float | None = None  # from writing a greeting there to reading it here, by two clocks

    @property
    def facts(self) -> Json:
        return read_json(self.folder / "facts.json") or {}

    def answer(self) -> None:
        """Reply to the checkup's greeting once we see it."""
        hello = read_json(self.folder / "hello.json") if self.delay is None else None
        if hello is not None:
            self.delay = time.time() - hello["time"]
            write_atomically(self.folder / "reply.json", json.dumps({"seen": time.time()}))
            self.node = self.node or hello["host"]
            self.started, self.waiting = self.started or time.monotonic(), ""

    def take(self, sighting: Sighting | None) -> None:
        """What the queue says; a job that it knows no more has ended."""
        now = time.monotonic()
        if sighting is None:
            sighting = Sighting(Phase.gone, "left the queue")
        self.node = sighting.node or self.node
        if sighting.phase is Phase.waiting:
            self.since = self.since if self.waiting == sighting.reason else now
            self.waiting = sighting.reason or NO_REASON
            return
        self.waiting = ""
        self.started = self.started or now
        if sighting.phase is Phase.gone and self.ended is None:
            self.ended, self.words = now, sighting.reason

    def is_over(self, settings: Settings, minutes: float) -> bool:
        """Whether there is nothing to wait for any more."""
        now = time.monotonic()
        if self.ended is not None:
            grace = GRACE_SECONDS + settings.cluster.file_seconds
            return bool(self.facts.get("complete")) or now > self.ended + grace
        if self.started is None:
            will_never = NEVER.search(self.waiting) and now > self.since + NEVER_SECONDS
            return bool(will_never) or now > self.began + minutes * 60
        return bool(self.facts.get("complete")) or now > self.started + MINUTES * 60 + 60


def examine(settings: Settings, minutes: float, tell: Callable[[str], None]) -> list[Finding]:
    """All findings, the login node's first. `minutes` are those to wait in the queue."""
    found = list(login.commands(settings))
    try:
        with exchange(login.parent(settings)) as folder:
            found += login.directory(folder)
            found += [login.data(settings), *login.key(settings)]
            if not any(f.check in ("sbatch", "squeue") and f.breaks for f in found):
                found += examine_nodes(settings, minutes, folder, tell)
    except OSError as error:
        words = f"{error.filename or login.parent(settings)}: {error.strerror}"
        found.append(Finding("directory", State.problem, words))
    return found


@contextmanager
def exchange(parent: Path) -> Iterator[Path]:
    """A folder beside the campaign's, on the file system that it would use. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix=".autoresearch-doctor-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def examine_nodes(
    settings: Settings, minutes: float, folder: Path, tell: Callable[[str], None]
) -> list[Finding]:
    found: list[Finding] = []
    all_places = places(settings)
    if settings.cluster.kind == "slurm":
        found += [login.options(settings, place) for place in all_places]
        refused = {(f.tier, f.partition) for f in found if f.state is not State.ok}
        all_places = [p for p in all_places if (p.name, p.partition) not in refused]
    jobs = clinic(settings, folder.name.removeprefix("."))
    try:
        patients, refusals = admit(jobs, settings, all_places, folder)
        tell(f"started {', '.join(f'job {p.job}' for p in patients) or 'no job'}")
        wait(jobs, settings, patients, minutes, tell)
    finally:
        jobs.cancel()
    wanted = {place.name: wants(settings, place, folder) for place in all_places}
    for patient in patients:
        refusals += diagnose(jobs, patient, wanted[patient.place.name])
    order = [(place.name, place.partition) for place in places(settings)]
    return sorted(found + refusals, key=lambda f: order.index((f.tier, f.partition)))


def places(settings: Settings) -> list[Place]:
    """Every partition of every tier; on this machine, every tier."""
    return [
        Place(name, tier, partition)
        for name, tier in settings.cluster.tiers.items()
        for partition in (tier.partitions if settings.cluster.kind == "slurm" else ("",))
    ]


def clinic(settings: Settings, name: str) -> Jobs:
    if settings.cluster.kind == "slurm":
        return SlurmJobs(settings.cluster, settings.dir, name)
    return LocalJobs(settings.cluster, settings.dir)


def admit(
    jobs: Jobs, settings: Settings, all_places: Sequence[Place], folder: Path
) -> tuple[list[Patient], list[Finding]]:
    """Submit a checkup per place; those that Slurm refuses at the last moment are findings."""
    patients, refusals = [], []
    for number, place in enumerate(all_places):
        room = folder / str(number)
        room.mkdir()
        shutil.copyfile(checkup.__file__, room / "checkup.py")
        write_atomically(room / "request.json", json.dumps(login.request(settings)))
        try:
            job = jobs.start(place, room)
        except NoAnswer as refusal:
            said = Finding("options", State.problem, str(refusal), place.name, place.partition)
            refusals.append(said)
        else:
            patients.append(Patient(place, room, job, time.monotonic()))
    return patients, refusals


def wait(
    jobs: Jobs,
    settings: Settings,
    patients: Sequence[Patient],
    minutes: float,
    tell: Callable[[str], None],
) -> None:
    """Until every checkup is through, has failed, or has waited too long."""
    began = looked = time.monotonic()
    while here := [p for p in patients if not p.is_over(settings, minutes)]:
        for patient in here:
            patient.answer()
        if time.monotonic() > looked + max(QUEUE_SECONDS, (looked - began) / LOOKS):
            looked = time.monotonic()
            before = [(p.waiting, p.node) for p in here]
            observe(jobs, here)
            if before != [(p.waiting, p.node) for p in here]:
                tell("; ".join(map(progress, here)))
        time.sleep(LOOK_SECONDS)


def observe(jobs: Jobs, patients: Sequence[Patient]) -> None:
    try:
        seen: Mapping[str, Sighting] = jobs.look()
    except NoAnswer:
        return
    for patient in patients:
        patient.take(seen.get(patient.job))


def progress(patient: Patient) -> str:
    waiting = "waits" if patient.waiting == NO_REASON else f"waits: {patient.waiting}"
    state = waiting if patient.waiting else f"runs on {patient.node}"
    return f"job {patient.job} {state}"


# ---- what came of it -------------------------------------------------------------------------


def wants(settings: Settings, place: Place, folder: Path) -> verdict.Wanted:
    try:
        manifest = manifest_id(Path(settings.task.data.directory))
    except DataError:
        manifest = ""
    return verdict.Wanted(
        tier=place.tier,
        tracker=settings.tracker,
        software=software(),
        manifest=manifest,
        memory_gb=settings.task.limits.memory_gb,
        file_seconds=settings.cluster.file_seconds,
        login_offset=login.clock(folder),
        host=login.request(settings)["host"],
        sandbox=settings.cluster.sandbox,
    )


def diagnose(jobs: Jobs, patient: Patient, wanted: verdict.Wanted) -> list[Finding]:
    """The findings of one place."""
    facts = patient.facts
    found = list(course(jobs, patient, facts))
    if facts:
        found += verdict.judge(wanted, facts, patient.delay)
    place = patient.place
    return [Finding(*each, place.name, place.partition, patient.node) for each in found]


def course(jobs: Jobs, patient: Patient, facts: Json) -> Iterator[verdict.Named]:
    """How the job went."""
    waited = (patient.started or time.monotonic()) - patient.began
    if patient.started is None:
        is_bound = NEVER.search(patient.waiting) or LIMIT.search(patient.waiting)
        found = f"job {patient.job} still waited after {waited:.0f} s: {patient.waiting}"
        yield "queue", State.problem if is_bound else State.unknown, found
        return
    where = f" on {patient.node}" if patient.node else ""
    yield "queue", State.ok, f"job {patient.job} started{where} after {waited:.0f} s"
    failed = read_lines(patient.folder / "setup")
    if failed:
        yield "setup", State.problem, "; ".join(failed)
    if not facts:
        yield stillborn(jobs, patient)
    elif not facts.get("complete"):
        said = last_words(patient.folder)
        yield "job", State.problem, f"{patient.words or 'ran too long'} before the end: {said}"


def stillborn(jobs: Jobs, patient: Patient) -> verdict.Named:
    """Why a job that began has told us nothing."""
    code = jobs.code(patient.job) if patient.ended else None
    said = last_words(patient.folder)
    is_silent = not (patient.folder / "output").exists()  # Slurm could not even open it there
    is_hidden = "can't open file" in said and str(patient.folder) in said  # from a container
    if code == checkup.UNSEEN or is_hidden or (is_silent and patient.words == "failed"):
        return "shared", State.problem, f"the node does not see {patient.folder.parent.parent}"
    if code and said:
        return "python", State.problem, f"does not start: {said}"
    return (
        "job",
        State.problem,
        f"{patient.words or 'ran too long'}: {said or 'it printed nothing'}",
    )


def last_words(folder: Path) -> str:
    """The last line that a job printed, besides what `srun` says of its end."""
    lines = [line for line in read_lines(folder / "output") if not line.startswith("srun: ")]
    return last_line("\n".join(lines))


def read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
