"""What `squeue` and `sacct` print → rows. Pure and tolerant: a line that makes no sense is no row.

One question each for all jobs of the user, however many there are.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

JOB = re.compile(r"(\d+)(?:_(\d+|\[(.*?)\]))?")
SPAN = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
MOST_TASKS = 4_000_001  # the largest MaxArraySize of any Slurm
STEP_OUT_OF_MEMORY = "OUT_OF_MEMORY"


@dataclass(frozen=True)
class Row:
    """One job, or one task of an array. Times are Unix seconds, None if Slurm does not know."""

    job: str  # "17" or "17_4"
    name: str
    index: int  # in its array; 0 for a job of its own
    state: str
    reason: str = ""
    partition: str = ""
    node: str = ""
    started: float | None = None
    ended: float | None = None
    tasks: int = 1  # of a block of an array's waiting tasks that was not written out

    @property
    def is_task(self) -> bool:
        """Whether it is one task of an array."""
        return "_" in self.job


def squeue(user: str) -> tuple[str, ...]:
    """Every job of a user, those that ended not long ago included."""
    return ("squeue", "-h", "-t", "all", "-u", user, "-o", "%i|%T|%P|%S|%e|%N|%r|%j")


def read_squeue(text: str, prefix: str = "") -> list[Row]:
    """The rows of `squeue`; blocks of an array's waiting tasks are written out.

    Those of jobs whose name does not begin with `prefix` are only counted.
    """
    rows: list[Row] = []
    for line in text.splitlines():
        fields = line.split("|", 7)
        if len(fields) == 8:
            id, state, partition, started, ended, node, reason, name = (f.strip() for f in fields)
            times = moment(started), moment(ended)  # of a job that runs: when it must have ended
            row = Row(id, name, 0, state, reason, partition, node, *times)
            rows += expanded(row) if name.startswith(prefix) else [counted(row)]
    return rows


def sacct(names: Collection[str], since: float) -> tuple[str, ...]:
    """The jobs of these names that began after `since`, and their steps."""
    fields = "JobID,State,Start,End,NodeList,JobName"
    start = datetime.fromtimestamp(since, UTC).astimezone().strftime("%Y-%m-%dT%H:%M:%S")
    wanted = ",".join(sorted(names))
    return ("sacct", "-n", "-P", "-S", start, "-o", fields, f"--name={wanted}")


def read_sacct(text: str) -> list[Row]:
    """The rows of `sacct`, one per job. A step that ran out of memory says so for its job."""
    rows: dict[str, Row] = {}
    for line in text.splitlines():
        fields = line.split("|", 5)
        if len(fields) < 6:
            continue
        id, state, started, ended, node, name = (field.strip() for field in fields)
        job, dot, _ = id.partition(".")
        if dot and state == STEP_OUT_OF_MEMORY and job in rows:
            rows[job] = replace(rows[job], state=state)
        elif not dot:
            row = Row(id, name, 0, state, "", "", node, moment(started), moment(ended))
            rows |= {each.job: each for each in expanded(row)}
    return list(rows.values())


def counted(row: Row) -> Row:
    """A row for a whole block: `17_[0-2,8%4]` is four tasks."""
    match = JOB.fullmatch(row.job)
    block = match[3] if match else None
    return row if block is None else replace(row, tasks=sum(map(len, spans(block))))


def expanded(row: Row) -> Iterator[Row]:
    """A row per task: `17_[0-2,8%4]` stands for four."""
    match = JOB.fullmatch(row.job)
    if match is None:
        return
    job, index, block = match.groups()
    if block is not None:
        for number in indices(block):
            yield replace(row, job=f"{job}_{number}", index=number)
    else:
        yield replace(row, index=int(index or 0))


def indices(block: str) -> Iterator[int]:
    """`0-6:2,9%4` → 0, 2, 4, 6, 9. What was cut off ("...") is left out."""
    for span in spans(block):
        yield from span


def spans(block: str) -> Iterator[range]:
    for part in block.partition("%")[0].split(","):
        match = SPAN.fullmatch(part.strip())
        if match:
            first, last, step = match.groups()
            if int(last or first) < MOST_TASKS:
                yield range(int(first), int(last or first) + 1, max(1, int(step or 1)))


def moment(text: str) -> float | None:
    """A time as SLURM_TIME_FORMAT=%s gives it."""
    return float(text) if text.isdecimal() and int(text) > 0 else None
