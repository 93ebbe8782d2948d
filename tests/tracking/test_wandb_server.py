"""The local W&B server under the real clients, each in a process of its own.

What they need takes a second to import, so that one process does many things, and several tests
look at what it left. Faults, states and paths that need no client are asked for by plain HTTP.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
from nodes import wait_until
from wandb_runs import Run
from wandb_server import WandbServer

SECONDS = 100  # for any client
WANDB = Path(sys.executable).with_name("wandb")
SERVER = Path(__file__).parents[1] / "wandb_server.py"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

BEGIN = """
import json, sys, wandb
quiet = dict(console="off", x_disable_meta=True, x_disable_stats=True, x_save_requirements=False)
def begin(id, **more):
    settings = wandb.Settings(**quiet, **more.pop("settings", {}))
    where = dict(entity="lab", project="p", group="wave", job_type="screen", tags=["a", "b"])
    return wandb.init(**where, id=id, settings=settings, **more)
"""


@dataclass
class Client:
    """Where W&B's clients run: a home of their own, and an address."""

    home: Path
    server: WandbServer
    key: str = ""

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
        ours = {
            "HOME": str(self.home),
            "WANDB_API_KEY": self.key or self.server.key,
            "WANDB_BASE_URL": self.server.url,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
        }
        folders = {f"WANDB_{kind}_DIR": str(self.home) for kind in ("CACHE", "CONFIG", "DATA")}
        return {**kept, **ours, **folders}

    def start(self, *words: str | Path) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        return subprocess.Popen(
            words,
            cwd=self.home,
            env=self.environment,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def run(self, *words: str | Path) -> str:
        """What it prints; it must end well."""
        with self.start(*words) as process:
            try:
                output, errors = process.communicate(timeout=SECONDS)
            finally:
                process.kill()
        assert process.returncode == 0, errors
        return output

    def python(self, code: str, *words: str) -> Any:
        """What it prints last, as JSON."""
        return json.loads(self.run(sys.executable, "-c", code, *words).splitlines()[-1])

    def folder(self, id: str) -> Path:
        """Of a run, online or offline."""
        [found] = self.home.glob(f"wandb/*run-*-{id}")
        return found


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server


@pytest.fixture
def client(tmp_path: Path, server: WandbServer) -> Client:
    return Client(tmp_path, server)


# ---- without a client ------------------------------------------------------------------------


def post(url: str, body: object = None, key: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    basic = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}"} if key else {}
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        return json.load(answer)


def ask(server: WandbServer, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    return post(f"{server.url}/graphql", body, server.key)


def upsert(server: WandbServer, id: str) -> str:
    """As a client that starts a run; its GraphQL id."""
    query = """mutation UpsertBucket($name: String!) {
        upsertBucket(input: {entityName: "lab", modelName: "p", name: $name, host: "here"}) {
            bucket { id }
        }
    }"""
    found: str = ask(server, query, name=id)["data"]["upsertBucket"]["bucket"]["id"]
    return found


def stream(server: WandbServer, id: str, **body: Any) -> Any:
    return post(f"{server.url}/files/lab/p/{id}/file_stream", body, server.key)


VIEWER = "query Viewer { viewer { username } }"


def status_of(error: "pytest.ExceptionInfo[HTTPError]") -> int:
    with error.value as answer:
        return answer.code


@pytest.mark.parametrize("key", [None, "wrong" * 8])
def test_without_the_right_key_nothing_is_answered(server: WandbServer, key: str | None) -> None:
    upsert(server, "r")
    for path in ("graphql", "files/lab/p/r/file_stream"):
        with pytest.raises(HTTPError) as error:
            post(f"{server.url}/{path}", {"query": VIEWER}, key)
        assert status_of(error) == 401


def test_telemetry_is_welcome_and_not_counted(server: WandbServer) -> None:
    for kind in ("metrics", "logs"):
        request = urllib.request.Request(  # noqa: S310 - ours
            f"{server.url}/sdk/otel/v1/{kind}", b"\x0a\x00"
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            assert answer.status == 200
    assert server.count() == 0


@contextmanager
def ignorant(named: str) -> Iterator[WandbServer]:
    """A server that does not know what it is asked for, and says so in the end."""
    with pytest.raises(AssertionError, match=re.escape(named)), WandbServer() as server:
        yield server


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("query Weather { weather { rain } }", "Weather: field 'weather' of Query"),
        (
            'query P { project(name: "p", entityName: "lab") { sweeps { id } } }',
            "P: field 'sweeps'",
        ),
        ("query Broken { viewer {", "POST graphql: GraphQL syntax"),
    ],
)
def test_what_the_server_does_not_know_fails_the_test(query: str, named: str) -> None:
    with ignorant(named) as server:
        upsert(server, "r")
        answer = ask(server, query)
        assert answer["data"] is None
        assert answer["errors"]
        assert server.count() == 2


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("healthz", 404, "POST /healthz"),
        ("files/lab/p/r/parts", 404, "POST /files/lab/p/r/parts"),
        ("storage/lab", 400, "download /storage/lab: malformed"),
        ("graphql", 400, "POST graphql /graphql: malformed"),
    ],
)
def test_an_unknown_path_fails_the_test(path: str, status: int, named: str) -> None:
    with ignorant(named) as server:
        with pytest.raises(HTTPError) as error:
            post(f"{server.url}/{path}", {}, server.key)
        assert status_of(error) == status


def test_an_unknown_filter_fails_the_test() -> None:
    query = """query Runs($filters: JSONString) {
        project(name: "p", entityName: "lab") { runCount(filters: $filters) }
    }"""
    with ignorant("Runs: field 'colour'") as server:
        server.seed("lab", "p", [])
        assert ask(server, query, filters="{}") == {"data": {"project": {"runCount": 0}}}
        assert ask(server, query, filters='{"colour": 1}')["errors"]


def test_a_failing_test_keeps_its_error_and_hears_of_the_unknown() -> None:
    def test() -> None:
        with WandbServer() as server:
            ask(server, "query Weather { weather }")
            raise KeyError("the test's own")

    with pytest.raises(KeyError) as error:
        test()
    assert "field 'weather'" in error.value.__notes__[0]


def test_what_the_real_server_would_refuse_is_no_fault_of_ours(server: WandbServer) -> None:
    stop = "mutation StopRun($id: ID!) { stopRun(input: {id: $id}) { success } }"
    assert "not found" in ask(server, stop, id="nobody")["errors"][0]["message"]
    with pytest.raises(HTTPError) as error:
        stream(server, "nobody")
    assert status_of(error) == 404


def test_faults_hit_what_they_are_meant_for(server: WandbServer) -> None:
    upsert(server, "a")
    upsert(server, "b")
    server.fail("file_stream", status=429, headers={"Retry-After": "7"}, run="b")
    stream(server, "a")
    with pytest.raises(HTTPError) as error:
        stream(server, "b")
    assert error.value.headers["Retry-After"] == "7"
    assert status_of(error) == 429
    stream(server, "b")

    server.fail(times=2, status=503)
    for _ in range(2):
        with pytest.raises(HTTPError):
            ask(server, VIEWER)
    server.fail("Viewer", times=1e9)
    stream(server, "a")
    server.heal()
    assert ask(server, VIEWER)["data"]["viewer"]["username"] == "researcher"
    assert [r.status for r in server.requests if r.run == "b"] == [200, 429, 200]
    assert server.count("Viewer") == 3


def test_a_slow_server_answers_late(server: WandbServer) -> None:
    server.slow(0.3, "Viewer")
    begin = time.monotonic()
    upsert(server, "r")
    ask(server, VIEWER)
    assert time.monotonic() - begin >= 0.3


def test_a_server_that_is_down_comes_back_on_the_same_port(server: WandbServer) -> None:
    for _ in range(2):
        ask(server, VIEWER)
        server.down()
        with pytest.raises(URLError, match="refused"):
            ask(server, VIEWER)
        server.up()
    assert ask(server, VIEWER)["data"]


def test_a_request_under_way_is_cut_off(server: WandbServer) -> None:
    upsert(server, "r")
    server.slow(1.0)
    process = subprocess.Popen(
        [sys.executable, "-c", f"import urllib.request as u; u.urlopen('{server.url}/', b'', 60)"],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: server.count("POST "))
    server.down()
    assert re.search("RemoteDisconnected|ConnectionReset", process.communicate(timeout=SECONDS)[1])
    server.unknown.clear()


def test_what_befalls_runs_on_a_server(server: WandbServer) -> None:
    upsert(server, "r")
    stream(server, "r", files={"wandb-summary.json": {"offset": 0, "content": ['{"score": 1}']}})
    server.duplicate("r", "twin")
    server.tamper("twin", score=0)
    assert [run.summary for run in server.runs.values()] == [{"score": 1}, {"score": 0}]
    server.age("r", 301)
    assert (server.run("r").state, server.run("twin").state) == ("crashed", "running")
    server.forget("twin")
    assert list(server.runs) == [("lab", "p", "r")]
    with pytest.raises(AssertionError, match="0 runs have the id 'twin'"):
        server.run("twin")
    server.skew(3600)
    upsert(server, "later")
    assert (server.run("later").created - server.run("r").created).seconds >= 3599


def test_who_is_to_stop_is_told_so(server: WandbServer) -> None:
    node = upsert(server, "r")
    assert stream(server, "r")["stopped"] is False
    stop = "mutation StopRun($id: ID!) { stopRun(input: {id: $id}) { success } }"
    assert ask(server, stop, id=node)["data"]["stopRun"]["success"] is True
    assert stream(server, "r", complete=True, exitcode=255)["stopped"] is True
    assert server.run("r").state == "killed"
    assert server.requests[-2].run == "r"


# ---- as a process ----------------------------------------------------------------------------


def serve(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SERVER), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=SECONDS)
    return process.returncode, errors


def test_other_processes_have_it_under_control() -> None:
    process = serve()
    assert process.stdout
    url, key = process.stdout.readline().split()
    post(f"{url}/_control/seed", {"entity": "lab", "project": "p", "count": 12})
    post(f"{url}/_control/tamper", {"id": "seed00003", "score": 9})
    post(f"{url}/_control/forget", {"id": "seed00000"})
    post(f"{url}/_control/fail", {"operation": "Viewer", "status": 502})
    runs = {run["id"]: run for run in post(f"{url}/_control/runs")}
    assert len(runs) == 11
    assert runs["seed00003"]["summary"]["score"] == 9
    with pytest.raises(HTTPError) as error:
        post(f"{url}/graphql", {"query": VIEWER}, key)
    assert status_of(error) == 502
    post(f"{url}/_control/down", {"seconds": 0.2})
    wait_until(lambda: not answers(url))
    wait_until(lambda: answers(url))
    assert post(f"{url}/_control/stats") == {"counts": {"Viewer": 1}, "unknown": []}
    for what in ("tamper", "nonsense"):
        with pytest.raises(HTTPError) as error:
            post(f"{url}/_control/{what}", {"id": "nobody"})
        assert status_of(error) in (400, 404)
    assert end(process) == (0, "")


def answers(url: str) -> bool:
    try:
        post(f"{url}/_control/stats")
    except (URLError, HTTPException, ConnectionError):
        return False
    return True


def test_a_process_that_was_asked_for_the_unknown_ends_so() -> None:
    process = serve()
    assert process.stdout
    url, key = process.stdout.readline().split()
    post(f"{url}/graphql", {"query": "query Weather { weather }"}, key)
    status, errors = end(process)
    assert status == 1
    assert "Weather: field 'weather' of Query" in errors


# ---- real clients: runs ----------------------------------------------------------------------

WRITE = (
    BEGIN
    + """
run = begin("good", name="shown", config={"lr": 0.1, "deep": {"er": [1, 2]}}, notes="of a test")
for n in range(5):
    run.log({"loss": 1 / (n + 1)})
run.summary["score"] = 2.5
run.finish()

run = begin("bad", config={"lr": 9})
run.log({"loss": float("nan")})
run.finish(exit_code=3)

begin("again", config={"lr": 1}).finish(exit_code=1)
run = begin("again", resume="must", config={"more": 2})
resumed = [run.resumed, run.starting_step]
run.log({"loss": 7})
run.finish()
print(json.dumps(resumed))
"""
)

READ = """
import json, sys, wandb
api = wandb.Api()
def ids(**more):
    return [run.id for run in api.runs("lab/p", **more)]
def error_of(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
good = api.run("lab/p/good")
lazy = api.runs("lab/p", filters={"name": "good"})[0]
found = dict(
    all=ids(),
    pages=ids(per_page=2, order="-config.lr.value"),
    failed=ids(filters={"$or": [{"state": "failed"}, {"config.lr": {"$gt": 5}}]}),
    tagged=ids(filters={"$and": [{"tags": {"$in": ["a"]}}, {"displayName": {"$regex": "^sho"}}]}),
    beat=[good.heartbeat_at, good.created_at],
    since=ids(filters={"heartbeatAt": {"$gte": good.heartbeat_at}}),
    cut=ids(filters={"heartbeatAt": {"$gte": good.heartbeat_at.rstrip("Z")}}),
    good=[good.name, good.state, good.group, good.job_type, good.tags, good.config, good.notes],
    lazy=[lazy.config, lazy.summary["score"]],
    url=good.url,
    score=good.summary["score"],
    history=[row["loss"] for row in good.history(pandas=False)],
    scan=[row["loss"] for row in good.scan_history()],
    keyed=list(good.scan_history(keys=["loss"])),
    last=good.lastHistoryStep,
    files=sorted(file.name for file in good.files()),
    file=json.load(good.file("wandb-summary.json").download(sys.argv[1], replace=True)),
    projects=[project.name for project in api.projects("lab")],
    no_project=error_of(lambda: list(api.runs("lab/nowhere"))),
    no_run=error_of(lambda: api.run("lab/p/no")),
)
api.run("lab/p/bad").stop()
print(json.dumps(found))
"""


@dataclass
class Night:
    server: WandbServer
    resumed: Any
    found: Any


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Runs, written and read again."""
    with WandbServer() as server:
        client = Client(tmp_path_factory.mktemp("night"), server)
        resumed = client.python(WRITE)
        yield Night(server, resumed, client.python(READ, str(client.home)))


def test_a_run_arrives_whole(night: Night) -> None:
    run = night.server.run("good")
    assert (run.entity, run.project, run.name, run.group) == ("lab", "p", "shown", "wave")
    assert (run.job_type, run.tags, run.notes) == ("screen", ["a", "b"], "of a test")
    assert run.config == {"lr": 0.1, "deep": {"er": [1, 2]}}
    assert [row["loss"] for row in run.history] == [1 / n for n in range(1, 6)]
    assert run.summary["score"] == 2.5
    assert (run.state, run.exit_code, run.creations) == ("finished", 0, 1)
    assert set(run.files) >= {"config.yaml", "wandb-summary.json"}
    assert abs((run.heartbeat - datetime.now(UTC)).total_seconds()) < SECONDS


def test_a_failed_run_says_so(night: Night) -> None:
    run = night.server.run("bad")
    assert (run.state, run.exit_code) == ("failed", 3)
    assert [row["loss"] for row in run.history] == ["NaN"]


def test_a_run_is_taken_up_where_it_was_left(night: Night) -> None:
    run = night.server.run("again")
    assert night.resumed[0] is True
    assert (run.state, run.exit_code, run.creations) == ("finished", 0, 2)
    assert run.config == {"lr": 1, "more": 2}
    assert [row["loss"] for row in run.history] == [7]


def test_runs_are_found_by_filter_and_order_on_several_pages(night: Night) -> None:
    found = night.found
    assert found["all"] == ["good", "bad", "again"]
    assert found["pages"] == ["bad", "again", "good"]
    assert found["failed"] == ["bad"]
    assert found["tagged"] == ["good"]
    asked = [r.variables for r in night.server.requests if r.operation == "Runs"]
    assert [v["perPage"] for v in asked].count(2) == 2, "two pages"


def test_a_heartbeat_counts_only_as_it_was_written(night: Night) -> None:
    found = night.found
    assert all(STAMP.fullmatch(text) for text in found["beat"])
    assert sorted(found["since"]) == ["again", "bad", "good"]
    assert found["cut"] == []


def test_a_run_reads_as_it_was_written(night: Night) -> None:
    found, run = night.found, night.server.run("good")
    config = {"lr": 0.1, "deep": {"er": [1, 2]}}
    assert found["good"] == [
        *("shown", "finished", "wave", "screen", ["a", "b"], config, "of a test")
    ]
    assert found["lazy"] == [config, 2.5]
    assert found["url"] == f"{night.server.url}/lab/p/runs/good"
    assert found["score"] == found["file"]["score"] == 2.5
    losses = [row["loss"] for row in run.history]
    assert found["history"] == found["scan"] == losses
    assert found["keyed"] == [{"_step": n, "loss": loss} for n, loss in enumerate(losses)]
    assert found["last"] == 4
    assert found["files"] == sorted(run.files)
    assert found["projects"] == ["p"]
    assert (found["no_project"], found["no_run"]) == ("ValueError", "CommError")
    assert night.server.run("bad").stop_requested


def test_heavy_fields_are_answered_only_when_asked_for(night: Night) -> None:
    """A lazy run costs a request more as soon as one looks at its config."""
    asked = [r.operation for r in night.server.requests if r.run == "good" and r.method == "POST"]
    assert asked.count("Run") == 2


# ---- real clients: faults --------------------------------------------------------------------

PATIENT = (
    BEGIN
    + """
run = begin("r", config={"lr": 1})
run.log({"loss": 1})
run.finish()
print(json.dumps([run.id for run in wandb.Api().runs("lab/p")]))
"""
)


def test_clients_outlast_limits_and_hiccups(client: Client, server: WandbServer) -> None:
    limits = {"Retry-After": "1", "RateLimit-Limit": "1000", "RateLimit-Remaining": "0"}
    server.fail("UpsertBucket", status=429, headers=limits, times=2)
    server.fail("file_stream", status=500)
    server.fail("upload", status=503)
    server.fail("Runs", status=429, headers=limits, times=2)
    assert client.python(PATIENT) == ["r"]
    run = server.run("r")
    assert (run.state, run.creations, len(run.history)) == ("finished", 1, 1)

    def statuses(operation: str) -> list[int]:
        return [r.status for r in server.requests if r.operation == operation]

    assert statuses("UpsertBucket")[:3] == [429, 429, 200]
    assert statuses("Runs") == [429, 429, 200]
    assert statuses("file_stream")[0] == 500
    assert 503 in statuses("upload")
    waits = [r.time for r in server.requests if r.operation == "Runs"]
    assert waits[2] - waits[0] >= 2, "as Retry-After says"


STRANGER = (
    BEGIN
    + """
def refused(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
print(json.dumps([refused(wandb.Api), refused(lambda: begin("r"))]))
"""
)


def test_a_client_with_another_key_is_refused(client: Client, server: WandbServer) -> None:
    client.key = "wrong" * 8
    assert client.python(STRANGER) == ["AuthenticationError", "CommError"]
    assert {request.status for request in server.requests} == {401}
    assert not server.runs


PATCHY = (
    BEGIN
    + """
run = begin("r", settings=dict(finish_timeout=1))
run.log({"loss": 0})
print("begun", flush=True)
sys.stdin.readline()
for n in range(1, 10):
    run.log({"loss": n})
run.finish(exit_code=2)
"""
)


def test_what_was_logged_while_the_server_was_down_is_brought_later(
    client: Client, server: WandbServer
) -> None:
    with client.start(sys.executable, "-c", PATCHY) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        wait_until(lambda: server.count("file_stream"))
        server.down()
        _, errors = process.communicate("go\n", timeout=SECONDS)
    assert process.returncode == 0, errors
    server.up()
    run = server.run("r")
    assert (run.state, len(run.history) < 10) == ("running", True)
    client.run(WANDB, "sync", "--include-online", client.folder("r"))
    assert [row["loss"] for row in run.history] == list(range(10))
    assert (run.state, run.exit_code, run.creations) == ("failed", 2, 2)


OFFLINE = (
    BEGIN
    + """
run = begin("r", mode="offline", config={"lr": 1},
            settings=dict(x_transaction_log_flush_interval=0.2))
for n in range(5):
    run.log({"loss": n})
print("begun", flush=True)
sys.stdin.readline()
run.log({"loss": 5})
run.finish()
"""
)


def test_an_offline_run_is_synced_once(client: Client, server: WandbServer) -> None:
    with client.start(sys.executable, "-c", OFFLINE) as process:
        _, errors = process.communicate("go\n", timeout=SECONDS)
    assert process.returncode == 0, errors
    assert server.count() == 0
    for _ in range(2):
        client.run(WANDB, "beta", "sync", "--yes", client.folder("r"))
    run = server.run("r")
    assert [row["loss"] for row in run.history] == list(range(6))
    assert (run.config, run.group, run.tags) == ({"lr": 1}, "wave", ["a", "b"])
    assert (run.state, run.exit_code, run.creations) == ("finished", 0, 1)


def test_a_run_is_synced_while_it_is_written(client: Client, server: WandbServer) -> None:
    with client.start(sys.executable, "-c", OFFLINE) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "begun\n"
        with client.start(WANDB, "beta", "sync", "--live", "--yes", client.folder("r")) as sync:
            wait_until(lambda: server.runs)
            assert server.run("r").state == "running"
            _, errors = writer.communicate("go\n", timeout=SECONDS)
            assert writer.returncode == 0, errors
            _, errors = sync.communicate(timeout=SECONDS)
    assert sync.returncode == 0, errors
    run = server.run("r")
    assert [row["loss"] for row in run.history] == list(range(6))
    assert (run.state, run.creations) == ("finished", 1)


# ---- real clients: reports -------------------------------------------------------------------

REPORT = """
import json
import wandb_workspaces.reports.v2 as wr
grid = wr.PanelGrid(
    runsets=[wr.Runset("lab", "p", name="all", filters='Config("lr") == 3')],
    panels=[wr.LinePlot(x="Step", y=["loss"]), wr.ScatterPlot(x=wr.Config("lr"), y="score")],
)
blocks = [wr.H1("Result"), wr.MarkdownBlock("*good*"), grid]
report = wr.Report(entity="lab", project="new", title="Night", blocks=blocks)
report.save()
urls = [report.url]
report.blocks.append(wr.P("more"))
report.save()
urls.append(report.url)
loaded = wr.Report.from_url(report.url)
urls.append(loaded.url)
kinds = [type(block).__name__ for block in loaded.blocks]
other = wr.Report(entity="lab", project="new", title="Other")
other.save()
deleted = other.delete()
print(json.dumps([urls, kinds, loaded.blocks[2].runsets[0].filters, deleted]))
"""


def test_a_report_is_saved_and_loads_again(client: Client, server: WandbServer) -> None:
    server.seed("lab", "p", [Run("", "", "r")])
    urls, kinds, filters, deleted = client.python(REPORT)
    assert len(set(urls)) == 1
    assert urls[0].startswith(f"{server.url}/lab/new/reports/Night--")
    assert kinds == ["H1", "MarkdownBlock", "PanelGrid", "P"]
    assert filters == 'Config("lr") == 3'
    assert deleted is True
    (view,) = server.views.values()
    assert (view["displayName"], view["projectName"], view["type"]) == ("Night", "new", "runs")
    assert server.count("CreateProject") == 1
