"""Keeping the queue ahead of the pilots: whom to ask for a wave, when, and what becomes of it.

The campaign's own planner is asked early, by as much as it takes to think. Where that may be long
(Claude) or for ever (waves from outside), another one fills in before a pilot finds nothing to do.
A question is in the journal before its planner exists, and its wave is recorded once.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from time import time

from autoresearch import dispatch
from autoresearch.claude.ledger import Spent
from autoresearch.entry import Ask, Purpose
from autoresearch.errors import RecordError, SourceError
from autoresearch.experiment import Candidate, Proposal, Version, Wave, plain
from autoresearch.history import History
from autoresearch.inspection import vet
from autoresearch.journal import now
from autoresearch.judge import Request, screening_seeds
from autoresearch.layout import Layout
from autoresearch.placement import PLANNING_SECONDS, depth
from autoresearch.planning import ANSWER_SECONDS, PlannerFailed, Planning, request
from autoresearch.programs import Programs
from autoresearch.record import Record
from autoresearch.settings import Planner, Settings
from autoresearch.smoke import Wish
from autoresearch.sources import Sources
from autoresearch.spending import allowance, counted, reserve, usd_left

PATIENCE = 3  # failures of a planner in a row before the search ends
FILLER = "bayes"
THINKERS = ("claude", "mixed")  # may take minutes, and cost money
FILLS_WITH: tuple[str, ...] = ("startup", "candidates")  # its options
OUTSIDE = "external"  # nobody is asked: waves come by themselves
UNFIT = (SourceError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
FILLED = 0.5  # of a search's experiments, at most, may be filled in while a planner thinks
RECENT = 8  # asks whose length tells how long the next one will take


@dataclass
class Desk:
    """Who has been asked, and what they were asked for."""

    settings: Settings
    layout: Layout
    record: Record
    sources: Sources
    programs: Programs
    at_work: dict[str, Planning] = field(default_factory=dict)  # by kind of planner
    silent: dict[str, int] = field(default_factory=dict)  # results known when it proposed nothing
    failures: int = 0
    absence: float = 0.0  # seconds that no controller will be there after this one
    has_looked: bool = False  # for questions of a controller before us

    @property
    def history(self) -> History:
        return self.record.history

    @property
    def promised(self) -> int:
        """Experiments that planners at work may still propose."""
        proposals = sum(planning.capacity for planning in self.at_work.values())
        return proposals * self.settings.search.rungs[0]

    @property
    def is_waiting(self) -> bool:
        """Whether a planner is at work and has nothing to say yet."""
        return bool(self.at_work) and not self.has_news

    @property
    def has_news(self) -> bool:
        return any(planning.is_done for planning in self.at_work.values())


def remaining(desk: Desk) -> float:
    """How many experiments the budget still allows, setting aside what planners may propose."""
    return allowance(desk.history, desk.settings, now()) - desk.promised


def tend(desk: Desk) -> None:
    """Take answers, queue what planners want tried, ask where pilots would soon have nothing."""
    take_up(desk)
    for kind in list(desk.at_work):
        queue_wishes(desk, desk.at_work[kind])
        take_answer(desk, kind)
    take_from_outside(desk)
    if not desk.history.search_ended:
        ask_in_time(desk)


def take_up(desk: Desk) -> None:
    """Go on with what a controller before us has asked."""
    if desk.has_looked:
        return
    desk.has_looked = True
    for ask in open_asks(desk.history):
        folder = desk.layout.ask(ask.name)
        planning = None
        if ask.name not in desk.history.taken and ask.planner not in desk.at_work:
            planning = Planning.take_up(folder, answer_seconds(desk, ask.planner))
        if planning is None:
            close(desk, Planning(folder, 0, -1), "")
        else:
            desk.at_work[ask.planner] = planning


# ---- asking ----------------------------------------------------------------------------------


def ask_in_time(desk: Desk) -> None:
    """Ask the campaign's planner early, and who fills in before it is too late."""
    planner = desk.settings.planner
    is_free = planner.kind != OUTSIDE and planner.kind not in desk.at_work
    if is_free and is_due(desk, planner.kind, thinking_time(desk)):
        ask(desk, planner)
        return
    fills = filler(planner)
    is_free = FILLER not in desk.at_work and may_fill(desk)
    if fills and is_free and is_due(desk, FILLER, PLANNING_SECONDS):
        ask(desk, fills)


def filler(planner: Planner) -> Planner | None:
    """Who fills in for a planner, if anybody does, with what its options say of it."""
    if planner.kind not in THINKERS and not planner.options.get("fill"):
        return None
    kept = {name: planner.options[name] for name in FILLS_WITH if name in planner.options}
    return Planner(FILLER, kept)


def may_fill(desk: Desk) -> bool:
    """Whether experiments are left for who fills in: where their number is bounded, half of what
    the search has is kept for whom the user has chosen."""
    bound, history = desk.settings.budget.experiments, desk.history
    if not bound or desk.failures >= PATIENCE:
        return True
    entries = history.entries.values()
    search = [entry for entry in entries if entry.purpose in (Purpose.screen, Purpose.climb)]
    others = counted(history) - len(search)
    filled = sum(1 for e in search if e.wave and history.waves[e.wave - 1][0].planner == FILLER)
    whole = bound - others - reserve(history, desk.settings)
    return filled + room(desk) <= FILLED * whole


def is_due(desk: Desk, kind: str, seconds: float) -> bool:
    """Whether fewer experiments wait than pilots may take before a wave can be there."""
    news = results(desk.history) != desk.silent.get(kind, -1)
    return news and waiting(desk.history) < needed(desk, seconds)


def waiting(history: History) -> int:
    return history.waiting(history.screen)


def needed(desk: Desk, seconds: float) -> int:
    """How many screening experiments must wait for pilots while a planner thinks."""
    return depth(desk.history, desk.settings, now(), desk.absence, seconds)


def thinking_time(desk: Desk) -> float:
    """How long the campaign's planner takes, as it did lately."""
    kind = desk.settings.planner.kind
    if kind not in THINKERS:
        return PLANNING_SECONDS
    took = [a.ended - a.since for a in desk.history.asks.values() if a.planner == kind and a.ended]
    return max(PLANNING_SECONDS, median(took[-RECENT:])) if took else PLANNING_SECONDS


def room(desk: Desk) -> int:
    """How many proposals the next wave may have."""
    search, history = desk.settings.search, desk.history
    tier = desk.settings.cluster.tiers[history.screen]
    wanted = search.wave or max(tier.pilots, needed(desk, PLANNING_SECONDS) - waiting(history))
    kept = reserve(history, desk.settings)
    return int(min(wanted, (remaining(desk) - kept) // search.rungs[0]))


def shortage(desk: Desk) -> str:
    """Why nothing more is proposed, though no bound is reached."""
    left = max(0, int(remaining(desk)))
    if not left:
        return "budget: no experiment is left"
    return f"budget: the last {left} experiments were kept for a crown test and the certification"


def ask(desk: Desk, planner: Planner) -> None:
    """Put a question: on record first, so that what it may spend is set aside."""
    capacity, history = room(desk), desk.history
    if capacity < 1:
        if desk.settings.planner.kind in (planner.kind, OUTSIDE):
            desk.record.append({"type": "search_ended", "reason": shortage(desk)})
        return
    question = request(history, replace(desk.settings, planner=planner), capacity, desk.programs)
    known = results(history)
    name = f"{len(history.asks) + 1:04d}"
    usd = max(0.0, usd_left(history, desk.settings)) if planner.kind in THINKERS else 0.0
    bounds = {"planner": planner.kind, "capacity": capacity, "usd": usd}
    desk.record.append({"type": "asking", "ask": name, **bounds})
    question |= {"usd": usd, "campaign": str(desk.layout.root), "task": desk.settings.task.dir}
    question["seed"] += planner.kind != desk.settings.planner.kind  # not what it would fill in with
    folder, wait = desk.layout.ask(name), answer_seconds(desk, planner.kind)
    desk.at_work[planner.kind] = Planning.start(folder, question, known, wait)


def answer_seconds(desk: Desk, kind: str) -> float:
    """How long a planner may take, in seconds."""
    return desk.settings.claude.seconds if kind in THINKERS else ANSWER_SECONDS


def results(history: History) -> int:
    return len(history.entries) - len(history.active)


# ---- answers ---------------------------------------------------------------------------------


def take_answer(desk: Desk, kind: str) -> None:
    """Record the wave of a planner that is done."""
    planning = desk.at_work[kind]
    try:
        wave = planning.poll()
    except PlannerFailed as failure:
        fail(desk, kind, failure)
        return
    if wave is None:
        return
    if wave.proposals or wave.notes:
        try:
            take_wave(desk, wave, planning.name)
        except UNFIT as error:  # the journal has nothing of it
            fail(desk, kind, PlannerFailed(f"the planner's wave cannot be run: {error!r}"))
            return
    del desk.at_work[kind]
    close(desk, planning, wave.problem)
    desk.failures = 0 if kind == desk.settings.planner.kind else desk.failures
    desk.silent[kind] = (
        -1 if wave.proposals else planning.asked
    )  # else ask again when there is news
    if wave.exhausted and kind == desk.settings.planner.kind:
        desk.record.append({"type": "search_ended", "reason": "nothing left to propose"})


def fail(desk: Desk, kind: str, failure: PlannerFailed) -> None:
    """A planner has ended without a wave: it is asked again, a few times. Where somebody fills in
    the search goes on without it, and it is asked again when there is news."""
    close(desk, desk.at_work.pop(kind), str(failure))
    if kind == desk.settings.planner.kind:
        desk.failures += 1
        if kind in THINKERS and FILLER not in desk.silent:
            desk.silent[kind] = results(desk.history)
        elif desk.failures >= PATIENCE:
            desk.record.append({"type": "search_ended", "reason": str(failure)})


def close(desk: Desk, planning: Planning, problem: str) -> None:
    """Record what an answer has cost, then forget the question. Where that cannot be read any
    more, it counts as all that was set aside."""
    try:
        spent = planning.spent()
    except (RecordError, OSError) as error:
        spent = Spent(ended=desk.history.asks[planning.name].usd)
        problem = f"{problem}; {error}; counted as ${spent.usd:.2f}".removeprefix("; ")
    desk.record.append(
        {
            "type": "asked",
            "ask": planning.name,
            "usd": spent.usd,
            "requests": spent.requests,
            "tokens": spent.usage.to_json(),
            "problem": plain(problem, 500),
        }
    )
    planning.discard()


def take_wave(desk: Desk, wave: Wave, ask: str) -> None:
    """Record a wave: its programs first, then its experiments, then what it wants tested."""
    wave = replace(wave, versions=tuple(kept(desk, version) for version in wave.versions))
    dispatch.propose(desk.record, list(screening(desk, wave)), wave.kept(), ask)
    for proposal in wave.proposals:
        if proposal.promote:
            candidate = asdict(candidate_of(desk, proposal))
            desk.record.append({"type": "promoted", "candidate": candidate})


def kept(desk: Desk, version: Version) -> Version:
    """A program of a wave, in sources.git, with what a look at it says. Raises SourceError: nothing
    comes past this, whoever has looked before."""
    remarks = looked_at(desk, version.text, version.parents)
    desk.sources.add(version.text, version.message, version.parents, when=time())
    return replace(version, remarks=remarks)


def looked_at(desk: Desk, text: str, parents: Sequence[str]) -> tuple[str, ...]:
    known = map(desk.sources.read, (*parents, desk.history.baseline.program))
    return vet(text, known, desk.settings.task.inspection)


def candidate_of(desk: Desk, proposal: Proposal) -> Candidate:
    """What differs from the program it names, or from the champion."""
    program = proposal.program or desk.history.champion.program
    defaults = desk.programs.parameters(program)
    changed = {k: v for k, v in proposal.overrides.items() if defaults.get(k) != v}
    return Candidate(program, changed)


def screening(desk: Desk, wave: Wave) -> Iterator[Request]:
    """A wave's proposals as experiments, with the first seeds."""
    for proposal in wave.proposals:
        for seed in screening_seeds(desk.settings, desk.settings.search.rungs[0]):
            yield Request(
                candidate_of(desk, proposal),
                seed,
                desk.history.screen,
                Purpose.screen,
                description=proposal.description,
                planner=proposal.planner,
            )


def dismiss(desk: Desk) -> None:
    """Wait for no answer any more; what was spent on it is recorded."""
    for planning in desk.at_work.values():
        planning.kill()
        close(desk, planning, "the campaign was stopped")
    desk.at_work.clear()


# ---- what is wanted tried, and what comes from outside -------------------------------------------


def queue_wishes(desk: Desk, planning: Planning) -> None:
    """Queue the smoke experiments a planner waits for, as many as it may have."""
    for wish in list(Wish.found(planning.folder))[: desk.settings.claude.smokes]:
        wanted = Request(
            wish.candidate,
            0,
            desk.history.screen,
            Purpose.smoke,
            description=wish.message,
            budget=wish.budget,
        )
        is_new = dispatch.experiment_of(desk.history, wanted).id not in desk.history.entries
        if is_new and may_run(desk, wish):
            desk.sources.add(wish.text, wish.message, wish.parents, when=time())
            dispatch.propose(desk.record, [wanted])


def may_run(desk: Desk, wish: Wish) -> bool:
    """Whether a look at a new program lets it be tried, as one did when Claude wrote it."""
    try:
        if wish.parents:
            looked_at(desk, wish.text, wish.parents)
    except SourceError:
        return False
    return True


def take_from_outside(desk: Desk) -> None:
    """Record waves that were submitted, each once."""
    for path in sorted(desk.layout.waves.glob("*.json")):
        if path.stem not in desk.history.taken:
            try:
                wave = fitting(desk, Wave.from_json(json.loads(path.read_bytes())))
                take_wave(desk, wave, path.stem)
            except OSError:  # it may be there the next time
                continue
            except UNFIT as error:
                refuse(path, repr(error))
                continue
            if wave.exhausted and not desk.history.search_ended:
                desk.record.append({"type": "search_ended", "reason": "`wave done` was said"})
        path.unlink(missing_ok=True)


def fitting(desk: Desk, wave: Wave) -> Wave:
    """As much of a wave as the budget has room for now."""
    left = (remaining(desk) - reserve(desk.history, desk.settings)) / desk.settings.search.rungs[0]
    kept = wave.proposals[: int(max(0, min(left, len(wave.proposals))))]
    if len(kept) == len(wave.proposals):
        return wave
    cut = f"the budget had room for {len(kept)} of {len(wave.proposals)} experiments"
    return replace(wave, proposals=kept, problem=cut)


def refuse(path: Path, reason: str) -> None:
    """Put a file aside whose wave cannot be run, with the reason beside it."""
    path.with_suffix(".refused").write_text(f"{plain(reason, 300)}\n", encoding="utf-8")
    path.rename(path.with_suffix(".json.refused"))


def open_asks(history: History) -> list[Ask]:
    """Questions that are not answered."""
    return [ask for ask in history.asks.values() if ask.ended is None]
