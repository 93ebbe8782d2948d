"""The story on one page: collect, judge, plan, dispatch, until a budget ends.

A `Campaign` is everything a controller holds. `step` takes one turn and returns at once; `run`
takes turns until the campaign has ended. All that matters is in the journal before it is acted
upon, so a controller may be killed between any two lines, and the next one goes on from the record.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from autoresearch import asking, dispatch, judge
from autoresearch.asking import Desk
from autoresearch.cluster.interface import Cluster
from autoresearch.collect import collect, jobs
from autoresearch.entry import Crown, Purpose
from autoresearch.experiment import Json
from autoresearch.history import History
from autoresearch.journal import now
from autoresearch.layout import Layout, read_json, write_atomically
from autoresearch.lease import Lease
from autoresearch.mirror.noted import notices as wandb_notices
from autoresearch.mirror.watching import Watching
from autoresearch.placement import pause
from autoresearch.program import bake
from autoresearch.record import Record
from autoresearch.settings import Settings
from autoresearch.sources import Sources
from autoresearch.spending import is_overdrawn, reserve

VISIT_SECONDS = 120.0  # that a controller which only looks in stays at most
LONGEST_ABSENCE = 3600.0  # seconds; a controller may also have been away for other reasons
LISTEN_SECONDS = 0.5  # between two looks, while resting, at what would end the rest
RESULTS_SECONDS = 900.0  # for results on their way by W&B, once the last pilot is gone
FAREWELL_SECONDS = 60.0  # for idle pilots to notice that the campaign has ended


@dataclass
class Campaign:
    """What a controller holds of one campaign."""

    settings: Settings
    layout: Layout
    record: Record
    sources: Sources
    cluster: Cluster
    lease: Lease
    watching: Watching
    desk: Desk
    stopping: str = ""  # why no new work is started, or "" while it is
    cutting: bool = False  # what runs has been told to end
    absence: float = 0.0  # seconds that no controller will be there after this one
    noticed: list[str] | None = None  # what the cluster last let us know; None: not looked yet

    @property
    def history(self) -> History:
        return self.record.history


def run(campaign: Campaign, watch: Callable[[Campaign], None]) -> str:
    """Take turns until the campaign has ended; return why it did. `watch` is told of each turn."""
    while not campaign.history.ended:
        step(campaign)
        watch(campaign)
        if not campaign.history.ended:
            rest(campaign)
    dismiss(campaign)
    campaign.watching.close()
    return campaign.history.ended


def visit(campaign: Campaign) -> str:
    """Take turns until nothing is left to do without waiting for results; then leave.

    Return why the campaign has ended, or "". The pilots work on through the line meanwhile.
    """
    campaign.absence = min(campaign.history.absence, LONGEST_ABSENCE)  # as last time
    campaign.watching.look()
    until = time.monotonic() + VISIT_SECONDS
    before = -1
    while not campaign.history.ended and time.monotonic() < until:
        if campaign.desk.is_waiting:
            time.sleep(LISTEN_SECONDS)
        elif campaign.record.events == before and not campaign.desk.at_work:
            break
        before = campaign.record.events
        step(campaign)
    if campaign.history.ended:
        dismiss(campaign)
    campaign.watching.close()
    return campaign.history.ended


def step(campaign: Campaign) -> None:
    """One turn. Raises UserError for what the user must mend; nothing is lost then."""
    hold(campaign)
    take_in(campaign)
    heed(campaign)
    if campaign.stopping:
        wind_down(campaign)
    else:
        advance(campaign)
    pass_on(campaign)


def take_in(campaign: Campaign) -> None:
    """Collect what has happened."""
    campaign.watching.tend()
    collect(campaign.record, campaign.layout, campaign.cluster, campaign.watching.has_all)


def advance(campaign: Campaign) -> None:
    """Judge, plan, dispatch."""
    campaign.layout.drain.unlink(missing_ok=True)  # left by a stop that was taken back
    decide(campaign)
    dispatch.propose(campaign.record, affordable(campaign))
    plan(campaign)
    dispatch.enqueue(campaign.record, campaign.layout, campaign.sources)
    dispatch.staff(campaign.record, campaign.layout, campaign.cluster, campaign.settings)
    conclude(campaign)


def rest(campaign: Campaign) -> None:
    """Until the next turn is due, or something here asks for one sooner."""
    until = time.monotonic() + pause(campaign.history, campaign.settings, now())
    before = campaign.stopping
    while (left := until - time.monotonic()) > 0 and not is_called(campaign, before):
        time.sleep(min(left, LISTEN_SECONDS))
        hold(campaign)


def hold(campaign: Campaign) -> None:
    """Say that we are still here, if we still are who decides. Raises TakenOver."""
    if campaign.lease.is_due:
        campaign.record.journal.check()
        campaign.lease.renew()


def is_called(campaign: Campaign, before: str) -> bool:
    """Whether a wave has come, or somebody wants the campaign to stop."""
    is_asked = not before and campaign.layout.stop.exists()
    return campaign.desk.has_news or is_asked or campaign.stopping != before


# ---- judge -----------------------------------------------------------------------------------


def decide(campaign: Campaign) -> None:
    """Record every decision that is due, one after the other."""
    history = campaign.history
    while event := next_decision(campaign):
        if event["type"] == "crown_closed" and event["crowned"]:
            event["program"] = baked(campaign, history.crowns[-1], event)
        campaign.record.append(event)
    campaign.sources.set_champion(history.champion.program)


def next_decision(campaign: Campaign) -> Json | None:
    """What is due and affordable. Before the search ends, the end of it is kept paid for."""
    history, settings = campaign.history, campaign.settings
    left = asking.remaining(campaign.desk)
    if not history.search_ended:
        left -= reserve(history, settings)
    rules = settings.judge
    certify = 2 * rules.certify_seeds
    can_open = left >= 2 * rules.crown_seeds + (certify if history.search_ended else 0)
    return judge.decision(history, settings, can_open=can_open, can_certify=left >= certify)


def baked(campaign: Campaign, test: Crown, verdict: Json) -> str:
    """The winner's overrides written into its program's defaults, as a version of its own."""
    winner = test.challenger
    changes = ", ".join(f"{name} = {value}" for name, value in winner.overrides.items())
    return campaign.sources.add(
        bake(campaign.sources.read(winner.program), winner.overrides),
        f"{changes or 'a new program'}\n\n"
        f"Crown test {test.number}: {verdict['difference']:+.4f} bits per byte, "
        f"p = {verdict['p']:.2g} at level {test.alpha:.2g}\n",
        parents=list(dict.fromkeys([test.champion.program, winner.program])),
        when=time.time(),
    )


def affordable(campaign: Campaign) -> list[judge.Request]:
    """What the judge calls for and the budget allows: all but climbs has been set aside before."""
    history, settings = campaign.history, campaign.settings
    left = asking.remaining(campaign.desk)
    kept = reserve(history, settings)
    granted: list[judge.Request] = []
    for wanted in judge.requests(history, settings):
        needed = kept if wanted.purpose is Purpose.climb else 0
        if len(granted) + 1 + needed <= left:
            granted.append(wanted)
    return granted


# ---- plan ------------------------------------------------------------------------------------


def plan(campaign: Campaign) -> None:
    """Keep the queue ahead of the pilots: take waves that have come, ask for more in time."""
    campaign.desk.absence = campaign.absence
    asking.tend(campaign.desk)


# ---- the end ---------------------------------------------------------------------------------


def conclude(campaign: Campaign) -> None:
    """End the campaign once nothing is left to do, or it cannot begin."""
    history = campaign.history
    broken = baseline_failure(history)
    if broken:
        campaign.stopping = broken
    elif history.search_ended and is_idle(campaign) and next_decision(campaign) is None:
        campaign.record.append({"type": "ended", "reason": history.search_ended})


def is_idle(campaign: Campaign) -> bool:
    return not campaign.history.active and not campaign.desk.at_work


def baseline_failure(history: History) -> str:
    """Why the baseline has no noise to compare with, or "" if it has or may still have."""
    for tier in history.tiers:
        entries = list(history.of_candidate(history.baseline, tier))
        failed = [entry for entry in entries if entry.has_failed]
        if failed and len(entries) - len(failed) < 2 and failed[0].result:
            result = failed[0].result
            return f"the baseline failed: {result.failure}: {result.reason}"
    return ""


def pass_on(campaign: Campaign) -> None:
    """Leave what the cluster and W&B let people know where `status` finds it."""
    notices = [*campaign.cluster.notices(), *wandb_notices(campaign.watching.said())]
    if notices != campaign.noticed:
        campaign.noticed = notices
        write_atomically(campaign.layout.notices, json.dumps({"schema": 1, "notices": notices}))


def heed(campaign: Campaign) -> None:
    """Take in what ends it, and what people ask for: to stop, to promote a candidate."""
    if campaign.layout.stop.exists():
        wish = read_json(campaign.layout.stop) or {}
        stop(campaign, "stopped by request", at_once=bool(wish.get("now")))
    if bound := is_overdrawn(campaign.history, campaign.settings, now()):
        stop(campaign, bound)
    for path in sorted(campaign.layout.promotions.glob("*.json")):
        wish = read_json(path) or {}
        entry = campaign.history.entries.get(str(wish.get("experiment")))
        if entry is not None:
            candidate = asdict(entry.experiment.candidate)
            campaign.record.append({"type": "promoted", "candidate": candidate})
        path.unlink(missing_ok=True)


def dismiss(campaign: Campaign) -> None:
    """Send idle pilots home and see them go, so that their hours are counted to the end."""
    campaign.layout.drain.touch()
    deadline = time.monotonic() + FAREWELL_SECONDS
    while campaign.history.live_pilots() and time.monotonic() < deadline:
        campaign.cluster.withdraw(jobs(campaign.history))
        take_in(campaign)
        time.sleep(campaign.settings.cluster.poll_seconds)


def wind_down(campaign: Campaign) -> None:
    """Start nothing more; end when the last pilot has put down what it ran."""
    campaign.layout.drain.touch()
    campaign.cluster.withdraw(jobs(campaign.history))
    asking.dismiss(campaign.desk)
    if not campaign.history.live_pilots() and not awaits_results(campaign):
        campaign.record.append({"type": "ended", "reason": campaign.stopping})
        campaign.layout.stop.unlink(missing_ok=True)


def awaits_results(campaign: Campaign) -> bool:
    """Whether results of pilots that are gone may still come, and somebody cares."""
    history = campaign.history
    last = max((pilot.ended or 0.0 for pilot in history.pilots.values()), default=0.0)
    is_open = any(map(history.running, history.tiers)) and not campaign.cutting
    return is_open and now() - last <= RESULTS_SECONDS


def stop(campaign: Campaign, reason: str, *, at_once: bool = False) -> None:
    """Ask for the end: what runs is finished, or, at once, recorded as preempted and kept."""
    campaign.stopping = campaign.stopping or reason
    campaign.layout.drain.touch()
    if at_once and not campaign.cutting:
        campaign.cutting = True
        campaign.cluster.cancel(jobs(campaign.history))
