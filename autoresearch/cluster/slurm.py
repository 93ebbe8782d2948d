"""Pilots as Slurm jobs: one array per batch, through submitit; one `squeue` for all we ask.

A pilot is found by its name alone: the job is called after the campaign and the batch, and the
pilot's number is its array index. A job that Slurm would run a second time (requeued after a node's
death or a preemption) is ended instead: what it held is tried again by another pilot.
"""

import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from math import ceil, inf

from autoresearch.cluster.commands import NoAnswer, ask, is_up
from autoresearch.cluster.environment import exactly, scrubbed
from autoresearch.cluster.executor import PilotExecutor
from autoresearch.cluster.interface import Phase, Refused, Sighting, batch_of
from autoresearch.cluster.limits import Limits, is_forever, read_limits
from autoresearch.cluster.options import Options, arguments, sbatch_options
from autoresearch.cluster.pause import Pause
from autoresearch.cluster.queue import Row, read_sacct, read_squeue, sacct, squeue
from autoresearch.cluster.states import meaning
from autoresearch.cluster.survey import user_name
from autoresearch.errors import CampaignError, ClusterError
from autoresearch.experiment import Failure, Json, digest
from autoresearch.layout import Layout
from autoresearch.settings import Cluster as Settings

WARNING_SECONDS = 60  # between Slurm's warning and a pilot's time limit, where that is long
SETTLING_SECONDS = 30.0  # what is not in the queue so long after its sbatch is no longer expected
MOURNING_SECONDS = 120.0  # how long we wait for an accounting to say how a job ended
LOG_BYTES = 1 << 16  # of the end of a pilot's log
OUT_OF_MEMORY = (b"exceeded memory limit", b"oom-kill", b"oom_kill", b"Out Of Memory")
NO_NODES = "node configuration is not available"
DAY = 24 * 60.0  # minutes


class SlurmCluster:
    """The user's own jobs on the Slurm cluster of this machine."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.layout = layout
        self.settings = settings
        self.prefix = f"ar-{identity(layout)}-"
        self.user = user_name()
        self.rows: list[Row] = []  # the queue as we last saw it: all jobs of the user
        self.unseen = 0  # pilots asked for since then
        self.seen: dict[str, Sighting] = {}
        self.looked = -inf  # when, monotonic
        self.silent_since: float | None = None  # Slurm does not answer; monotonic
        self.silence = ""  # what it said last
        self.pause = Pause()
        self.shortage = ""  # why fewer pilots were asked for than are wanted
        self.struck: set[str] = set()  # jobs that were ended as strays
        self.withdrawn: set[str] = set()  # pilots that we have ended ourselves
        self.missing: dict[str, float] = {}  # pilots that left the queue unseen: since when
        self.known_limits: dict[str, Limits] = {}

    @property
    def lag(self) -> float:
        return self.settings.file_seconds

    # ---- asking for pilots -------------------------------------------------------------------

    def check(self) -> None:
        """Raises ClusterError, in sbatch's own words, for a tier whose pilots it would refuse."""
        for name, tier in self.settings.tiers.items():
            try:
                options = arguments(self.options(name))
                ask("sbatch", "--test-only", *options, "--wrap=true", env=self.env())
            except NoAnswer as refusal:
                if not is_up():
                    raise ClusterError(
                        f"Slurm should answer, but: {refusal}; try `scontrol ping`, and whether "
                        "this is a login node with Slurm's settings (SLURM_CONF)"
                    ) from refusal
                where = f"partition {','.join(tier.partitions)}"
                raise ClusterError(
                    f"Slurm should take pilots of tier {name} ({where}), but says: "
                    f"{str(refusal).removeprefix('sbatch: ')}; see `autoresearch probe --print`"
                ) from refusal

    def options(self, tier: str, exclude: Collection[str] = ()) -> Options:
        settings = self.settings.tiers[tier]
        where = ",".join(settings.partitions)
        return sbatch_options(self.settings, settings, where, settings.memory_gb, exclude)

    def env(self) -> dict[str, str]:
        """What crosses to a node. The login node's folder for temporary files is not there."""
        return {k: v for k, v in scrubbed(self.layout).items() if k != "TMPDIR"}

    def limits(self, tier: str) -> Limits | None:
        """What Slurm allows the user, read once per life of a controller; None: it does not say."""
        qos = self.settings.tiers[tier].qos or self.settings.qos
        if qos not in self.known_limits:
            with suppress(NoAnswer):
                self.known_limits[qos] = read_limits(self.settings.account, qos)
        return self.known_limits.get(qos)

    def batches(self, tier: str, count: int) -> list[int]:
        """As many as the limits leave room for, whoever of the user's campaigns uses it up."""
        if self.silent_since is not None or self.pause.is_on:
            return []
        limits = self.limits(tier)
        if limits is None:
            return []
        bounds = [self.settings.max_jobs or None, limits.max_submit]
        queued = sum(row.tasks for row in self.rows if meaning(row.state)[0] is not Phase.gone)
        held = queued + self.unseen
        wanted, room = count, min((bound for bound in bounds if bound is not None), default=inf)
        count = max(0, int(min(wanted, room - held)))
        if count < wanted:
            self.shortage = f"{room} jobs of yours may be in the queue, and {held} are"
        size = self.settings.max_array or limits.max_array
        return [min(size, count - first) for first in range(0, count, size)]

    def longest(self, tier: str) -> float:
        limits = self.limits(tier)
        allowed = limits.max_minutes if limits else {}
        found = [allowed.get(name) for name in self.settings.tiers[tier].partitions]
        return min((minutes for minutes in found if minutes), default=inf)

    def submit(
        self, tier: str, names: Sequence[str], minutes: float = 0.0, exclude: Collection[str] = ()
    ) -> dict[str, Json]:
        batch = batch_of(names[0])
        limit = ceil(minutes or min(self.longest(tier), DAY))
        executor = self.executor(tier, batch, limit, exclude)
        try:
            with exactly(self.env()):
                job = executor.array(len(names))
        except Refused as refusal:
            self.pause.lengthen(str(refusal))
            raise
        except ClusterError as error:
            if exclude and NO_NODES in str(error):  # none would be left: then it is not the nodes
                return self.submit(tier, names, minutes)
            raise
        except OSError as error:
            raise CampaignError(
                f"{self.layout.pilots} should take the files of a batch of pilots, but: "
                f"{error.strerror}"
            ) from error
        self.pause.end()
        self.unseen += len(names)
        return {name: {"id": f"{job}_{k}"} for k, name in enumerate(names) if job}

    def executor(
        self, tier: str, batch: str, minutes: int, exclude: Collection[str]
    ) -> PilotExecutor:
        """How a batch is submitted: the tier's options, and ours."""
        options = self.options(tier, exclude)
        cpus = options.get("cpus-per-task", "1")
        warning = min(WARNING_SECONDS, minutes * 60 // 4)
        command = self.command(tier, minutes * 60 - warning)
        executor = PilotExecutor(self.layout.pilots / batch, command, batch)
        name = f"{self.prefix}{batch}"
        every: Options = options | {"no-requeue": True, "job-name": name, "time": str(minutes)}
        executor.update_parameters(
            setup=list(self.settings.setup),
            signal_delay_s=warning,
            array_parallelism=1 << 16,
            stderr_to_stdout=True,
            wckey=None,  # submitit's own would be refused where wckeys are checked
            srun_args=[f"--cpus-per-task={cpus}", "--cpu-bind=none"],  # it takes neither by itself
            additional_parameters={key.replace("-", "_"): value for key, value in every.items()},
        )
        return executor

    def command(self, tier: str, seconds: int) -> str:
        """Shell text: the setup lines may have changed PYTHONPATH, a container may not see it."""
        python = self.settings.python or shlex.quote(sys.executable)
        node, root = shlex.quote(str(self.layout.node)), shlex.quote(str(self.layout.root))
        pilot = f"-P -m autoresearch.node.pilot {root} {tier} {seconds}"
        return f"env PYTHONPATH={node} {python} {pilot}"

    # ---- seeing what became of them ----------------------------------------------------------

    def look(self, jobs: Mapping[str, Json]) -> dict[str, Sighting]:
        """One `squeue` at most, and one `sacct` if pilots have left the queue unseen."""
        if time.monotonic() - self.looked >= self.settings.poll_seconds and self.refresh():
            self.seen = self.sightings(jobs)
        return {name: self.seen[name] for name in jobs if name in self.seen}

    def refresh(self) -> bool:
        """Read the queue; whether Slurm has answered."""
        self.looked = time.monotonic()
        try:
            if self.silent_since is not None and not is_up():
                return False
            self.rows = read_squeue(ask(*squeue(self.user)), self.prefix)
        except NoAnswer as silence:
            self.silent_since = self.silent_since or time.monotonic()
            self.silence = str(silence)
            return False
        self.silent_since = None
        self.unseen, self.shortage = 0, ""
        return True

    def sightings(self, jobs: Mapping[str, Json]) -> dict[str, Sighting]:
        ours = [row for row in self.rows if row.name.startswith(self.prefix)]
        mine = self.by_pilot(ours, jobs)
        self.end_strays(row for name, row in mine.items() if name not in jobs)
        missing = [name for name in jobs if name not in mine]
        found = {name: self.sighting(name, mine[name], jobs[name]) for name in jobs if name in mine}
        found |= self.missed(missing, jobs)
        self.heed_cancelling(found)
        return found

    def by_pilot(self, rows: Iterable[Row], names: Iterable[str]) -> dict[str, Row]:
        """The row of each pilot. A row of a whole array speaks for all its tasks that have none:
        so Slurm shows those that were cancelled before they were looked at one by one."""
        found, arrays = {}, {}
        for row in rows:
            batch = row.name.removeprefix(self.prefix)
            if row.is_task:
                found[f"{batch}-{row.index}"] = row
            else:
                arrays[batch] = row
        rest = {name: arrays[batch_of(name)] for name in names if batch_of(name) in arrays}
        return rest | found

    def heed_cancelling(self, found: Mapping[str, Sighting]) -> None:
        """Whoever cancels what we ask for shall not be answered with the same again at once."""
        gone = {name for name, seen in found.items() if is_cancelled_in_the_queue(seen)}
        if gone - self.withdrawn:
            self.pause.lengthen("jobs of ours were cancelled in the queue")

    def end_strays(self, rows: Iterable[Row]) -> None:
        """Pilots that no record knows any more: of a controller that was superseded, or dead to
        us and started again by Slurm."""
        alive = {row.job for row in rows if meaning(row.state)[0] is not Phase.gone}
        ending = {row.job for row in self.rows if row.state == "COMPLETING"}
        self.scancel(sorted(alive - ending - self.struck))
        self.struck |= alive

    def sighting(self, name: str, row: Row, job: Json) -> Sighting:
        phase, failure, words = meaning(row.state)
        has_run = job.get("started") is not None or self.layout.pilot(name).exists()
        if phase is Phase.waiting and has_run:  # requeued: a pilot has one life
            self.scancel([row.job])
            return Sighting(
                Phase.gone,
                "was requeued by Slurm",
                ended=time.time(),
                failure=Failure.preempted,
            )
        if phase is Phase.waiting:
            return Sighting(phase, row.reason)
        if failure is Failure.node_failed and self.ran_out_of_memory(name, row):
            failure, words = Failure.out_of_memory, "was killed for want of memory"
        ended = row.ended if phase is Phase.gone else None
        started = row.started if row.node else None  # what was cancelled in the queue never began
        return Sighting(phase, words, row.node, started, ended, failure)

    def ran_out_of_memory(self, name: str, row: Row) -> bool:
        """Where Slurm itself watches the memory, only the log says so."""
        for log in (self.layout.pilots / batch_of(name)).glob(f"{row.job}_*.out"):
            with suppress(OSError):
                return any(word in log.read_bytes()[-LOG_BYTES:] for word in OUT_OF_MEMORY)
        return False

    def missed(self, names: list[str], jobs: Mapping[str, Json]) -> dict[str, Sighting]:
        """Pilots that the queue does not know: ended long ago, or never accepted."""
        self.missing = {name: self.missing.get(name, time.monotonic()) for name in names}
        if not names:
            return {}
        batches = {f"{self.prefix}{batch_of(name)}" for name in names}
        since = min(jobs[name]["submitted"] for name in names) - 60
        has_accounts = True
        try:
            rows = read_sacct(ask(*sacct(batches, since)))
        except NoAnswer as silence:
            rows, has_accounts = [], "disabled" not in str(silence)
        known = self.by_pilot(rows, names)
        found = {n: self.sighting(n, known[n], jobs[n]) for n in names if n in known}
        ended = {name: seen for name, seen in found.items() if seen.phase is Phase.gone}
        unsaid = [name for name in names if name not in ended]
        return ended | {
            name: unaccounted(jobs[name])
            for name in unsaid
            if not has_accounts or self.is_certain(name, jobs[name], is_said=name in found)
        }

    def is_certain(self, name: str, job: Json, is_said: bool) -> bool:
        """Whether we have waited long enough for an accounting that lags behind the queue.

        `is_said`: it says that the pilot lives. Then only the end of its life is proof.
        """
        if not job.get("id") and not is_said:
            return time.time() - float(job["submitted"]) > SETTLING_SECONDS
        is_late = time.monotonic() - self.missing[name] > MOURNING_SECONDS
        return (is_late and not is_said) or time.time() > float(job.get("until") or inf)

    # ---- ending them -------------------------------------------------------------------------

    def withdraw(self, jobs: Mapping[str, Json]) -> None:
        waiting = [name for name in jobs if self.phase(name) is Phase.waiting]
        self.withdrawn |= set(waiting)
        self.scancel([self.job(name, jobs) for name in waiting], "--state=PENDING")

    def cancel(self, jobs: Mapping[str, Json]) -> None:
        self.withdrawn |= set(jobs)
        self.scancel([self.job(name, jobs) for name in jobs])

    def phase(self, name: str) -> Phase | None:
        sighting = self.seen.get(name)
        return sighting.phase if sighting else None

    def job(self, name: str, jobs: Mapping[str, Json]) -> str:
        """The id of a pilot's job: as it was recorded, else as the queue has it."""
        for row in self.rows:
            if f"{row.name}-{row.index}" == f"{self.prefix}{name}":
                return row.job
        return str(jobs[name].get("id", ""))

    @staticmethod
    def scancel(jobs: Sequence[str], *options: str) -> None:
        """What cannot be ended now is ended at the next look, or by its own time limit."""
        wanted = [job for job in jobs if job]
        if wanted:
            try:
                ask("scancel", "-Q", *options, *wanted)
            except NoAnswer:
                return

    # ---- saying so ---------------------------------------------------------------------------

    def notices(self) -> list[str]:
        """What pilots wait for, in words, and what Slurm does not answer or take."""
        lines = []
        if self.silent_since is not None:
            minutes = int(time.monotonic() - self.silent_since) // 60
            since = f" for {minutes} min" if minutes else ""
            lines.append(f"Slurm has not answered{since} ({self.silence}); pilots work on")
        if self.pause.is_on:
            lines.append(f"Slurm takes no more pilots now: {self.pause.reason}")
        elif self.shortage:
            lines.append(f"no room for more pilots: {self.shortage}")
        reasons = Counter(
            (batch_of(name).rpartition("-")[0], sighting.reason)
            for name, sighting in self.seen.items()
            if sighting.phase is Phase.waiting
        )
        return lines + [
            f"{count} of tier {tier} wait{for_ever(reason)}: {self.explain(tier, reason)}"
            for (tier, reason), count in reasons.items()
        ]

    def explain(self, tier: str, reason: str) -> str:
        settings = self.settings.tiers.get(tier)
        limits = self.limits(tier) if settings else None
        if settings is None or limits is None:
            return reason
        qos = settings.qos or self.settings.qos
        where = ",".join(settings.partitions)
        return limits.describe(reason, self.settings.account, qos, where)


def is_cancelled_in_the_queue(seen: Sighting) -> bool:
    is_gone = seen.phase is Phase.gone and seen.started is None
    return is_gone and seen.reason == meaning("CANCELLED")[2]


def for_ever(reason: str) -> str:
    return " for what does not pass by itself" if is_forever(reason) else ""


def identity(layout: Layout) -> str:
    """What the campaign's jobs are called after; without a note of its own, by where it lies."""
    try:
        noted = layout.identity.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        noted = ""
    return noted if re.fullmatch(r"[0-9a-f]{6,32}", noted) else digest(str(layout.root.resolve()))


def unaccounted(job: Json) -> Sighting:
    """A pilot that is gone, and nobody can say how."""
    if job.get("id"):
        return Sighting(Phase.gone, "left the queue", failure=Failure.node_failed)
    return Sighting(Phase.gone, "was not accepted by Slurm", failure=Failure.cancelled)
