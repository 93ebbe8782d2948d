"""The report at W&B, saved by the real command and loaded again by the real client."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from desks import PROGRAM
from wandb_runs import Run, matcher
from wandb_server import KEY, WandbServer
from worlds import CELL, World, make_settings

from autoresearch import config, dispatch
from autoresearch.entry import Entry
from autoresearch.experiment import Attempt, Candidate, Json, Split
from autoresearch.journal import Journal, replay
from autoresearch.layout import Layout
from autoresearch.node.inputs import run_of
from autoresearch.program import bake, parameters
from autoresearch.record import Record
from autoresearch.settings import Cluster, Search, Settings, Spending, Tier, Tracker
from autoresearch.sources import Sources
from autoresearch.space import Choice, Domain, Interval
from autoresearch.tracking.naming import run_name

ENTITY, PROJECT, NAME = "researcher", "nights", "night-1"
HOSTILE = "**bold** <img src=x> ```\n# Result\n| a | https://example.org \x1b[31m\u202e"
TIERS = {"screen": CELL, "validate": replace(CELL, device="cpu-2")}
TIER_SETTINGS = {"screen": Tier("cpu-1"), "validate": Tier("cpu-2", threads=2)}
SPACE: dict[str, Domain] = {
    "width": Interval(1, 64, log=True, integer=True),
    "context": Choice((16, 32)),
}
LOADER = """
import json, sys
import wandb_workspaces.reports.v2 as wr
report = wr.Report.from_url(sys.argv[1])
kind = lambda thing: type(thing).__name__
grid = lambda block: {
    "run_sets": [[s.name, s.entity, s.project, s.filters] for s in block.runsets],
    "panels": [kind(panel) for panel in block.panels],
}
blocks = [
    [kind(b), grid(b) if kind(b) == "PanelGrid" else getattr(b, "text", getattr(b, "code", ""))]
    for b in report.blocks
]
print(json.dumps({"id": report.id, "title": report.title, "url": report.url, "blocks": blocks}))
"""


@dataclass
class Night(World):
    """A campaign in a real directory: journal, sources and frozen experiments, results drawn."""

    layout: Layout = field(default_factory=lambda: Layout(Path()))

    def __post_init__(self) -> None:
        dispatch.settled(self.layout, self.settings.cluster.tiers)
        self.layout.config.write_text(config.to_yaml(self.settings), encoding="utf-8")
        journal = Journal.open(self.layout.journal, replay(self.layout.journal))
        self.store = Record(journal, self.history)
        self.sources = Sources.create(self.layout.sources)
        super().__post_init__()

    def record(self, event: Json) -> None:
        if event["type"] == "started":
            given = self.sources.add(PROGRAM, "as given\n", when=0.0)
            event = {**event, "name": self.settings.name, "baseline": given}
        if event["type"] == "crown_closed" and event["crowned"]:
            winner = self.history.crowns[-1].challenger
            text = bake(self.sources.read(winner.program), winner.overrides)
            event["program"] = self.sources.add(text, "won\n", [winner.program], when=0.0)
        self.store.append(event)

    def end(self) -> None:
        self.finish()
        self.record({"type": "ended", "reason": "budget"})

    def runs(self) -> Iterator[Run]:
        """The runs at W&B, named and described as loggers do."""
        for entry in self.history.entries.values():
            experiment, attempt = entry.experiment, Attempt(entry.experiment.id, 1)
            context = dispatch.context(self.history, entry)
            dispatch.freeze(self.layout, self.sources, experiment, context)
            known: Json = {"seed": experiment.seed, "split": experiment.split.value}
            known |= {"cell": experiment.cell.key, **experiment.candidate.overrides}
            run = run_of(self.layout, self.settings.name, entry.tier, attempt, known)
            name = run_name(run)
            yield Run(
                ENTITY,
                PROJECT,
                name.id,
                group=name.group,
                job_type=name.job_type,
                tags=list(name.tags),
                config=run["config"],
                summary={"bpb": entry.bpb},
            )


def settings(root: Path, url: str, entity: str) -> Settings:
    return make_settings(
        name=NAME,
        dir=str(root),
        search=Search(SPACE, rungs=(1, 2), eta=3),
        cluster=Cluster("local", TIER_SETTINGS),
        budget=Spending(wall_hours=12),
        tracker=Tracker("wandb", project=PROJECT, entity=entity, url=url),
    )


def new_night(root: Path, url: str, entity: str = "") -> Night:
    """A baseline, and a wave of four, the best of which will be crowned."""
    layout = Layout(root)
    sources = Sources(layout.sources)

    def draw(candidate: Candidate, seed: int) -> float:
        values = {**parameters(sources.read(candidate.program)), **candidate.overrides}
        return 2.0 - 0.1 * float(values["width"]) + 1e-3 * (seed % 7)

    night = Night(draw, settings(root, url, entity), TIERS, layout=layout)
    night.settle()
    night.propose({"width": 2}, {"width": 3, "context": 16}, {"width": 1, "context": 16})
    return night


@dataclass
class Home:
    """A user's home folder, and the commands run from there."""

    path: Path
    more: dict[str, str]

    def login(self, url: str, key: str = KEY) -> None:
        host = url.removeprefix("http://")
        netrc = self.path / ".netrc"
        netrc.write_text(f"machine {host}\n  login user\n  password {key}\n")
        netrc.chmod(0o600)

    def run(
        self, *words: str, python: str = sys.executable, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        kept = {n: v for n, v in os.environ.items() if not n.startswith("WANDB_") and n != "NETRC"}
        return subprocess.run(
            [python, "-P", *words],
            cwd=self.path,
            env={**kept, "HOME": str(self.path), "COLUMNS": "120", **self.more, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    def report(self, night: Night, **more: Any) -> "subprocess.CompletedProcess[str]":
        return self.run("-m", "autoresearch", "report", str(night.layout.root), "--wandb", **more)

    def url(self, night: Night, **more: Any) -> str:
        """Where the report is, as the last line printed says."""
        done = self.report(night, **more)
        assert done.returncode == 0, done.stderr
        return last_line(done)

    def load(self, url: str, server: WandbServer) -> Json:
        folder = self.more["MPLCONFIGDIR"]
        client = {"WANDB_BASE_URL": server.url, "WANDB_SILENT": "true", "WANDB_CACHE_DIR": folder}
        done = self.run("-c", LOADER, url, **client)
        assert done.returncode == 0, done.stderr
        report: Json = json.loads(done.stdout)
        return report


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server


@pytest.fixture(scope="session")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """matplotlib looks for them once."""
    return str(tmp_path_factory.mktemp("fonts"))


@pytest.fixture
def home(tmp_path: Path, server: WandbServer, fonts: str) -> Home:
    home = Home(tmp_path / "home", {"MPLCONFIGDIR": fonts})
    home.path.mkdir()
    home.login(server.url)
    return home


@pytest.fixture
def night(tmp_path: Path, server: WandbServer) -> Night:
    night = new_night(tmp_path / "campaigns" / NAME, server.url)
    server.seed(ENTITY, PROJECT, night.runs())
    return night


@dataclass
class Saved:
    """A campaign that has ended, its report as it loads again, and what there was to be seen."""

    night: Night
    report: Json
    done: "subprocess.CompletedProcess[str]"
    view: Json
    home: Home


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, fonts: str) -> Iterator[Saved]:
    root = tmp_path_factory.mktemp("saved")
    home = Home(root / "home", {"MPLCONFIGDIR": fonts})
    home.path.mkdir()
    with WandbServer() as server:
        home.login(server.url)
        night = new_night(root / "campaigns" / NAME, server.url)
        night.end()
        server.seed(ENTITY, PROJECT, night.runs())
        done = home.report(night, ANTHROPIC_API_KEY="sk-not-to-be-seen")
        assert done.returncode == 0, done.stderr
        (view,) = server.views.values()
        yield Saved(night, home.load(last_line(done), server), done, view, home)


def last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Where the report is."""
    words, _, url = done.stdout.splitlines()[-1].partition(": ")
    assert words == "W&B report"
    return url


def headings(report: Json) -> list[str]:
    return [text for kind, text in report["blocks"] if kind == "H1"]


def words(report: Json) -> str:
    """All the Markdown, its escapes taken out."""
    return "\n".join(t for kind, t in report["blocks"] if kind == "MarkdownBlock").replace("\\", "")


def grids(report: Json) -> list[Json]:
    return [block for kind, block in report["blocks"] if kind == "PanelGrid"]


def spec(server: WandbServer) -> Json:
    (view,) = server.views.values()
    answer: Json = json.loads(view["spec"])
    return answer


def shown(server: WandbServer, run_set: Json) -> set[str]:
    """The experiments a saved run set would show, of all runs in the project."""
    signs = {"=": "$eq", ">=": "$gte", "<=": "$lte"}
    parts = []
    for item in run_set["filters"]["filters"]:
        key = item["key"]
        assert item.get("connector", "AND") == "AND"
        name = f"config.{key['name']}" if key["section"] == "config" else key["name"]
        parts.append({name: {signs[item["op"]]: item["value"]}})
    fits = matcher({"$and": parts})
    return {run.id.partition("-")[0] for run in server.runs.values() if fits(run)}


def run_sets(server: WandbServer) -> dict[str, Json]:
    grids = [b["metadata"] for b in spec(server)["blocks"] if b["type"] == "panel-grid"]
    return {run_set["name"]: run_set for grid in grids for run_set in grid["runSets"]}


def expected(night: Night, tier: str, wave: int | None = None) -> set[str]:
    def belongs(entry: Entry) -> bool:
        is_validation = entry.experiment.split is Split.validation
        return is_validation and entry.tier == tier and wave in (None, entry.wave)

    return {id for id, entry in night.history.entries.items() if belongs(entry)}


def note(night: Night) -> Json:
    record: Json = json.loads(night.layout.report_note.read_text(encoding="utf-8"))
    return record


# ---- it is saved, and loads again --------------------------------------------------------------


def test_a_finished_campaign_loads_again_with_every_section_and_run_set(saved: Saved) -> None:
    report = saved.report
    assert saved.done.stderr == ""
    assert report["url"] == last_line(saved.done)
    assert note(saved.night) == {"schema": 1, "url": report["url"], "id": report["id"]}
    assert report["blocks"][0][0] == "TableOfContents"
    assert headings(report) == [
        "Result · unprotected",
        "What changed",
        "Tier screen · cpu-1 · 1000 tokens · unprotected",
        "Tier validate · cpu-2 · 1000 tokens · unprotected",
        "Waves, screened on screen · unprotected",
        "Crown tests · unprotected",
        "The champion's diff",
        "How to reproduce",
    ]
    plots = ["LinePlot", "ScatterPlot", "ParallelCoordinatesPlot", "ParameterImportancePlot"]
    assert [grid["panels"] for grid in grids(report)] == [
        [*plots, "ScatterPlot", "ScatterPlot"],
        [*plots, "ScatterPlot", "ScatterPlot"],
        ["LinePlot", "ScatterPlot"],
    ]
    found = [run_set for grid in grids(report) for run_set in grid["run_sets"]]
    assert [run_set[0] for run_set in found] == ["tier screen", "tier validate", "wave 1"]
    assert {(entity, project) for _, entity, project, _ in found} == {(ENTITY, PROJECT)}


def test_a_run_set_shows_the_runs_of_its_tier_or_wave_and_no_others(
    home: Home, night: Night, server: WandbServer
) -> None:
    for width in range(4, 16):
        night.propose({"width": width})
    night.end()
    server.seed(ENTITY, PROJECT, night.runs())
    strangers = [replace(run, id=f"x{run.id}", group="night-2") for run in night.runs()]
    server.seed(ENTITY, PROJECT, strangers)
    home.url(night)
    found = run_sets(server)
    waves = {f"wave {n}": n for n in range(13, 3, -1)}
    assert list(found) == ["tier screen", "tier validate", *waves, "all earlier waves"]
    for tier in TIERS:
        assert shown(server, found[f"tier {tier}"]) == expected(night, tier)
    for name, number in waves.items():
        assert shown(server, found[name]) == expected(night, "screen", number)
    earlier = set.union(*(expected(night, "screen", n) for n in (1, 2, 3)))
    assert shown(server, found["all earlier waves"]) == earlier
    assert len(earlier) > 2


def test_a_parameter_called_like_something_of_ours_has_an_axis_of_its_own(
    home: Home, night: Night, server: WandbServer
) -> None:
    """As everything else has: what a run's config calls `seed` is the experiment's."""
    search = replace(night.settings.search, space={**SPACE, "seed": Interval(1, 8)})
    text = config.to_yaml(replace(night.settings, search=search))
    night.layout.config.write_text(text, encoding="utf-8")
    home.url(night)
    named = re.findall(r'"config:([a-z.]+)"', json.dumps(spec(server)))
    axes = {"width.value", "context.value", "parameters.value.seed"}  # W&B's way into a mapping
    assert set(named) == axes
    plots = 2 * len(TIERS)  # of all parameters, and of each
    assert all(named.count(axis) >= plots for axis in axes)


def test_the_headline_is_the_certification_and_the_diff_what_won(saved: Saved) -> None:
    report, text = saved.report, words(saved.report)
    assert "**Champion " in text
    assert "certified on the test split with 4 fresh seeds each" in text
    assert "| width | 1 | 3 |" in text
    assert "unprotected: no sandbox held the programs" in text
    diff, commands = (block for kind, block in report["blocks"] if kind == "CodeBlock")
    assert "--- baseline\n+++ champion\n" in diff
    assert "-    width: int = 1  # of nothing in particular" in diff
    assert "+    width: int = 3  # of nothing in particular" in diff
    assert f"autoresearch replay {NAME} champion" in commands
    assert CELL.data in text
    assert str(saved.night.layout.root.parent) not in json.dumps(saved.view), (
        "it is nobody's business"
    )


def test_a_campaign_without_a_champion_says_so(
    home: Home, night: Night, server: WandbServer
) -> None:
    report = home.load(home.url(night), server)
    assert "No champion yet. An effect of " in words(report)
    assert "nothing differs" in words(report)
    assert "certified" not in words(report)


def test_texts_of_planners_and_programs_are_only_text(
    home: Home, night: Night, server: WandbServer
) -> None:
    hostile = {"planner": HOSTILE, "hypothesis": HOSTILE, "proposals": [], "exhausted": False}
    night.record(
        {"type": "proposed", "purpose": "screen", "wave": hostile, "experiments": []},
    )
    report = home.load(home.url(night), server)
    assert [h for h in headings(report) if h.startswith("Result")] == ["Result · unprotected"]
    raw = "\n".join(text for kind, text in report["blocks"] if kind == "MarkdownBlock")
    assert r"\*\*bold\*\* \<img src\=x\> \`\`\` \# Result \| a \| https\:\/\/example\.org" in raw
    assert not {"\x1b", "\u202e"} & set(raw)


def test_the_client_reads_a_value_in_a_filter_as_it_was_meant(home: Home) -> None:
    """It rewrites comparisons before it parses them, those in quotes too."""
    values = ["a=b", "it's", 'a"b', "a < b > c", "x\\", "Metric('a') within_last 5 days", "变"]
    code = (
        "import json, sys\n"
        "from wandb_workspaces.expr import expr_to_filters\n"
        "from autoresearch.report.story import Condition\n"
        "from autoresearch.report.workspace import expression\n"
        "read = lambda v: expr_to_filters(expression(Condition('x', v, '<=')))\n"
        "print(json.dumps([[f.value, f.op] for f in map(read, json.loads(sys.argv[1]))]))"
    )
    done = home.run("-W", "error::UserWarning", "-c", code, json.dumps([*values, 3]))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[value, "<="] for value in [*values, 3]]


# ---- it stays where it is ----------------------------------------------------------------------


def test_saving_again_keeps_the_url_and_brings_it_up_to_date(
    home: Home, night: Night, server: WandbServer
) -> None:
    first = home.url(night)
    known = note(night)
    saved = spec(server)
    saved["discussionThreads"] = [{"comment": "well done"}]
    server.views[known["id"]]["spec"] = json.dumps(saved)
    night.end()
    assert home.url(night) == first
    assert note(night) == known
    report = home.load(first, server)
    assert report["id"] == known["id"]
    assert "certified on the test split" in words(report)
    assert spec(server)["discussionThreads"] == [{"comment": "well done"}], "comments are kept"


def test_a_report_that_was_deleted_is_made_anew_and_said_to_be(
    home: Home, night: Night, server: WandbServer
) -> None:
    first = home.url(night)
    server.views.clear()
    server.views["Vmlldzo3"] = {}  # so that the next one gets another id
    done = home.report(night)
    del server.views["Vmlldzo3"]
    assert done.returncode == 0
    assert done.stderr == f"{first} is no longer there: made a new report\n"
    second = note(night)["url"]
    assert second != first
    assert done.stdout.splitlines()[-1] == f"W&B report: {second}"
    assert home.load(second, server)["title"] == NAME
    assert home.url(night) == second


def test_a_report_that_the_client_cannot_read_is_written_over(
    home: Home, night: Night, server: WandbServer
) -> None:
    first = home.url(night)
    server.views[note(night)["id"]]["spec"] = json.dumps({"blocks": [{"type": "panel-grid"}, 7]})
    assert home.url(night) == first
    assert len(grids(home.load(first, server))) == 3


def test_a_note_that_is_damaged_or_of_another_server_is_no_note(
    home: Home, night: Night, server: WandbServer
) -> None:
    for text in (
        '{"id": 3, "url": "x"}',
        '{"id": "Vmlldzo3", "url": "https://elsewhere/reports/a"}',
    ):
        night.layout.report_note.write_text(text, encoding="utf-8")
        home.url(night)
        assert note(night)["id"] in server.views
    assert len(server.views) == 2


def test_a_team_named_in_the_settings_gets_the_report(
    tmp_path: Path, home: Home, server: WandbServer
) -> None:
    night = new_night(tmp_path / NAME, server.url, entity="a-team")
    server.seed("a-team", PROJECT, [])
    assert home.url(night).startswith(f"{server.url}/a-team/{PROJECT}/reports/{NAME}--")


# ---- it leaves nothing behind ------------------------------------------------------------------


def test_nothing_is_written_elsewhere_and_the_key_nowhere(saved: Saved) -> None:
    layout = saved.night.layout
    assert [path.name for path in saved.home.path.rglob("*")] == [".netrc"]
    names = {path.name for path in layout.report.iterdir()}
    assert names == {"progress.png", "results.tsv", "wandb.json"}
    seen = [saved.done.stdout.encode(), json.dumps(saved.view).encode()]
    seen += [path.read_bytes() for path in layout.root.rglob("*") if path.is_file()]
    for secret in (KEY.encode(), b"sk-not-to-be-seen"):
        assert not any(secret in content for content in seen)


def test_a_key_of_the_environment_will_do(home: Home, night: Night) -> None:
    (home.path / ".netrc").unlink()
    home.url(night, WANDB_API_KEY=KEY)


def test_what_the_user_has_set_for_runs_does_not_hinder(home: Home, night: Night) -> None:
    home.url(night, WANDB_MODE="disabled", WANDB_PROJECT="other", WANDB_ENTITY="other")


def test_w_and_b_is_asked_little(home: Home, night: Night, server: WandbServer) -> None:
    for width in range(4, 30):
        night.propose({"width": width})
    home.url(night)
    assert len(run_sets(server)) == 13
    assert server.count() < 22


# ---- what goes wrong is one line ---------------------------------------------------------------


def refused(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line."""
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_campaign_without_w_and_b_is_refused(tmp_path: Path, home: Home) -> None:
    night = new_night(tmp_path / NAME, "")
    files = config.to_yaml(make_settings(**{**vars(night.settings), "tracker": Tracker()}))
    night.layout.config.write_text(files, encoding="utf-8")
    assert "report --wandb needs tracker=wandb" in refused(home.report(night))
    assert not night.layout.report_note.exists()


def test_no_key_is_one_line(home: Home, night: Night) -> None:
    (home.path / ".netrc").unlink()
    assert "`wandb login --host=" in refused(home.report(night))


def test_a_wrong_key_is_one_line(home: Home, night: Night, server: WandbServer) -> None:
    home.login(server.url, "wrong" * 8)
    line = refused(home.report(night))
    assert "does not accept the key" in line
    assert "wrong" * 8 not in line


def test_a_server_that_is_not_there_is_one_line(
    home: Home, night: Night, server: WandbServer
) -> None:
    server.down()
    assert "cannot be reached" in refused(home.report(night))
    assert (night.layout.report / "results.tsv").exists(), "the rest is written all the same"
    server.up()


def test_a_project_that_does_not_exist_is_one_line(
    tmp_path: Path, home: Home, server: WandbServer
) -> None:
    night = new_night(tmp_path / NAME, server.url, entity="nobody")
    assert f"project nobody/{PROJECT} should be at W&B, but" in refused(home.report(night))
    assert server.views == {}


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (("Viewer", 429), "HTTP status 429"),
        (("upsertView", 429), "did not answer in time (it is busy, down, or limits"),
        (("upsertView", 403), "this key may not write there"),
        (("upsertView", 400), "injected fault"),
        (("GetProject", 500), "did not answer in time"),
    ],
)
def test_what_the_server_refuses_is_one_line(
    home: Home, night: Night, server: WandbServer, fault: tuple[str, int], line: str
) -> None:
    server.fail(fault[0], status=fault[1], times=1e9)
    assert line in refused(home.report(night, WANDB_HTTP_TIMEOUT="2"))
    assert not night.layout.report_note.exists()


def test_a_moment_of_too_many_requests_is_waited_out(
    home: Home, night: Night, server: WandbServer
) -> None:
    server.fail("upsertView", status=429, headers={"Retry-After": "1"})
    home.url(night)


def test_a_missing_package_is_one_line(tmp_path: Path, home: Home, night: Night) -> None:
    """Everything that is installed here but this."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("wandb_workspaces"):
            (packages / path.name).symlink_to(path)
    python = str(getattr(sys, "_base_executable", sys.executable))
    line = refused(home.report(night, python=python, PYTHONPATH=f"{Path.cwd()}:{packages}"))
    assert "wandb-workspaces" in line
    assert "not installed" in line
