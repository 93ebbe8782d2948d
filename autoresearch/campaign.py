"""The story on one page: collect, judge, plan, dispatch, until a budget ends.

A `Campaign` is everything a controller holds. `step` takes one turn and returns at once; `run`
takes turns until the campaign has ended. All that matters is in the journal before it is acted
upon, so a controller may be killed between any two lines, and the next one goes on from the record.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from autoresearch import dispatch, judge
from autoresearch.cluster.interface import Cluster
from autoresearch.collect import collect, jobs
from autoresearch.entry import Crown, Purpose
from autoresearch.experiment import Candidate, Json, Scalar, Wave
from autoresearch.history import History
from autoresearch.journal import now
from autoresearch.layout import Layout, read_json, write_atomically
from autoresearch.lease import Lease
from autoresearch.mirror.noted import notices as wandb_notices
from autoresearch.mirror.watching import Watching
from autoresearch.placement import depth, pause
from autoresearch.planning import PlannerFailed, Planning, request
from autoresearch.record import Record
from autoresearch.settings import Settings
from autoresearch.sources import Sources, bake, parameters
from autoresearch.spending import allowance, is_overdrawn, reserve

PATIENCE = 3  # planner failures in a row before the search ends
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
    planning: Planning | None = None
    planner_failures: int = 0
    asked: int = -1  # results known when the planner last had nothing to propose
    stopping: str = ""  # why no new work is started, or "" while it is
    cutting: bool = False  # what runs has been told to end
    absence: float = 0.0  # seconds that no controller will be there after this one
    noticed: list[str] | None = None  # what the cluster last let us know; None: not looked yet
    known: dict[str, Mapping[str, Scalar]] = field(default_factory=dict)

    @property
    def history(self) -> History:
        return self.record.history

    def parameters(self, program: str) -> Mapping[str, Scalar]:
        """The defaults of a program's Config, read once."""
        if program not in self.known:
            self.known[program] = parameters(self.sources.read(program))
        return self.known[program]


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
        if campaign.planning is not None and not campaign.planning.is_done:
            time.sleep(LISTEN_SECONDS)
        elif campaign.record.events == before and not campaign.planning:
            break
        before = campaign.record.events
        step(campaign)
    drop_planning(campaign)
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
    has_wave = campaign.planning is not None and campaign.planning.is_done
    is_asked = not before and campaign.layout.stop.exists()
    return has_wave or is_asked or campaign.stopping != before


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
    left = remaining(campaign)
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
    left = remaining(campaign)
    kept = reserve(history, settings)
    granted: list[judge.Request] = []
    for wanted in judge.requests(history, settings):
        needed = kept if wanted.purpose is Purpose.climb else 0
        if len(granted) + 1 + needed <= left:
            granted.append(wanted)
    return granted


# ---- plan ------------------------------------------------------------------------------------


def plan(campaign: Campaign) -> None:
    """Keep the queue ahead of the pilots: ask early, take the answer when it is there."""
    if campaign.planning is not None:
        take_answer(campaign, campaign.planning)
    elif not campaign.history.search_ended and is_running_dry(campaign):
        capacity = room(campaign)
        if capacity < 1:
            campaign.record.append({"type": "search_ended", "reason": shortage(campaign)})
        else:
            question = request(campaign.history, campaign.settings, capacity, campaign.parameters)
            campaign.planning = Planning.start(question, results(campaign.history))


def is_running_dry(campaign: Campaign) -> bool:
    """Whether fewer experiments wait than pilots may take before the next wave can be there."""
    history = campaign.history
    news = results(history) != campaign.asked
    return news and history.waiting(history.screen) < needed(campaign)


def needed(campaign: Campaign) -> int:
    """How many screening experiments must wait for pilots."""
    return depth(campaign.history, campaign.settings, now(), campaign.absence)


def room(campaign: Campaign) -> int:
    """How many proposals the next wave may have."""
    history = campaign.history
    tier = campaign.settings.cluster.tiers[history.screen]
    short = needed(campaign) - history.waiting(history.screen)
    wanted = campaign.settings.search.wave or max(tier.pilots, short)
    kept = reserve(campaign.history, campaign.settings)
    return int(min(wanted, (remaining(campaign) - kept) // campaign.settings.search.rungs[0]))


def remaining(campaign: Campaign) -> float:
    """How many experiments the budget still allows, setting aside what a planner may propose."""
    promised = campaign.planning.capacity if campaign.planning is not None else 0
    seeds = campaign.settings.search.rungs[0]
    return allowance(campaign.history, campaign.settings, now()) - promised * seeds


def shortage(campaign: Campaign) -> str:
    """Why nothing more is proposed, though no bound is reached."""
    left = max(0, int(remaining(campaign)))
    return f"budget: the last {left} experiments were kept for a crown test and the certification"


def results(history: History) -> int:
    return len(history.entries) - len(history.active)


def take_answer(campaign: Campaign, planning: Planning) -> None:
    try:
        wave = planning.poll()
    except PlannerFailed as failure:
        campaign.planning = None
        campaign.planner_failures += 1
        if campaign.planner_failures >= PATIENCE:
            campaign.record.append({"type": "search_ended", "reason": str(failure)})
        return
    if wave is None:
        return
    campaign.planning, campaign.planner_failures = None, 0
    if wave.proposals:
        dispatch.propose(campaign.record, screening(campaign, wave), wave)
    campaign.asked = -1 if wave.proposals else planning.asked  # else ask again when there is news
    if wave.exhausted:
        campaign.record.append({"type": "search_ended", "reason": "nothing left to propose"})


def drop_planning(campaign: Campaign) -> None:
    """Wait for no answer any more: whoever comes next asks again, with the same seed."""
    if campaign.planning is not None:
        campaign.planning.close()
        campaign.planning = None


def screening(campaign: Campaign, wave: Wave) -> list[judge.Request]:
    """A wave's proposals as experiments: what differs from the champion, with the first seeds."""
    champion = campaign.history.champion.program
    defaults = campaign.parameters(champion)
    seeds = judge.screening_seeds(campaign.settings, campaign.settings.search.rungs[0])
    return [
        judge.Request(
            Candidate(champion, {k: v for k, v in p.overrides.items() if defaults[k] != v}),
            seed,
            campaign.history.screen,
            Purpose.screen,
            description=p.description,
        )
        for p in wave.proposals
        for seed in seeds
    ]


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
    return not campaign.history.active and campaign.planning is None


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
    drop_planning(campaign)
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
