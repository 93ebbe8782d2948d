"""A Hugging Face hub on loopback: what its HTTP answers look like, and how they may fail.

Two servers: the hub itself, and the host that holds large files, to which it redirects. A request
that the real hub would not know from its client is kept in `strange`: a test ends by looking there.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

PIECE = 1 << 14  # bytes that are sent at once
LARGE = (".parquet", ".bin")  # kept by Git LFS: known by SHA-256, and on the other host


@dataclass
class Request:
    """What a client asked, and how many bytes of the answer's body it was sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def range(self) -> str:
        return self.headers.get("Range", "")


@dataclass
class Dataset:
    """A dataset at one commit."""

    name: str
    files: dict[str, bytes]
    commit: str
    is_gated: bool = False
    token: str = ""  # who shows it may come in; "": everybody

    @property
    def branches(self) -> dict[str, str]:
        return {"main": self.commit, self.commit: self.commit}

    def etag(self, name: str) -> str:
        data = self.files[name]
        if name.endswith(LARGE):
            return hashlib.sha256(data).hexdigest()
        blob = b"blob %d\0" % len(data) + data
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


@dataclass
class Fault:
    """What goes wrong with the next answers to requests whose path ends in `name`."""

    name: str
    kind: str  # "status", "drop", "cut", "wrong", "slow", or "whole": it knows no ranges
    method: str = "GET"
    value: int = 0  # the status; the bytes that still come; the milliseconds per piece
    times: int = 1
    after: int = 0  # so many answers go well first
    headers: dict[str, str] = field(default_factory=dict)


class Hub:
    """Datasets, faults to come, and what was asked."""

    def __init__(self) -> None:
        self.datasets: dict[str, Dataset] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.strange: list[str] = []
        self.lock = threading.Lock()
        self.url = self.store = ""
        self.streams = self.most_streams = 0  # now, and ever at once

    def add(self, name: str, files: dict[str, bytes], **more: object) -> Dataset:
        commit = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        self.datasets[name] = Dataset(name, files, commit, **more)  # type: ignore[arg-type]
        return self.datasets[name]

    def fail(self, name: str, kind: str, value: int = 0, **more: object) -> None:
        self.faults.append(Fault(name, kind, value=value, **more))  # type: ignore[arg-type]

    def fault(self, request: Request, is_store: bool) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                is_here = is_store or fault.kind in ("status", "drop")
                is_meant = fault.method == request.method and request.path.endswith(fault.name)
                if is_here and is_meant and fault.after:
                    fault.after -= 1
                elif is_here and is_meant:
                    fault.times -= 1
                    if fault.times == 0:
                        self.faults.remove(fault)
                    return fault
        return None

    def sent(self, name: str) -> list[Request]:
        """The answers that brought bytes of a file."""
        return [r for r in self.requests if r.method == "GET" and r.sent and r.name == name]

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While a file is being sent."""
        with self.lock:
            self.streams += 1
            self.most_streams = max(self.streams, self.most_streams)
        try:
            yield
        finally:
            with self.lock:
                self.streams -= 1


class Handler(BaseHTTPRequestHandler):
    """One connection to either server."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    is_store = False

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `requests`."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        request = Request(self.command, unquote(urlsplit(self.path).path), dict(self.headers))
        self.request_record = request
        with self.hub.lock:
            self.hub.requests.append(request)
        fault = self.hub.fault(request, self.is_store)
        try:
            if fault and fault.kind == "status":
                self.say(fault.value, fault.headers)
            elif fault and fault.kind == "drop":
                self.close_connection = True
            elif self.is_store:
                self.hold(request, fault)
            else:
                self.route(request)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def say(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.request_record.status = status
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.say(status, {"X-Error-Code": code, "X-Error-Message": f"{code}."})

    def strange(self) -> None:
        self.hub.strange.append(f"{self.command} {self.path}")
        self.say(418)

    # ---- the hub -----------------------------------------------------------------------------

    def route(self, request: Request) -> None:
        match request.path.split("/")[1:]:
            case ["api", "datasets", owner, name, "revision", revision]:
                if dataset := self.dataset(f"{owner}/{name}", revision):
                    self.describe(dataset)
            case ["datasets", owner, name, "resolve", revision, *path]:
                if dataset := self.dataset(f"{owner}/{name}", revision):
                    self.resolve(dataset, "/".join(path))
            case ["api", "resolve-cache", "datasets", owner, name, _, *path]:
                dataset = self.hub.datasets[f"{owner}/{name}"]
                self.small(dataset, "/".join(path))
            case _:
                self.strange()

    def dataset(self, name: str, revision: str) -> Dataset | None:
        found = self.hub.datasets.get(name)
        shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if found is None or (found.token and not found.is_gated and shown != found.token):
            self.refuse(401, "RepoNotFound")
        elif revision not in found.branches:
            self.refuse(404, "RevisionNotFound")
        elif found.is_gated and shown != found.token and "/resolve/" in self.path:
            self.refuse(401, "GatedRepo")
        else:
            return found
        return None

    def describe(self, dataset: Dataset) -> None:
        """As `GET /api/datasets/…` does, the fields that tell nothing here left out."""
        record = {
            "_id": "0" * 24,
            "id": dataset.name,
            "author": dataset.name.partition("/")[0],
            "sha": dataset.commit,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "private": False,
            "gated": dataset.is_gated and "auto",
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": name} for name in dataset.files],
        }
        self.say(200, {"Content-Type": "application/json"}, json.dumps(record).encode())

    def resolve(self, dataset: Dataset, name: str) -> None:
        if name not in dataset.files:
            self.refuse(404, "EntryNotFound")
        elif name.endswith(LARGE):
            self.say(302, self.facts(dataset, name) | self.large(dataset, name))
        else:
            place = f"/api/resolve-cache/datasets/{dataset.name}/{dataset.commit}/{name}"
            self.say(307, {"Location": place, "X-Repo-Commit": dataset.commit})

    def facts(self, dataset: Dataset, name: str) -> dict[str, str]:
        return {"X-Repo-Commit": dataset.commit, "Accept-Ranges": "bytes"}

    def large(self, dataset: Dataset, name: str) -> dict[str, str]:
        return {
            "Location": f"{self.hub.store}/{dataset.name}/{name}",
            "ETag": f'"{"e" * 32}"',
            "X-Linked-Etag": f'"{dataset.etag(name)}"',
            "X-Linked-Size": str(len(dataset.files[name])),
            "X-Xet-Hash": "a" * 64,
            "Link": f'<{self.hub.url}/api/datasets/x/y/xet-read-token/x>; rel="xet-auth"',
        }

    def small(self, dataset: Dataset, name: str) -> None:
        headers = self.facts(dataset, name) | {"ETag": f'"{dataset.etag(name)}"'}
        self.hand_over(dataset.files[name], headers, None)

    # ---- the host of large files ---------------------------------------------------------------

    def hold(self, request: Request, fault: Fault | None) -> None:
        _, owner, repo, *path = request.path.split("/")
        if self.command != "GET" or "Authorization" in self.headers:  # a token must not come here
            self.strange()
            return
        self.hand_over(self.hub.datasets[f"{owner}/{repo}"].files["/".join(path)], {}, fault)

    def hand_over(self, data: bytes, headers: Mapping[str, str], fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if kind == "wrong":
            data = bytes(byte ^ 1 for byte in data)
        is_part = bool(first) and kind != "whole"
        body = data[first:] if is_part else data
        status = 206 if is_part else 200
        self.request_record.status = status
        self.send_response(status)
        if is_part:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        for name, value in ({"Content-Length": str(len(body))} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        end = min(fault.value, len(body)) if fault and kind == "cut" else len(body)
        with self.hub.busy():
            for start in range(0, end, PIECE):
                piece = body[start : min(end, start + PIECE)]
                self.wfile.write(piece)
                self.request_record.sent += len(piece)
                if fault and kind == "slow":
                    time.sleep(fault.value / 1000)
        if end < len(body):
            self.close_connection = True


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub with nothing in it yet."""
    hub = Hub()
    servers = []
    for is_store in (False, True):
        handler = type("Bound", (Handler,), {"hub": hub, "is_store": is_store})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
    hub.url, hub.store = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
