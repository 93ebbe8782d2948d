"""The runs that a W&B server holds: upserts, streams of lines, states, Mongo filters, order."""

import base64
import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from wandb_graphql import Refused, Unknown

CRASHED_AFTER = timedelta(seconds=300)  # without a heartbeat
PAGE = 1000  # the most runs of one answer

Row = dict[str, Any]
Predicate = Callable[["Run"], bool]


def utc() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Run:
    """One run as the server knows it. `name` is the display name."""

    entity: str
    project: str
    id: str
    name: str = ""
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    config: dict[str, Any] = field(default_factory=dict)  # plain values
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    system: list[Row] = field(default_factory=list)  # what wandb measures of the machine
    log: list[str] = field(default_factory=list)
    state: str = "running"
    exit_code: int | None = None
    created: datetime = field(default_factory=utc)
    heartbeat: datetime = field(default_factory=utc)
    files: dict[str, bytes] = field(default_factory=dict)
    creations: int = 0  # how often a client began it
    stop_requested: bool = False
    host: str | None = None
    commit: str | None = None
    telemetry: Any = None  # config's `_wandb`

    @property
    def node_id(self) -> str:
        return encode(f"Run:v1:{self.id}:{self.project}:{self.entity}")

    def raw_config(self) -> dict[str, Any]:
        internal = {} if self.telemetry is None else {"_wandb": {"value": self.telemetry}}
        return {k: {"value": v, "desc": None} for k, v in self.config.items()} | internal

    def set_raw_config(self, raw: Mapping[str, Any]) -> None:
        plain = {k: v["value"] if isinstance(v, dict) else v for k, v in raw.items()}
        self.telemetry = plain.pop("_wandb", self.telemetry)
        plain.pop("wandb_version", None)
        self.config = plain


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def read_json(text: str) -> Any:
    """JSON as clients write it, where NaN and infinities become strings, as W&B keeps them."""
    return json.loads(text, parse_constant=str)


def decode(text: str) -> str:
    """Empty for what `encode` did not write."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""


def stamp(moment: datetime) -> str:
    """As the server writes it: whole seconds, with a trailing Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


# ---- filters ---------------------------------------------------------------------------------


def dig(tree: Any, path: str) -> Any:
    """The value at a dotted path, where keys may have dots of their own; None if there is none."""
    if not isinstance(tree, dict) or path in tree:
        return tree.get(path) if isinstance(tree, dict) else None
    for dot in (match.start() for match in re.finditer(r"\.", path)):
        if (found := dig(tree.get(path[:dot]), path[dot + 1 :])) is not None:
            return found
    return None


def config_value(run: Run, path: str) -> Any:
    """`lr`, or `lr.value` as the server keeps it."""
    found = dig(run.config, path)
    if found is None and ".value" in path:
        found = dig(run.config, path.replace(".value", "", 1))
    return found


FIELDS: dict[str, Callable[[Run], Any]] = {
    "name": lambda run: run.id,
    "displayName": lambda run: run.name or run.id,
    "group": lambda run: run.group,
    "jobType": lambda run: run.job_type,
    "state": lambda run: run.state,
    "tags": lambda run: run.tags,
    "createdAt": lambda run: whole(run.created),
    "heartbeatAt": lambda run: whole(run.heartbeat),
}


def getter(name: str) -> Callable[[Run], Any]:
    head, _, path = name.partition(".")
    if path and head == "config":
        return lambda run: config_value(run, path)
    if path and head == "summary_metrics":
        return lambda run: dig(run.summary, path)
    camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
    if camel not in FIELDS:
        raise Unknown(f"field '{name}' in a filter or order of runs")
    return FIELDS[camel]


def rank(value: Any) -> int:
    """Only values of one rank have an order."""
    if value is None:
        return 0
    kinds: tuple[type | tuple[type, ...], ...] = (bool, (int, float), str, (list, dict), datetime)
    return next(i for i, kind in enumerate(kinds, 1) if isinstance(value, kind))


def same(a: Any, b: Any) -> bool:
    return rank(a) == rank(b) and bool(a == b)


def elements(value: Any) -> list[Any]:
    """A list fits a condition if one of its elements, or the whole of it, does."""
    return [*value, value] if isinstance(value, list) else [value]


def equal(value: Any, wanted: Any) -> bool:
    return any(same(element, wanted) for element in elements(value))


def one_of(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, list):
        raise Refused("$in and $nin take a list")
    return any(equal(value, each) for each in wanted)


def compared(by: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def fits(value: Any, wanted: Any) -> bool:
        kind = rank(wanted)
        return kind not in (0, 4) and any(
            rank(e) == kind and by(e, wanted) for e in elements(value)
        )

    return fits


def matches(value: Any, pattern: Any) -> bool:
    return any(isinstance(e, str) and re.search(pattern, e) is not None for e in elements(value))


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": equal,
    "$ne": lambda value, wanted: not equal(value, wanted),
    "$in": one_of,
    "$nin": lambda value, wanted: not one_of(value, wanted),
    "$gt": compared(operator.gt),
    "$gte": compared(operator.ge),
    "$lt": compared(operator.lt),
    "$lte": compared(operator.le),
    "$exists": lambda value, wanted: (value is not None) == bool(wanted),
    "$regex": matches,
}
NOT_RE2 = re.compile(r"\(\?(?:[=!]|<[=!]|\(|>)|\\[1-9]")


def check_pattern(pattern: Any) -> None:
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise Refused(f"$regex {pattern!r}: {error}") from None
    if NOT_RE2.search(pattern):
        raise Refused(f"$regex {pattern!r} is not RE2")


def moment(text: Any, *, verbatim: bool) -> datetime | None:
    """A time in a filter. `verbatim` takes only what the server itself wrote."""
    if verbatim and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(text)):
        return None
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise Refused(f"{text!r} is no time") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def nothing(_: Run) -> bool:
    return False


def condition(name: str, sign: str, wanted: Any, *, heartbeats: bool) -> Predicate:
    get = getter(name)
    if sign not in OPERATORS:
        raise Unknown(f"operator '{sign}' in a filter of runs")
    if sign == "$regex":
        check_pattern(wanted)
    if get in (FIELDS["createdAt"], FIELDS["heartbeatAt"]) and sign != "$exists":
        beat = get is FIELDS["heartbeatAt"]
        if beat and not heartbeats:
            return nothing
        texts = wanted if isinstance(wanted, list) else [wanted]
        times = [moment(text, verbatim=beat) for text in texts]
        if None in times:
            return nothing
        wanted = times if isinstance(wanted, list) else times[0]
    fits = OPERATORS[sign]
    return lambda run: fits(get(run), wanted)


def clause(name: str, value: Any, *, heartbeats: bool) -> Iterator[Predicate]:
    """`name: value` of a filter; all that come of it must hold."""
    if name in ("$and", "$or", "$nor"):
        if not isinstance(value, list) or not value:
            raise Refused(f"{name} takes a list that is not empty")
        inner = [matcher(each, heartbeats=heartbeats) for each in value]
        match name:
            case "$and":
                yield lambda run: all(fits(run) for fits in inner)
            case "$or":
                yield lambda run: any(fits(run) for fits in inner)
            case _:
                yield lambda run: not any(fits(run) for fits in inner)
    elif name.startswith("$"):
        raise Unknown(f"operator '{name}' in a filter of runs")
    elif isinstance(value, dict) and any(sign.startswith("$") for sign in value):
        for sign, wanted in value.items():
            yield condition(name, sign, wanted, heartbeats=heartbeats)
    else:
        yield condition(name, "$eq", value, heartbeats=heartbeats)


def matcher(query: Any, *, heartbeats: bool = True) -> Predicate:
    """A Mongo query as a predicate. Without `heartbeats`, a filter on them fits nothing."""
    if not isinstance(query, dict):
        raise Refused(f"a filter should be an object, but is {query!r}")
    parts = [p for name, value in query.items() for p in clause(name, value, heartbeats=heartbeats)]
    return lambda run: all(fits(run) for fits in parts)


def arranged(runs: Iterable[Run], order: str) -> list[Run]:
    """`+created_at`, `-summary_metrics.loss`, or several with commas between them."""
    found = list(runs)
    for part in reversed([part.strip() for part in order.split(",")]):
        name = part.lstrip("+-")
        if name.split(".")[0] not in ("created_at", "heartbeat_at", "config", "summary_metrics"):
            raise Unknown(f"order '{part}' of runs")
        get = getter(name)
        found.sort(
            key=lambda run: (rank(value := get(run)), 0 if value is None else value),
            reverse=part.startswith("-"),
        )
    return found


# ---- the store -------------------------------------------------------------------------------


@dataclass
class Project:
    entity: str
    name: str
    number: int
    created: datetime
    runs: dict[str, Run] = field(default_factory=dict)


class Store:
    """Every project and run of a server. Not locked: the server is."""

    def __init__(self) -> None:
        self.projects: dict[tuple[str, str], Project] = {}
        self.skew = timedelta()

    def now(self) -> datetime:
        return utc() + self.skew

    def project(self, entity: str, name: str) -> Project:
        """The project of that name, made if need be."""
        number = len(self.projects) + 1
        new = Project(entity, name, number, self.now())
        return self.projects.setdefault((entity, name), new)

    def runs(self) -> Iterator[Run]:
        for project in self.projects.values():
            yield from map(self.settled, project.runs.values())

    def settled(self, run: Run) -> Run:
        """A run with its state as of now."""
        if run.state in ("running", "preempting") and self.now() - run.heartbeat > CRASHED_AFTER:
            run.state = "crashed" if run.state == "running" else "preempted"
        return run

    def find(self, entity: str, project: str, id: str) -> Run | None:
        home = self.projects.get((entity, project))
        run = home.runs.get(id) if home else None
        return self.settled(run) if run else None

    def of_node(self, node_id: str) -> Run:
        """The run that a GraphQL id stands for."""
        parts = decode(node_id).split(":")
        run = self.find(parts[4], parts[3], parts[2]) if len(parts) == 5 else None
        if run is None:
            raise Refused(f"run {node_id!r} not found")
        return run

    def add(self, run: Run) -> None:
        self.project(run.entity, run.project).runs[run.id] = run

    def upsert(self, entity: str, project: str, id: str, *, starts: bool) -> tuple[Run, bool]:
        """A client writes the run of that id, and perhaps starts it (again); whether it is new."""
        run = self.find(entity, project, id)
        new = run is None
        if run is None:
            run = Run(entity, project, id, created=self.now())
            self.add(run)
        run.heartbeat = self.now()
        if starts:
            run.state, run.exit_code = "running", None
            run.creations += 1
        return run, new

    # -- the file stream

    def stream(self, run: Run, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take what a client streams of a run: lines, then perhaps its end."""
        known = {"files", "uploaded", "preempting", "complete", "exitcode"}
        if strange := sorted(set(body) - known):
            raise Unknown(f"file_stream: {', '.join(strange)}")
        files = body.get("files") or {}
        run.heartbeat = self.now()
        if run.state == "crashed" or (files and run.state not in ("running", "preempting")):
            run.state = "running"
        for name, chunk in files.items():
            take_lines(run, name, chunk["offset"], chunk["content"])
        if body.get("preempting"):
            run.state = "preempting"
        if body.get("complete"):
            self.end(run, body.get("exitcode", 0))
        return {"exitcode": run.exit_code, "limits": {}, "stopped": run.stop_requested}

    def end(self, run: Run, exit_code: int) -> None:
        run.exit_code = exit_code
        failed = "killed" if run.stop_requested else "failed"
        if run.state == "preempting":
            failed = "preempted"
        run.state = failed if exit_code else "finished"


def take_lines(run: Run, name: str, offset: int, lines: Sequence[str]) -> None:
    """A chunk that comes again writes the same lines over the same."""
    if name == "wandb-summary.json":
        run.summary = read_json(lines[-1])
        return
    targets: dict[str, list[Any]] = {
        "wandb-history.jsonl": run.history,
        "wandb-events.jsonl": run.system,
        "output.log": run.log,
    }
    if name not in targets:
        raise Unknown(f"file_stream: a file '{name}'")
    target = targets[name]
    if offset > len(target):
        raise Unknown(f"file_stream: '{name}' goes on at {offset} after {len(target)} lines")
    read: Callable[[str], Any] = str if target is run.log else read_json
    target[offset : offset + len(lines)] = [read(line) for line in lines]
