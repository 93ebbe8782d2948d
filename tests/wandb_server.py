"""A small local server that speaks W&B's protocol, for the real clients: `wandb.init`, `wandb.Api`,
`wandb sync`, reports. What it does not know is an error, and its end names it.

As a process, `python tests/wandb_server.py [--port P]`, it prints its address and key, serves until
SIGTERM, and exits 1 if it was asked for what it does not know. `/_control/...` (see `CONTROL`) is
for the processes of a test. It knows nothing of sweeps, artifacts or media.
"""

import argparse
import base64
import copy
import gzip
import json
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.message import Message
from email.utils import formatdate
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from wandb_graphql import Operation, Refused, Unknown, execute, parse
from wandb_listener import Listener, Reply
from wandb_runs import Run, Store, decode, utc
from wandb_schema import Schema

KEY = "local" * 8  # the client wants 40 characters
KEPT = 20_000  # requests in the record


@dataclass(slots=True)
class Request:
    """One request as it came, and how it was answered; status 0 is no answer (yet)."""

    time: float
    method: str
    path: str
    operation: str
    variables: dict[str, Any]
    run: str = ""  # the run it is about, if it is about one
    status: int = 0


@dataclass
class Fault:
    operation: str
    status: int
    headers: dict[str, str]
    times: float
    run: str

    def hits(self, request: Request) -> bool:
        return (
            self.times > 0
            and self.operation in ("*", request.operation)
            and self.run in ("", request.run)
        )


class WandbServer:
    """Serves while its context is open; on the way out, AssertionError if anything was unknown."""

    def __init__(self, port: int = 0, key: str = KEY) -> None:
        self.key = key
        self.views: dict[str, dict[str, Any]] = {}
        self.unknown: list[str] = []
        self.honours_heartbeat_filter = True
        self._store = Store()
        self._requests: deque[Request] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()
        self._faults: list[Fault] = []
        self._delays: dict[str, float] = {}
        self._lock = threading.RLock()
        self._listener = Listener(port, self._answer, self._note)
        self.url = self._listener.url
        self._schema = Schema(self._store, self.views, self.url)

    def __enter__(self) -> Self:
        self._listener.open()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._listener.release()
        if self.unknown:
            verdict = "the W&B server was asked for what it does not know: " + "; ".join(
                dict.fromkeys(self.unknown)
            )
            if error is None:
                raise AssertionError(verdict)
            error.add_note(verdict)

    # ---- what a test looks at

    @property
    def runs(self) -> dict[tuple[str, str, str], Run]:
        with self._lock:
            return {(run.entity, run.project, run.id): run for run in self._store.runs()}

    def run(self, id: str) -> Run:
        """The one run of that id, in whatever project."""
        found = [run for (_, _, name), run in self.runs.items() if name == id]
        assert len(found) == 1, f"{len(found)} runs have the id {id!r}"
        return found[0]

    @property
    def requests(self) -> list[Request]:
        """The last ones, oldest first. Telemetry and control do not count."""
        with self._lock:
            return list(self._requests)

    def count(self, *operations: str) -> int:
        """How many requests there were of these operations, or of all."""
        with self._lock:
            return sum(self._counts[operation] for operation in operations or self._counts)

    # ---- what a test does to it

    def fail(
        self,
        operation: str = "*",
        *,
        status: int = 500,
        headers: Mapping[str, str] | None = None,
        times: float = 1,
        run: str = "",
    ) -> None:
        """The next `times` requests for `operation` (and about `run`) are answered so."""
        with self._lock:
            self._faults.append(Fault(operation, status, dict(headers or {}), times, run))

    def slow(self, seconds: float, operation: str = "*") -> None:
        """Every answer to `operation` takes that long from now on."""
        with self._lock:
            self._delays[operation] = seconds

    def heal(self) -> None:
        """No more faults and delays."""
        with self._lock:
            self._faults.clear()
            self._delays.clear()

    def down(self) -> None:
        """From now on nobody can connect; whoever is connected is cut off."""
        self._listener.shut()

    def up(self) -> None:
        """On the same port again."""
        self._listener.open()

    def forget(self, id: str) -> None:
        """A run goes missing."""
        with self._lock:
            run = self.run(id)
            del self._store.project(run.entity, run.project).runs[id]

    def duplicate(self, id: str, new_id: str) -> None:
        """The same run once more under another id, as a careless upload would have it."""
        with self._lock:
            twin = copy.deepcopy(self.run(id))
            twin.id = new_id
            self._store.add(twin)

    def tamper(self, id: str, **summary: Any) -> None:
        """Somebody edits a summary on the server."""
        with self._lock:
            self.run(id).summary |= summary

    def skew(self, seconds: float) -> None:
        """The server's clock is off by so much."""
        with self._lock:
            self._store.skew = timedelta(seconds=seconds)

    def age(self, id: str, seconds: float) -> None:
        """The last heartbeat was so much longer ago."""
        with self._lock:
            self.run(id).heartbeat -= timedelta(seconds=seconds)

    def seed(self, entity: str, project: str, runs: Iterable[Run]) -> None:
        with self._lock:
            self._store.project(entity, project)
            for run in runs:
                run.entity, run.project = entity, project
                self._store.add(run)

    # ---- answering

    def _answer(self, method: str, target: str, headers: Message, body: bytes) -> Reply:
        """Called from many threads at once."""
        parts = [unquote(part) for part in urlsplit(target).path.strip("/").split("/")]
        if parts[:2] == ["sdk", "otel"]:
            return Reply(200, b"")
        if parts[0] == "_control":
            return self._control(method, parts[1:], body)
        request = Request(time.time(), method, "/" + "/".join(parts), f"{method} {parts[0]}", {})
        try:
            reply = self._reply(request, parts, headers, body)
        except Unknown as error:
            self._note(f"{request.operation}: {error}")
            # GraphQL's own errors come with a good status
            reply = Reply(200 if parts == ["graphql"] else 400, errors(str(error)))
        except (LookupError, TypeError, ValueError) as error:
            self._note(f"{request.operation} {request.path}: malformed: {error!r}")
            reply = Reply(400, errors(f"malformed: {error!r}"))
        request.status = reply.status
        date = formatdate(self._store.now().timestamp(), usegmt=True)
        return Reply(reply.status, reply.content, {"Date": date, **reply.headers})

    def _reply(self, request: Request, parts: list[str], headers: Message, body: bytes) -> Reply:
        try:
            if headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            content, operation = self._read(request, parts, body)
        finally:
            delay = self._record(request)
        time.sleep(delay)
        with self._lock:
            if fault := next((f for f in self._faults if f.hits(request)), None):
                fault.times -= 1
                return Reply(fault.status, errors("injected fault"), fault.headers)
            # where files go was signed before: no key is asked for
            if parts[0] != "storage" and not self._knows(headers.get("Authorization")):
                return Reply(401, errors("invalid API key"))
            if operation:
                return self._graphql(operation, request.variables)
            return self._rest(request, parts, content)

    def _read(
        self, request: Request, parts: list[str], body: bytes
    ) -> tuple[Any, Operation | None]:
        """Name the operation, and what it is about."""
        if parts[0] == "storage":
            request.operation = "upload" if request.method == "PUT" else "download"
            request.run = parts[3]
            return body, None
        if parts[0] == "files" and parts[-1] == "file_stream":
            request.operation = "file_stream"
            request.run = parts[3]
            return json.loads(body or b"{}"), None
        if parts == ["graphql"]:
            content = json.loads(body)
            request.variables = content.get("variables") or {}
            request.run = subject(request.variables)
            operation = parse(content["query"])
            request.operation = operation.name
            return content, operation
        return body, None

    def _record(self, request: Request) -> float:
        """Record a request; how long to wait before it is answered."""
        with self._lock:
            self._requests.append(request)
            self._counts[request.operation] += 1
            return self._delays.get(request.operation, self._delays.get("*", 0.0))

    def _note(self, unknown: str) -> None:
        with self._lock:
            self.unknown.append(unknown)

    def _knows(self, authorization: str | None) -> bool:
        expected = base64.b64encode(f"api:{self.key}".encode()).decode()
        return authorization == f"Basic {expected}"

    def _graphql(self, operation: Operation, variables: dict[str, Any]) -> Reply:
        self._schema.heartbeat_filters = self.honours_heartbeat_filter
        root = self._schema.query if operation.kind == "query" else self._schema.mutation
        try:
            data = execute(operation, variables, root)
        except Unknown:
            raise
        except Refused as error:
            return Reply(200, errors(str(error)))
        return Reply(200, {"data": data})

    def _rest(self, request: Request, parts: list[str], content: Any) -> Reply:
        match request.operation, parts:
            case "file_stream", [_, entity, project, id, _]:
                run = self._store.find(entity, project, id)
                if run is None:
                    return Reply(404, errors(f"run {entity}/{project}/{id} not found"))
                return Reply(200, self._store.stream(run, content))
            case "upload" | "download", [_, entity, project, id, *name]:
                run = self._store.find(entity, project, id)
                file = "/".join(name)
                if run is None or (request.method != "PUT" and file not in run.files):
                    return Reply(404, errors(f"file {request.path} not found"))
                if request.method == "PUT":
                    run.files[file] = content
                return Reply(200, b"" if request.method == "PUT" else run.files[file])
        self._note(f"{request.method} {request.path}")
        return Reply(404, errors("no such path"))

    # ---- control by other processes

    def _control(self, method: str, parts: list[str], body: bytes) -> Reply:
        verb = "/".join(parts)
        if method == "GET" and verb == "stats":
            with self._lock:
                return Reply(200, {"counts": dict(self._counts), "unknown": list(self.unknown)})
        if method == "GET" and verb == "runs":
            return Reply(200, [brief(run) for run in self.runs.values()])
        if method != "POST" or verb not in CONTROL:
            return Reply(404, errors(f"{method} {verb}: should be one of {', '.join(CONTROL)}"))
        try:
            CONTROL[verb](self, **json.loads(body or b"{}"))
        except (AssertionError, TypeError, ValueError) as error:
            return Reply(400, errors(str(error)))
        return Reply(200, {})


def errors(message: str) -> dict[str, Any]:
    return {"errors": [{"message": message}], "data": None}


def subject(variables: Mapping[str, Any]) -> str:
    """The run that an operation's variables speak of."""
    kind, _, rest = decode(str(variables.get("id") or "")).partition(":v1:")
    if kind == "Run":
        return rest.split(":")[0]
    return next((str(variables[k]) for k in ("run", "runName", "name") if variables.get(k)), "")


def brief(run: Run) -> dict[str, Any]:
    return {
        "entity": run.entity,
        "project": run.project,
        "id": run.id,
        "group": run.group,
        "state": run.state,
        "exit_code": run.exit_code,
        "rows": len(run.history),
        "summary": run.summary,
        "creations": run.creations,
    }


def seed_many(server: WandbServer, entity: str, project: str, count: int) -> None:
    """Finished runs in ten groups."""
    start = utc() - timedelta(seconds=count)
    server.seed(
        entity,
        project,
        (
            Run(
                entity,
                project,
                f"seed{i:05d}",
                group=f"group{i % 10}",
                job_type="screen",
                tags=["screen"],
                config={"lr": i / count, "seed": i},
                summary={"score": 1 + i / count, "_step": 10},
                state="finished",
                exit_code=0,
                created=start + timedelta(seconds=i),
                heartbeat=start + timedelta(seconds=i),
            )
            for i in range(count)
        ),
    )


def down_for(server: WandbServer, seconds: float) -> None:
    """Goes down once its answer is out."""

    def pause() -> None:
        time.sleep(0.1)
        server.down()
        time.sleep(seconds)
        server.up()

    threading.Thread(target=pause, daemon=True).start()


CONTROL: dict[str, Any] = {
    "fail": WandbServer.fail,
    "slow": WandbServer.slow,
    "heal": WandbServer.heal,
    "down": down_for,
    "forget": WandbServer.forget,
    "duplicate": WandbServer.duplicate,
    "tamper": WandbServer.tamper,
    "skew": WandbServer.skew,
    "age": WandbServer.age,
    "seed": seed_many,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with WandbServer(options.port) as server:
            print(server.url, server.key, flush=True)
            stop.wait()
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
