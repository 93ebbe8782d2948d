"""History and settings → a View: everything a report shows, worked out once.

The one place where a campaign's record is turned into what people read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from autoresearch import inspection, journal
from autoresearch.entry import Ask, Crown, Entry, Purpose
from autoresearch.experiment import Candidate, Cell, Scalar, Seconds, State
from autoresearch.history import History
from autoresearch.program import parameters, skeleton
from autoresearch.report.view import (
    AgentView,
    CellView,
    CertificationView,
    ChampionView,
    CrownView,
    Row,
    View,
)
from autoresearch.settings import Settings
from autoresearch.sources import Sources
from autoresearch.spending import counted
from autoresearch.statistics import alpha_spent, detectable_effect, noise

GIB = 1 << 30


@dataclass(frozen=True)
class Summary:
    """What a View is made from."""

    history: History
    settings: Settings
    sources: Sources

    @cached_property
    def commits(self) -> dict[str, str]:
        """Short git commit by program."""
        programs = {e.experiment.candidate.program for e in self.history.entries.values()}
        return {p: self.sources.commit(p)[:7] for p in programs | {self.history.champion.program}}

    @cached_property
    def descriptions(self) -> dict[str, str]:
        """What was said of a candidate when it was first proposed, by its key."""
        said: dict[str, str] = {}
        for entry in self.history.entries.values():
            said.setdefault(entry.experiment.candidate.key, entry.description)
        return said

    def original(self, key: str) -> str:
        """The key a candidate was proposed under: a champion gets another when it is baked."""
        while key in self.history.born:
            key = self.history.born[key]
        return key

    @cached_property
    def crowned(self) -> set[str]:
        """Keys of candidates that were ever kept: the baseline and every champion."""
        history = self.history
        won = {test.challenger.key for test in history.crowns if test.crowned}
        return won | {history.baseline.key}


def summarize(
    history: History,
    settings: Settings,
    sources: Sources,
    now: float | None = None,
    *,
    notices: Sequence[str] = (),
    training: Mapping[str, Mapping[str, float]] | None = None,
) -> View:
    """The campaign as it stands at `now` (Unix time; the present if left out).

    `notices` are what the cluster lets people know, `training` what running experiments log.
    """
    now = journal.now() if now is None else now
    summary = Summary(history, settings, sources)
    cells = tuple(cell_view(summary, tier, cell) for tier, cell in history.tiers.items())
    busy = {e.pilot for e in history.active.values() if e.state is State.running}
    tried = [e for e in history.entries.values() if e.purpose is not Purpose.smoke]
    results = [entry.result for entry in tried if entry.result and entry.result.failure]
    return View(
        name=history.name,
        directory=str(sources.path.parent),
        rows=tuple(row(summary, entry) for entry in history.entries.values()),
        cells=cells,
        champion=champion_view(summary),
        certification=certification_view(history),
        crowns=tuple(crown_view(summary, t) for t in history.crowns if t.verdict is not None),
        detectable=cells[-1].detectable if cells else None,
        spent={
            "experiments": counted(history),
            "gpu_hours": history.pilot_hours(now),
            "wall_hours": max(0.0, end_time(history, now) - history.clock) / 3600,
        },
        limits={
            "experiments": settings.budget.experiments,
            "gpu_hours": settings.budget.gpu_hours,
            "wall_hours": settings.budget.wall_hours,
        },
        allowance=settings.task.limits.setup_allowance,
        failures=dict(Counter(result.failure.value for result in results if result.failure)),
        planner=settings.planner.kind,
        agent=agent_view(list(history.asks.values()), settings.budget.usd_agent),
        notes=tuple(note.text for note in history.notes),
        state="ended" if history.ended else "running",
        end_reason=history.ended,
        pilots_busy=len(busy),
        pilots=len(history.live_pilots()),
        notices=tuple(notices),
        remarks=tuple(remarked(history, settings, sources)),
        training={k: v for k, v in (training or {}).items() if k in history.active},
        lost=dict(history.retries),
        avoided={
            node: len(history.failed_on[node])
            for node in history.bad_nodes(settings.cluster.exclude_after)
        },
    )


def remarked(history: History, settings: Settings, sources: Sources) -> Iterator[str]:
    """A line each on the baseline and on others that were queued although their texts break
    rules."""
    if settings.task.inspection != inspection.NONE and history.baseline.program:
        faults = inspection.faults(sources.read(history.baseline.program))
        if faults:
            _, words = min(faults)
            yield f"rules that the baseline's train.py breaks: {len(faults)}; one of them: {words}"
    versions = [version for version in history.versions.values() if version.remarks]
    if versions:
        last = inspection.remarked(versions)[-1]
        yield f"programs whose texts break rules: {len(versions)}; the last: {last}"


def agent_view(asks: Sequence[Ask], limit: float) -> AgentView | None:
    """What was asked for money. Asks that could spend nothing are not Claude's."""
    paid = [ask for ask in asks if ask.usd > 0 or ask.requests]
    if not paid:
        return None
    tokens = Counter[str]()
    for ask in paid:
        tokens.update({name: int(count) for name, count in ask.tokens.items()})
    prompt = sum(count for name, count in tokens.items() if name != "output")
    return AgentView(
        spent=sum(ask.spent for ask in paid),
        limit=limit,
        waves=len(paid),
        requests=sum(ask.requests for ask in paid),
        cache_share=tokens["cache_read"] / prompt if prompt else 0.0,
        is_asked=paid[-1].ended is None,
        problem=paid[-1].problem,
    )


def end_time(history: History, now: float) -> float:
    """The last result of an ended campaign, else now."""
    ends = [entry.result.ended for entry in history.entries.values() if entry.result]
    return max(ends, default=now) if history.ended else now


def row(summary: Summary, entry: Entry) -> Row:
    candidate, result = entry.experiment.candidate, entry.result
    return Row(
        experiment=entry.experiment.id,
        candidate=summary.original(candidate.key),
        program=candidate.program,
        commit=summary.commits[candidate.program],
        wave=entry.wave,
        purpose=entry.purpose.value,
        tier=entry.tier,
        cell=entry.experiment.cell.key,
        seed=entry.experiment.seed,
        state=entry.state.name,
        bpb=entry.bpb,
        status=status(summary, entry),
        split=entry.experiment.split.value,
        failure=result.failure.value if result and result.failure else None,
        reason=result.reason if result else "",
        description=entry.description,
        overrides=candidate.overrides,
        memory_gb=result.peak_memory / GIB if result else 0.0,
        seconds=result.seconds if result else Seconds(),
        ended=result.ended if result else 0.0,
        protected=result.protected if result else False,
        planner=summary.history.author(entry),
    )


def status(summary: Summary, entry: Entry) -> str:
    """In the seed's words where it has one: keep, discard, crash."""
    if entry.state is not State.finished:
        return "running" if entry.state is State.running else "queued"
    if entry.has_failed:
        return "crash"
    key = summary.original(entry.experiment.candidate.key)
    return "keep" if key in summary.crowned else "discard"


def cell_view(summary: Summary, tier: str, cell: Cell) -> CellView:
    history, judge = summary.history, summary.settings.judge
    scores = list(history.scores(history.baseline, tier).values())
    known = noise([scores])
    sigma = known.sigma if known else None
    level = alpha_spent(len(history.crowns) or 1, judge.alpha)
    return CellView(
        key=cell.key,
        tier=tier,
        device=cell.device,
        budget=str(cell.budget),
        baseline_mean=fmean(scores) if scores else None,
        baseline_n=len(scores),
        sigma=sigma,
        detectable=None
        if sigma is None
        else detectable_effect(sigma, judge.crown_seeds, judge.crown_seeds, level),
    )


def champion_view(summary: Summary) -> ChampionView | None:
    history = summary.history
    champion = history.champion
    if champion == history.baseline:
        return None
    scores = history.scores(champion, history.validate).values()
    test = next(t for t in reversed(history.crowns) if t.crowned)
    first = next(history.of_candidate(test.challenger, history.screen), None)
    return ChampionView(
        candidate=summary.original(champion.key),
        program=champion.program,
        commit=summary.commits[champion.program],
        overrides=changes(summary.sources, history.baseline, champion),
        mean=fmean(scores) if scores else None,
        description=summary.descriptions.get(test.challenger.key, ""),
        is_rewritten=rewritten(summary.sources, history.baseline, champion),
        wave=first.wave if first else 0,
    )


def rewritten(sources: Sources, old: Candidate, new: Candidate) -> bool:
    """Whether more differs between two programs than the values of their parameters."""
    one, other = (skeleton(sources.read(candidate.program)) for candidate in (old, new))
    return one != other


def changes(sources: Sources, old: Candidate, new: Candidate) -> dict[str, Scalar]:
    """The parameters in which one candidate differs from another, with the new one's values."""
    before, after = ({**parameters(sources.read(c.program)), **c.overrides} for c in (old, new))
    return {name: value for name, value in after.items() if before.get(name) != value}


def certification_view(history: History) -> CertificationView | None:
    """The last certification, if it speaks of today's champion and could measure it."""
    last = history.certifications[-1] if history.certifications else None
    if last is None or last["champion"] != history.champion.program or last["low"] is None:
        return None
    return CertificationView(
        difference=last["difference"],
        low=last["low"],
        high=last["high"],
        confidence=last["confidence"],
        n=min(last["counts"]),
        baseline_mean=last["baseline_mean"],
        champion_mean=last["champion_mean"],
        significant=last["high"] < 0,
    )


def crown_view(summary: Summary, test: Crown) -> CrownView:
    verdict = test.verdict or {}
    return CrownView(
        candidate=test.challenger.key,
        number=test.number,
        difference=verdict["difference"],
        p=verdict["p"],
        alpha=test.alpha,
        crowned=test.crowned,
        description=summary.descriptions.get(test.challenger.key, ""),
    )
