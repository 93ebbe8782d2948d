"""What a W&B server answers to GraphQL: its types, as far as this project's clients ask for them.

Resolvers are called with the arguments of a field, those of a mutation with the fields of its
input; see `wandb_graphql`.
"""

import functools
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from wandb_graphql import Node, Refused, Unknown
from wandb_runs import (
    PAGE,
    Project,
    Run,
    Store,
    arranged,
    decode,
    encode,
    matcher,
    read_json,
    stamp,
)

FEATURES = ("LARGE_FILENAMES", "FILESTREAM_GZIP", "MARK_RUN_FILES_UPLOADED")
VIEWER = "researcher"  # whose key it is: the default entity, too


def connection(nodes: Sequence[Node], start: int, total: int) -> Node:
    """A page of `total` nodes, from `start` on. A cursor is opaque to clients."""
    ends = [encode(f"cursor:{start + i}") for i in range(1, len(nodes) + 1)]
    return Node(
        "Connection",
        edges=[Node("Edge", node=n, cursor=end) for n, end in zip(nodes, ends, strict=True)],
        pageInfo=Node(
            "PageInfo",
            endCursor=ends[-1] if ends else None,
            hasNextPage=start + len(nodes) < total,
        ),
        totalCount=total,
    )


def position(cursor: str | None) -> int:
    if not cursor:
        return 0
    head, _, number = decode(cursor).partition(":")
    if head != "cursor" or not number.isdigit():
        raise Refused(f"cursor {cursor!r} is not ours")
    return int(number)


def thinned(rows: list[Any], samples: int | None) -> list[Any]:
    """At most `samples` rows, evenly spread."""
    wanted = samples or 500
    if len(rows) <= wanted:
        return rows
    return [rows[i * len(rows) // wanted] for i in range(wanted)]


def lines(rows: Iterable[Any]) -> list[str]:
    return [json.dumps(row) for row in rows]


def step(row: dict[str, Any]) -> int:
    return int(row.get("_step", 0))


# ---- a run -----------------------------------------------------------------------------------


def history(
    run: Run, samples: int | None = None, min_step: int = 0, max_step: int | None = None
) -> list[str]:
    rows = run.history
    if max_step is not None:
        rows = [row for row in rows if min_step <= step(row) < max_step]
    return lines(thinned(rows, samples))


def sampled_history(run: Run, specs: list[str]) -> list[list[dict[str, Any]]]:
    """For each spec the rows that have all its keys, with these only."""
    found = []
    for spec in map(json.loads, specs):
        low, high = spec.get("minStep", 0), spec.get("maxStep", float("inf"))
        rows = [
            {key: row[key] for key in spec["keys"]}
            for row in run.history
            if low <= step(row) <= high and all(key in row for key in spec["keys"])
        ]
        found.append(thinned(rows, spec.get("samples")))
    return found


def history_keys(run: Run) -> dict[str, Any]:
    keys: dict[str, int] = {}
    for row in run.history:
        for key in row:
            keys[key] = keys.get(key, 0) + 1
    return {
        "sets": [],
        "keys": {k: {"typeCounts": [{"type": "number", "count": n}]} for k, n in keys.items()},
        "lastStep": max(map(step, run.history), default=-1),
    }


def parquet_history(run: Run, live_keys: list[str]) -> Node:
    """Nothing is exported: all rows are live."""
    live = [{"_step": step(row)} for row in run.history[:1]]
    return Node("ParquetHistory", parquetUrls=[], liveData=live)


def log_lines(
    run: Run,
    last: int | None = None,
    first: int | None = None,
    after: str | None = None,
    use_improved_pagination: bool = True,
) -> Node:
    start = position(after) if last is None else max(0, len(run.log) - last)
    page = run.log[start:][: first or PAGE]
    nodes = [
        Node("LogLine", number=i, timestamp=None, level=None, label=None, line=line)
        for i, line in enumerate(page, start)
    ]
    return connection(nodes, start, len(run.log))


def run_fields(run: Run) -> dict[str, Any]:
    """What is cheap to say about a run; what is not waits in a function until it is asked for."""
    return {
        "id": run.node_id,
        "name": run.id,
        "displayName": run.name or run.id,
        "description": run.notes,
        "notes": run.notes,
        "state": run.state,
        "tags": list(run.tags),
        "group": run.group,
        "jobType": run.job_type,
        "sweepName": None,
        "commit": run.commit,
        "host": run.host,
        "readOnly": False,
        "createdAt": stamp(run.created),
        "heartbeatAt": stamp(run.heartbeat),
        "stopped": run.stop_requested,
        "user": Node("User", name=VIEWER, username=VIEWER),
        "historyLineCount": len(run.history),
        "eventsLineCount": len(run.system),
        "logLineCount": len(run.log),
        "fileCount": len(run.files),
        "config": lambda: json.dumps(run.raw_config()),
        "summaryMetrics": lambda: json.dumps(run.summary),
        "systemMetrics": lambda: json.dumps(run.system[-1] if run.system else {}),
        "historyTail": lambda: json.dumps(lines(run.history[-1:])),
        "eventsTail": lambda: json.dumps(lines(run.system[-1:])),
        "wandbConfig": functools.partial(wandb_config, run),
        "historyKeys": lambda: history_keys(run),
        "history": functools.partial(history, run),
        "events": lambda samples=None: lines(thinned(run.system, samples)),
        "sampledHistory": functools.partial(sampled_history, run),
        "parquetHistory": functools.partial(parquet_history, run),
        "logLines": functools.partial(log_lines, run),
    }


def wandb_config(run: Run, keys: list[str]) -> str:
    telemetry = run.telemetry or {}
    return json.dumps({key: telemetry[key] for key in keys if key in telemetry})


# ---- the roots -------------------------------------------------------------------------------


class Schema:
    """Queries and mutations over a store of runs and a dict of views (reports, that is)."""

    def __init__(self, store: Store, views: dict[str, dict[str, Any]], url: str) -> None:
        self.store = store
        self.views = views
        self.numbers = itertools.count(1000)  # of views: none comes twice
        self.url = url
        self.heartbeat_filters = True
        self.query = Node(
            "Query",
            viewer=self.viewer,
            serverInfo=self.server_info,
            entity=lambda name: Node("Entity", id=encode(f"Entity:{name}"), organization=None),
            project=self.project,
            model=self.project,
            models=self.models,
            view=self.view,
        )
        self.mutation = Node(
            "Mutation",
            upsertBucket=self.upsert_bucket,
            createRunFiles=self.create_run_files,
            markRunFilesUploaded=self.mark_run_files_uploaded,
            stopRun=self.stop_run,
            upsertModel=self.upsert_model,
            upsertView=self.upsert_view,
            deleteView=self.delete_view,
        )

    # -- queries

    def viewer(self) -> Node:
        nobody = Node("Connection", edges=[])
        return Node(
            "User",
            id=encode(f"User:{VIEWER}"),
            name=VIEWER,
            username=VIEWER,
            entity=VIEWER,
            email=f"{VIEWER}@example.com",
            admin=False,
            flags="{}",
            deletedAt=None,
            teams=nobody,
            apiKeys=nobody,
        )

    def server_info(self) -> Node:
        features = [Node("ServerFeature", name=name, isEnabled=True) for name in FEATURES]
        return Node("ServerInfo", features=features)

    def project(self, name: str | None = None, entity_name: str | None = None) -> Node | None:
        found = self.store.projects.get((entity_name or VIEWER, name or "uncategorized"))
        return self.project_node(found) if found else None

    def models(self, entity_name: str | None = None, after: str = "", first: int = 50) -> Node:
        entity = entity_name or VIEWER
        found = [p for p in self.store.projects.values() if p.entity == entity]
        start = position(after)
        page = [self.project_node(project) for project in found[start:][:first]]
        return connection(page, start, len(found))

    def project_node(self, project: Project) -> Node:
        @functools.cache
        def matching(filters: str | None) -> list[Run]:
            fits = matcher(json.loads(filters or "{}"), heartbeats=self.heartbeat_filters)
            return [run for run in map(self.store.settled, project.runs.values()) if fits(run)]

        def runs(
            filters: str | None = None,
            after: str | None = None,
            first: int | None = None,
            order: str | None = None,
        ) -> Node:
            found = arranged(matching(filters), order or "+created_at")
            start = position(after)
            page = found[start:][: min(first or 50, PAGE)]
            return connection([self.run_node(project, run) for run in page], start, len(found))

        def run(name: str, missing_ok: bool = True) -> Node | None:
            found = self.store.find(project.entity, project.name, name)
            return self.run_node(project, found) if found else None

        entity = encode(f"Entity:{project.entity}")
        return Node(
            "Project",
            id=encode(f"Project:v1:{project.name}:{project.entity}"),
            internalId=encode(f"ProjectInternalId:{project.number}"),
            name=project.name,
            entityName=project.entity,
            entity=Node("Entity", id=entity, name=project.entity),
            createdAt=stamp(project.created),
            description=None,
            access="USER_READ",
            views="{}",
            isBenchmark=False,
            readOnly=False,
            user=None,
            run=run,
            bucket=run,
            runs=runs,
            runCount=lambda filters=None: len(matching(filters)),
        )

    def run_node(self, project: Project, run: Run) -> Node:
        return Node(
            "Run",
            **run_fields(run),
            projectId=str(project.number),
            project=lambda: self.project_node(project),
            files=functools.partial(self.files, run),
        )

    def files(
        self,
        run: Run,
        names: list[str] | None = None,
        after: str | None = None,
        first: int | None = None,
        pattern: str | None = None,
    ) -> Node:
        if pattern:
            raise Unknown("files by a pattern")
        found = [name for name in run.files if not names or name in names]
        start = position(after)
        page = [self.file(run, name) for name in found[start:][: first or 50]]
        return connection(page, start, len(found))

    def file(self, run: Run, name: str) -> Node:
        place = self.place(run, name)
        return Node(
            "File",
            id=encode(f"File:{run.node_id}:{name}"),
            name=name,
            url=lambda upload=False: place,
            directUrl=place,
            sizeBytes=str(len(run.files[name])),
            mimetype="application/octet-stream",
            updatedAt=stamp(run.heartbeat),
            md5="",
        )

    def place(self, run: Run, name: str) -> str:
        """Where a file is uploaded to, and downloaded from."""
        parts = "/".join(quote(part, safe="") for part in (run.entity, run.project, run.id))
        return f"{self.url}/storage/{parts}/{quote(name)}"

    # -- mutations

    def upsert_bucket(
        self,
        id: str | None = None,
        name: str | None = None,
        model_name: str | None = None,
        entity_name: str | None = None,
        **values: Any,  # see `update`
    ) -> Node:
        """By name: a client writes a run. By id alone: somebody edits one."""
        if name:
            entity, project = entity_name or VIEWER, model_name or "uncategorized"
            starts = values.get("host") is not None  # an update leaves it out
            run, new = self.store.upsert(entity, project, name, starts=starts)
        else:
            run, new = self.store.of_node(id or ""), False
        self.update(run, **values)
        project_of = self.store.project(run.entity, run.project)
        return Node("UpsertBucket", bucket=self.run_node(project_of, run), inserted=new)

    def update(
        self,
        run: Run,
        *,
        display_name: str | None = None,
        group_name: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
        description: str | None = None,
        notes: str | None = None,
        host: str | None = None,
        commit: str | None = None,
        state: str | None = None,
        config: str | None = None,
        summary_metrics: str | None = None,
        debug: bool | None = None,
        job_program: str | None = None,
        job_repo: str | None = None,
        sweep: str | None = None,
    ) -> None:
        """What is None stays as it is."""
        if sweep:
            raise Unknown(f"the sweep {sweep!r} of a run")
        given = {
            "name": display_name,
            "group": group_name,
            "job_type": job_type,
            "tags": tags,
            "notes": notes or description,
            "host": host,
            "commit": commit,
            "state": state,
            "summary": read_json(summary_metrics) if summary_metrics else None,
        }
        for attribute, value in given.items():
            if value is not None:
                setattr(run, attribute, value)
        if config:
            run.set_raw_config(read_json(config))

    def create_run_files(
        self, entity_name: str, project_name: str, run_name: str, files: list[str]
    ) -> Node:
        run = self.store.find(entity_name, project_name, run_name)
        if run is None:
            raise Refused(f"run {entity_name}/{project_name}/{run_name} not found")
        places = [Node("RunFile", name=f, uploadUrl=self.place(run, f)) for f in files]
        return Node("CreateRunFiles", runID=run.node_id, uploadHeaders=[], files=places)

    def mark_run_files_uploaded(
        self, entity_name: str, project_name: str, run_name: str, files: list[str]
    ) -> Node:
        run = self.store.find(entity_name, project_name, run_name)
        return Node("MarkRunFilesUploaded", success=bool(run and set(files) <= set(run.files)))

    def stop_run(self, id: str) -> Node:
        self.store.of_node(id).stop_requested = True
        return Node("StopRun", success=True)

    def upsert_model(self, entity_name: str, name: str, **more: Any) -> Node:
        if strange := sorted(key for key, value in more.items() if value is not None):
            raise Unknown(f"upsertModel: {', '.join(strange)}")
        new = (entity_name, name) not in self.store.projects
        node = self.project_node(self.store.project(entity_name, name))
        return Node("UpsertModel", project=node, model=node, inserted=new)

    def upsert_view(
        self,
        *,
        spec: str,
        entity_name: str,
        project_name: str,
        id: str | None = None,
        name: str | None = None,
        display_name: str | None = None,
        description: str | None = None,
        type: str | None = None,
        created_using: str = "",
    ) -> Node:
        """A view that has an id keeps it."""
        if id and id not in self.views:
            raise Refused(f"view {id!r} not found")
        if (entity_name, project_name) not in self.store.projects:
            raise Refused(f"project {entity_name}/{project_name} not found")
        now = stamp(self.store.now())
        new = id is None
        id = id or encode(f"View:{next(self.numbers)}")
        view = self.views.setdefault(id, {"id": id, "createdAt": now})
        view |= {"entityName": entity_name, "projectName": project_name, "updatedAt": now}
        view |= {"name": name, "displayName": display_name, "description": description}
        view |= {"type": type, "spec": spec}
        return Node("UpsertView", view=self.view(id), inserted=new)

    def view(self, id: str) -> Node | None:
        if id not in self.views:
            return None
        view = dict(self.views[id])
        project = self.project(view.pop("projectName"), view.pop("entityName"))
        return Node("View", **view, project=project)

    def delete_view(self, id: str, delete_drafts: bool = False) -> Node:
        found = self.views.pop(id, None) is not None
        return Node("DeleteView", success=found, pendingDrafts=0)
