"""Starting a campaign in a new directory, and taking one up again.

Starting can be killed anywhere and repeated: the journal's `started` event is its last line.
"""

import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoresearch import config, dispatch
from autoresearch.asking import THINKERS, Desk
from autoresearch.campaign import Campaign
from autoresearch.claude.client import check_access
from autoresearch.claude.prompt import program_md
from autoresearch.cluster.table import connect
from autoresearch.errors import CampaignError, ConfigError, DataError, SourceError
from autoresearch.experiment import Cell, Scalar, Split
from autoresearch.history import History
from autoresearch.inspection import NONE, few, inspect
from autoresearch.journal import Journal, replay
from autoresearch.layout import Layout, write_atomically
from autoresearch.lease import STALE_SECONDS, acquire, is_held, is_held_elsewhere
from autoresearch.mirror.watching import Watching
from autoresearch.node import freeze, sandbox
from autoresearch.node.data import Prepared, manifest_id
from autoresearch.node.device import software
from autoresearch.node.scoring import rows_of
from autoresearch.node.signature import make_key
from autoresearch.planners.table import settings_of
from autoresearch.program import bake, check, parameters, undefined
from autoresearch.programs import Programs
from autoresearch.record import Record
from autoresearch.settings import NodeSettings, Settings
from autoresearch.sources import Sources
from autoresearch.tracking.server import address, ask

PATIENCE = 5.0  # seconds between two looks at a lease that is about to run out


def start(settings: Settings) -> Campaign:
    """A new campaign. Raises UserError if the directory is in use or something is missing."""
    layout = Layout(Path(settings.dir))
    if layout.config.exists():
        raise in_use(layout)
    text = read_program(settings)
    config.check(settings, check_program(text))
    settings_of(settings.planner.kind, settings.planner.options)
    check_data(settings)
    check(bake(text, settings.task.params))
    connect(layout, settings.cluster).check()
    check_tracker(settings)
    check_researcher(settings)
    if settings.cluster.kind == "local":  # pilots will see no other machine; slow, so it comes late
        sandbox.choose(settings.cluster.sandbox)
    dispatch.settled(layout, settings.cluster.tiers)
    occupy(layout, config.to_yaml(settings))
    write_atomically(layout.identity, secrets.token_hex(5) + "\n")
    return take_up(layout, settings)


def occupy(layout: Layout, settings: str) -> None:
    """Write config.yaml unless it exists. Raises CampaignError if somebody else was faster."""
    draft = layout.config.with_name(f".{layout.config.name}.{os.uname().nodename}.{os.getpid()}")
    write_atomically(draft, settings)
    try:
        os.link(draft, layout.config)
    except FileExistsError:
        raise in_use(layout) from None
    finally:
        draft.unlink(missing_ok=True)


def in_use(layout: Layout) -> CampaignError:
    return CampaignError(
        f"{layout.root} should be a new directory, but holds a campaign; go on with it by "
        f"`autoresearch resume {layout.root}`, or choose another name=..."
    )


def check_tracker(settings: Settings) -> None:
    """Raises ConfigError where W&B must answer, and does not."""
    if settings.tracker.kind == "wandb" and settings.tracker.mode == "online":
        account = ask(address(settings.tracker), {})  # as nodes: with the key in ~/.netrc
        if account.problem:
            raise ConfigError(
                f"tracker.mode=online needs a W&B server, but {account.problem}; mend that, or use "
                "tracker.mode=auto"
            )


def check_researcher(settings: Settings) -> None:
    """Raises UserError where Claude is to be asked, and cannot be: without rules, without a key
    and a model that the API takes."""
    if settings.planner.kind in THINKERS:
        program_md(Path(settings.task.dir))
        check_access(settings.claude)


def check_change(before: Settings, after: Settings) -> None:
    """Raises ConfigError if results that are on their way would not be found any more."""
    if before.cluster.results == "wandb" and before.tracker != after.tracker:
        raise ConfigError(
            "tracker.* should stay as it is while W&B carries results (cluster.results=wandb), but "
            "was to be changed; start another campaign for that"
        )


def check_data(settings: Settings) -> None:
    """Raises DataError unless there is prepared data that fills the scoring calls."""
    directory = Path(settings.task.data.directory)
    if not (directory / "manifest.json").exists():
        raise DataError(
            f"{directory} should hold prepared data, but holds none; run "
            f"`autoresearch prepare task={settings.task.name}`"
        )
    prepared = Prepared.open(directory)
    for split in Split:
        rows_of(prepared.size(split), settings.task.scoring)


def resume(root: Path, overrides: Sequence[str] = ()) -> Campaign:
    """A campaign that exists, with amended settings. Raises UserError if it cannot be taken up."""
    layout = existing(root)
    before = effective(layout)
    settings, changes = config.amend(before, overrides)
    settings_of(settings.planner.kind, settings.planner.options)
    check_tracker(settings)
    check_researcher(settings)
    check_change(before, settings)
    if not is_held(layout.lease):  # a stop that comes from now on is meant for us
        layout.stop.unlink(missing_ok=True)
    campaign = take_up(layout, settings)
    campaign.history.forgive()
    if changes:
        campaign.record.append({"type": "amended", "overrides": config.as_overrides(changes)})
    if campaign.history.ended or campaign.history.search_ended:
        campaign.record.append({"type": "resumed"})
    return campaign


def look_in(root: Path) -> Campaign:
    """A campaign as it is, for a controller that does not stay. An ended one stays ended."""
    layout = existing(root)
    return take_up(layout, effective(layout))


def start_or_resume(settings: Settings) -> Campaign:
    """The campaign of these settings: a new one, or the one that is there already, as it is."""
    layout = Layout(Path(settings.dir))
    if not layout.config.exists():
        return start(settings)
    until = time.monotonic() + STALE_SECONDS + PATIENCE
    while is_held_elsewhere(layout.lease) and time.monotonic() < until:
        time.sleep(PATIENCE)  # a job that begins anew on another node: its own lease runs out
    return look_in(layout.root)


def existing(root: Path) -> Layout:
    layout = Layout(root.absolute())
    if not layout.config.exists():
        raise CampaignError(
            f"{layout.root} should be a campaign directory, but has no {layout.config.name}; "
            "start one with `autoresearch run`"
        )
    return layout


def read_settings(layout: Layout) -> Settings:
    return config.from_yaml(layout.config.read_bytes())


def effective(layout: Layout) -> Settings:
    """The settings at start with every recorded amendment applied."""
    recorded = History.of(replay(layout.journal).events).amendments
    return config.amend(read_settings(layout), recorded)[0]


def take_up(layout: Layout, settings: Settings) -> Campaign:
    """Become the controller of a campaign whose config.yaml is written."""
    lease = acquire(layout.lease)
    replayed = replay(layout.journal)
    history = History.of(replayed.events)
    record = Record(Journal.open(layout.journal, replayed), history)
    lease.renew()  # who lost the race for the segment may have written its name over ours
    sources = Sources.create(layout.sources)
    if not history.started:
        establish(record, layout, settings, sources)
    make_key(layout.key)
    known = NodeSettings.read(layout.node_settings) if layout.node_settings.exists() else None
    new = node_settings(settings, known.tracker.url if known else "")
    new.write(layout.node_settings)  # amended limits hold for new pilots
    if not layout.stop.exists():
        layout.drain.unlink(missing_ok=True)
    cluster = connect(layout, settings.cluster)
    watching = Watching(layout, settings)
    desk = Desk(settings, layout, record, sources, Programs(sources))
    return Campaign(settings, layout, record, sources, cluster, lease, watching, desk)


def establish(record: Record, layout: Layout, settings: Settings, sources: Sources) -> None:
    """Freeze the node code, the first versions and the cells, and record the start."""
    shutil.rmtree(layout.node, ignore_errors=True)
    code = freeze.freeze(layout.node)
    baseline = add_baseline(settings, sources, layout.config.stat().st_mtime)
    cells = {tier: cell(settings, tier, code) for tier in settings.cluster.tiers}
    record.append(
        {
            "type": "started",
            "name": settings.name,
            "baseline": baseline,
            "tiers": {tier: cells[tier].to_json() for tier in cells},
        }
    )


def add_baseline(settings: Settings, sources: Sources, when: float) -> str:
    """The user's train.py, then the same with the task's parameters as its defaults."""
    text = read_program(settings)
    original = sources.add(text, "train.py as it was given\n", when=when)
    given = settings.task.params
    if not given:
        return original
    changes = ", ".join(f"{name} = {value}" for name, value in given.items())
    message = f"The baseline: {changes}\n"
    return sources.add(bake(text, given), message, parents=[original], when=when)


def read_program(settings: Settings) -> str:
    path = Path(settings.task.dir) / "train.py"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path} should be the program to search from, but: {error}; set task.dir=..."
        ) from error


def check_program(text: str) -> Mapping[str, Scalar]:
    """The parameters of a program that can be a baseline. Raises SourceError."""
    found = parameters(text)
    for needed in ("vocabulary", "context"):
        if needed not in found:
            raise SourceError(
                f"train.py's Config should have a field '{needed}', but has: "
                f"{', '.join(sorted(found))}"
            )
    if missing := undefined(text):
        raise SourceError(f"train.py should define {', '.join(missing)}, but does not")
    return found


def remarks(campaign: Campaign) -> list[str]:
    """What the user's own program does against the rules, a line each, few: it is told, no more."""
    if campaign.settings.task.inspection == NONE:
        return []
    found = inspect(campaign.sources.read(campaign.history.baseline.program))
    told = "taken all the same, the baseline's train.py breaks a rule:"
    return few([f"{told} {remark.words}" for remark in found])


def cell(settings: Settings, tier: str, code: str) -> Cell:
    return Cell(
        device=settings.cluster.tiers[tier].device,
        budget=settings.task.budget,
        data=manifest_id(Path(settings.task.data.directory)),
        software=software(),
        ruler=f"{code[:8]}-{settings.task.scoring.ruler}",
    )


def node_settings(settings: Settings, url: str = "") -> NodeSettings:
    """`url` is the W&B server that the campaign has begun with: it does not move by itself."""
    if settings.tracker.kind == "wandb":  # nodes do not know what is noted here
        url = settings.tracker.url or url or address(settings.tracker)
    return NodeSettings(
        campaign=settings.name,
        data=settings.task.data.directory,
        tiers=settings.cluster.tiers,
        scoring=settings.task.scoring,
        limits=settings.task.limits,
        pilot=settings.pilot,
        tracker=replace(settings.tracker, url=url),
        results=settings.cluster.results,
        sandbox=settings.cluster.sandbox,
        keep_checkpoint=settings.task.keep_checkpoint,
    )
