"""The report at W&B: `python -P -m autoresearch.report.workspace DIR ENTITY PROJECT` saves it.

A process of its own: W&B's client is large, starts a helper and reads the environment as it is
imported; the caller (verbs/report.py) prepares that. The last line on stdout is JSON: `url`, and
`gone`, the URL of the report it replaces if that was deleted; or `problem`, in one line.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import wandb
import wandb_workspaces.reports.v2
from wandb.sdk.lib.service.service_connection import WandbApiFailedError

from autoresearch.errors import AutoresearchError, CampaignError, UserError
from autoresearch.experiment import Json, one_line
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout, read_json, write_atomically
from autoresearch.node.inputs import place
from autoresearch.opening import effective, existing
from autoresearch.report import story
from autoresearch.report.summary import summarize
from autoresearch.sources import Sources

wr: Any = wandb_workspaces.reports.v2  # what it exports by `*` is hidden from type checkers

SCHEMA = 1  # of report/wandb.json; see docs/formats.md
COLUMNS = 24  # of a grid of plots
RUNS = 100  # lines in one plot; W&B's own bound is 10
SCORE = wr.SummaryMetric("bpb")


def told(layout: Layout) -> story.Story:
    """The report of a campaign as it stands."""
    history = History.of(replay(layout.journal).events)
    settings, sources = effective(layout), Sources(layout.sources)
    view = summarize(history, settings, sources)
    return story.tell(view, story.facts_of(history, settings, sources))


# ---- story → W&B's blocks --------------------------------------------------------------------


def blocks(told: story.Story, entity: str, project: str) -> Iterator[Any]:
    yield wr.TableOfContents()
    for section in told.sections:
        yield wr.H1(section.title)
        for block in section.blocks:
            match block:
                case story.Words():
                    yield wr.MarkdownBlock(block.markdown)
                case story.Code():
                    yield wr.CodeBlock(block.text)
                case story.Grid():
                    run_sets = [run_set(each, entity, project) for each in block.run_sets]
                    yield wr.PanelGrid(runsets=run_sets, panels=list(plots(block.axes)))


def run_set(runs: story.RunSet, entity: str, project: str) -> Any:
    return wr.Runset(
        entity=entity,
        project=project,
        name=runs.name,
        filters=" and ".join(map(expression, runs.conditions)),
        order=[wr.OrderBy(SCORE, ascending=True)],
    )


def expression(condition: story.Condition) -> str:
    """A condition as the client parses it, which rewrites `=`, `<` and `>` also inside quotes."""
    kind = "Config" if condition.is_config else "Metric"
    value = condition.value
    if isinstance(value, str):
        value = "'" + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in value) + "'"
    return f"{kind}('{condition.name}') {condition.sign} {value}"


def plots(axes: Iterable[story.Axis]) -> Iterator[Any]:
    """Row by row: curves and scores, then the score by every searched parameter."""
    yield wr.LinePlot(
        title="Training loss by step",
        x="Step",
        y=["loss"],
        max_runs_to_show=RUNS,
        layout=wr.Layout(0, 0, COLUMNS // 2, 8),
    )
    yield wr.ScatterPlot(
        title="Bits per byte, in the order of creation",
        x=wr.Metric("CreatedTimestamp"),
        y=SCORE,
        running_ymin=True,
        layout=wr.Layout(COLUMNS // 2, 0, COLUMNS // 2, 8),
    )
    known = list(axes)
    if known:
        yield wr.ParallelCoordinatesPlot(
            title="Bits per byte and all searched parameters",
            columns=[
                *(coordinate(axis) for axis in known),
                wr.ParallelCoordinatesPlotColumn(SCORE),
            ],
            layout=wr.Layout(0, 8, COLUMNS * 2 // 3, 9),
        )
        corner = wr.Layout(COLUMNS * 2 // 3, 8, COLUMNS // 3, 9)
        yield wr.ParameterImportancePlot(with_respect_to=SCORE.name, layout=corner)
    for number, axis in enumerate(axis for axis in known if axis.is_number):
        row, column = divmod(number, 3)
        yield wr.ScatterPlot(
            title=f"Bits per byte by {axis.parameter}",
            x=wr.Config(place(axis.parameter)),
            y=SCORE,
            log_x=axis.log,
            layout=wr.Layout(column * COLUMNS // 3, 17 + 7 * row, COLUMNS // 3, 7),
        )


def coordinate(axis: story.Axis) -> Any:
    where = wr.Config(place(axis.parameter))
    return wr.ParallelCoordinatesPlotColumn(where, log=axis.log or None)


# ---- saving ----------------------------------------------------------------------------------


def post(layout: Layout, entity: str, project: str) -> Json:
    """Save the report where it was saved before, or as a new one.

    Raises UserError if W&B does not take it, CampaignError if its place cannot be noted.
    """
    try:
        return save(told(layout), layout.report_note, entity, project)
    except (wandb.Error, WandbApiFailedError, OSError) as error:  # OSError: a connection that broke
        raise UserError(f"W&B should take the report, but {reason(error)}") from error


def save(told: story.Story, note: Path, entity: str, project: str) -> Json:
    api = wandb.Api()
    # The reports' client makes one, and asks who we are, for every run set.
    wandb.Api = lambda: api  # type: ignore[assignment, misc]
    home = home_of(api, entity, project)
    known = read_note(note)
    report = saved_before(known, home, entity, project)
    gone = known.get("url", "") if report is None else ""
    if report is None:
        report = wr.Report(project=project, entity=entity)
    report.title, report.description, report.width = told.title, told.description, "fluid"
    report.blocks = list(blocks(told, entity, project))
    report.save()
    url = known["url"] if report.id == known.get("id") else url_of(home, report)
    text = json.dumps({"schema": SCHEMA, "url": url, "id": report.id})
    try:
        write_atomically(note, text + "\n")
    except OSError as error:
        raise CampaignError(f"{note.parent} should be writable, but: {error.strerror}") from error
    return {"url": url, "gone": gone}


def home_of(api: Any, entity: str, project: str) -> str:
    """The project's URL. Raises UserError if there is no such project for us."""
    found = api.project(project, entity)
    try:
        found.id  # noqa: B018 - this is what asks the server
    except ValueError as error:
        if isinstance(error.__cause__, WandbApiFailedError):
            raise error.__cause__ from None
        raise UserError(
            f"project {entity}/{project} should be at W&B, but is not, or this key may not see it; "
            "runs make it as they are sent (`autoresearch sync`), tracker.entity and "
            "tracker.project name another"
        ) from None
    return str(found.url).removesuffix("/workspace")


def read_note(path: Path) -> Mapping[str, str]:
    """`id` and `url` of the report saved before; {} if there is none."""
    record = read_json(path) or {}
    known = {key: record[key] for key in ("id", "url") if isinstance(record.get(key), str)}
    return known if len(known) == 2 else {}


def saved_before(known: Mapping[str, str], home: str, entity: str, project: str) -> Any:
    """The report we know of, with its comments; None if it is no longer in this project."""
    if not known or not known["url"].startswith(f"{home}/reports/"):
        return None
    where = f"https://wandb/{entity}/{project}/reports/--{known['id'].rstrip('=')}"
    try:
        report = wr.Report.from_url(where)
    except TypeError:  # the answer holds no report
        return None
    except ValueError:  # somebody put into it what the client cannot read: ours goes over it
        report = wr.Report(project=project, entity=entity)
        report.id = known["id"]
    return report if (report.entity, report.project) == (entity, project) else None


def url_of(home: str, report: Any) -> str:
    """As W&B writes it; the client's own lacks a server's path."""
    name = re.sub(r"\W+", "-", report.title).strip("-")
    return f"{home}/reports/{name}--{report.id.rstrip('=')}"


def reason(error: Exception) -> str:
    """Why W&B did not take it, in words."""
    status = getattr(getattr(error, "response", None), "http_status", 0)
    if status in (401, 403):
        return "this key may not write there; ask for the permission, or set tracker.entity"
    if not status and "in time" in str(error):
        return (
            "it did not answer in time (it is busy, down, or limits how often it is asked); "
            "try again in a few minutes"
        )
    return one_line(str(error))


def main(directory: str, entity: str, project: str) -> int:
    try:
        answer = post(existing(Path(directory)), entity, project)
    except AutoresearchError as error:
        answer = {"problem": str(error)}
    print(json.dumps(answer), flush=True)  # noqa: T201 - the caller reads it
    return 0


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    os._exit(code)  # the client's own farewell can wait for ever after a server that was too slow
