"""History → what else must be run, and which decisions are due.

The rules, in the order in which an experiment meets them:

1. The baseline runs with several seeds in every tier's cell: that gives the noise.
2. Screening: a candidate starts with the first screening seed. By asynchronous successive halving
   over seeds (ASHA, Li et al. 2018) the best third of those that completed a rung, if also better
   than the champion on the same seeds, gets the seeds of the next rung. No error control is needed
   here: nothing is claimed yet.
3. Crowning: the best candidate that reached the top rung meets the champion with fresh seeds, both
   of them, on the last tier. A one-sided Welch test at level alpha * 6 / (pi^2 k^2) for the k-th
   test keeps the probability of even one false crown in the whole campaign below alpha.
4. Certification, after the last decision: fresh seeds of champion and baseline on the test split,
   which nothing else ever reads. Its difference is free of selection and is the headline.

Pure: reads a History, returns requests and events, does nothing itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from autoresearch.entry import Crown, Entry, Purpose
from autoresearch.experiment import Budget, Candidate, Json, Split, digest
from autoresearch.history import History
from autoresearch.settings import Search, Settings
from autoresearch.statistics import alpha_spent, climbers, welch

CONFIDENCE = 0.95  # of the certified interval


@dataclass(frozen=True)
class Request:
    """An experiment somebody needs, in terms of the campaign: the tier gives the cell, unless it
    has a budget of its own."""

    candidate: Candidate
    seed: int
    tier: str
    purpose: Purpose
    split: Split = Split.validation
    description: str = ""
    budget: Budget | None = None
    planner: str = ""  # who had the idea, if not the wave's planner


def seed_for(campaign: int, use: str, index: int, turn: int = 0) -> int:
    """The `index`-th seed of a use. Uses never share seeds: that is what makes them fresh."""
    return int(digest([campaign, use, turn, index], 8), 16) & 0x7FFFFFFF


def screening_seeds(settings: Settings, count: int) -> list[int]:
    return [seed_for(settings.seed, "screen", k) for k in range(count)]


# ---- what must be run ------------------------------------------------------------------------


def requests(history: History, settings: Settings) -> list[Request]:
    """Every experiment the rules call for that has not been asked for yet, most urgent first."""
    wanted = [
        *baseline_requests(history, settings),
        *crown_requests(history),
        *climb_requests(history, settings),
        *certify_requests(history),
    ]
    return [request for request in wanted if not is_asked(history, request)]


def is_asked(history: History, request: Request) -> bool:
    return any(
        entry.experiment.seed == request.seed
        for entry in history.of_candidate(request.candidate, request.tier, request.split)
    )


def baseline_requests(history: History, settings: Settings) -> Iterator[Request]:
    wanted = settings.judge.baseline_seeds
    for tier in history.tiers:
        lost = sum(is_lost(entry) for entry in history.of_candidate(history.baseline, tier))
        for seed in screening_seeds(settings, wanted + min(lost, wanted)):
            yield Request(
                history.baseline, seed, tier, Purpose.baseline, description="the baseline"
            )


def is_lost(entry: Entry) -> bool:
    """Whether the machine failed an experiment every time: another seed has to stand in."""
    failure = entry.result.failure if entry.result else None
    return failure is not None and failure.is_infrastructure


def crown_requests(history: History) -> Iterator[Request]:
    test = history.open_crown
    if test is not None:
        for seed in test.seeds:
            for candidate, role in ((test.challenger, "challenger"), (test.champion, "champion")):
                yield Request(
                    candidate,
                    seed,
                    test.tier,
                    Purpose.crown,
                    description=f"crown test {test.number}: {role}",
                )


def climb_requests(history: History, settings: Settings) -> Iterator[Request]:
    rungs = settings.search.rungs
    groups = history.screened()
    for height in range(len(rungs) - 1):
        for key in climbing(history, groups, settings.search, height):
            first = groups[key][0]
            for seed in screening_seeds(settings, rungs[height + 1]):
                yield Request(
                    first.experiment.candidate,
                    seed,
                    history.screen,
                    Purpose.climb,
                    description=first.description,
                )


def certify_requests(history: History) -> Iterator[Request]:
    for seed in history.seeds_to_certify:
        for candidate, role in ((history.champion, "champion"), (history.baseline, "baseline")):
            yield Request(
                candidate,
                seed,
                history.validate,
                Purpose.certify,
                Split.test,
                description=f"certification: {role}",
            )


def climbing(
    history: History, groups: dict[str, list[Entry]], search: Search, height: int
) -> list[str]:
    """The candidates on rung `height` that have earned the next one."""
    means = {
        key: mean_gain(history, entries)
        for key, entries in groups.items()
        if has_completed(entries, search.rungs[height])
    }
    ranked = sorted(means, key=lambda key: (means[key], key))
    return [key for key in climbers(ranked, search.eta) if means[key] < 0]


def has_completed(entries: Sequence[Entry], seeds: int) -> bool:
    """Whether a candidate has so many scores and no failure."""
    scored = sum(entry.bpb is not None for entry in entries)
    return scored >= seeds and not any(entry.has_failed for entry in entries)


def mean_gain(history: History, entries: Sequence[Entry]) -> float:
    """Mean bits per byte against the champion on the same screening seeds; negative is better.

    Seeds the champion has not run are left out; without a common seed, against its mean.
    """
    reference = history.scores(history.champion, history.screen)
    own = {e.experiment.seed: e.bpb for e in entries if e.bpb is not None}
    common = [own[seed] - reference[seed] for seed in own if seed in reference]
    if common:
        return fmean(common)
    return fmean(own.values()) - fmean(reference.values()) if own and reference else 0.0


# ---- decisions -------------------------------------------------------------------------------


def decision(
    history: History, settings: Settings, *, can_open: bool = True, can_certify: bool = True
) -> Json | None:
    """The one event that is due now: a test closed or opened, a certification begun or finished.

    `can_open` and `can_certify` say whether the budget allows new ones. A closed crown test still
    lacks `program`: the campaign bakes it.
    """
    if history.open_crown is not None:
        return closing(history, history.open_crown)
    if history.seeds_to_certify:
        return certification(history)
    if not baseline_is_known(history):
        return None
    challenger = next_challenger(history, settings) if can_open else None
    if challenger is not None:
        return opening(history, settings, challenger)
    if can_certify and history.search_ended and is_due_for_certification(history):
        return certifying(history, settings)
    return None


def baseline_is_known(history: History) -> bool:
    """Whether every tier's cell has a noise to compare with."""
    return all(len(history.scores(history.baseline, tier)) >= 2 for tier in history.tiers)


def next_challenger(history: History, settings: Settings) -> Candidate | None:
    """The best candidate on the top rung that has not met this champion and looks better.

    Once the search has ended nobody climbs any more: then every rung counts, for one last test.
    """
    final = bool(history.search_ended)
    if final and (history.active or (history.crowns and history.crowns[-1].final)):
        return None
    met = {test.challenger.key for test in history.crowns if test.champion == history.champion}
    wished = [c for c in history.promoted if c.key not in met and c != history.champion]
    if wished:
        return wished[0]
    rungs = settings.search.rungs
    seeds = rungs[0] if final else rungs[-1]
    gains = {
        key: (mean_gain(history, entries), entries[0].experiment.candidate)
        for key, entries in history.screened().items()
        if key not in met and key != history.born.get(history.champion.key)
        if has_completed(entries, seeds)
    }
    better = [(gain, key) for key, (gain, _) in gains.items() if gain < 0]
    return gains[min(better)[1]][1] if better else None


def opening(history: History, settings: Settings, challenger: Candidate) -> Json:
    number = len(history.crowns) + 1
    count = settings.judge.crown_seeds
    return {
        "type": "crown_opened",
        "number": number,
        "challenger": asdict(challenger),
        "champion": asdict(history.champion),
        "tier": history.validate,
        "seeds": [seed_for(settings.seed, "crown", k, number) for k in range(count)],
        "alpha": alpha_spent(number, settings.judge.alpha),
        "final": bool(history.search_ended),
    }


def certifying(history: History, settings: Settings) -> Json:
    turn = len(history.certifications) + 1
    count = settings.judge.certify_seeds
    seeds = [seed_for(settings.seed, "certify", k, turn) for k in range(count)]
    return {"type": "certifying", "seeds": seeds}


def fresh(
    history: History, candidate: Candidate, tier: str, seeds: Sequence[int], split: Split
) -> list[Entry] | None:
    """The candidate's experiments with these seeds, or None while one is not finished."""
    entries = [
        entry
        for entry in history.of_candidate(candidate, tier, split)
        if entry.experiment.seed in seeds
    ]
    is_complete = len(entries) >= len(seeds) and all(entry.result for entry in entries)
    return entries if is_complete else None


def closing(history: History, test: Crown) -> Json | None:
    """The verdict of a crown test once all its experiments are finished.

    A failure of the challenger on any fresh seed loses the test: a champion must run every time.
    """
    ours = fresh(history, test.challenger, test.tier, test.seeds, Split.validation)
    theirs = fresh(history, test.champion, test.tier, test.seeds, Split.validation)
    if ours is None or theirs is None:
        return None
    comparison = welch(scores_of(ours), scores_of(theirs))
    failed = [entry for entry in ours if entry.has_failed]
    return {
        "type": "crown_closed",
        "number": test.number,
        "crowned": not failed and comparison.p <= test.alpha,
        "difference": comparison.difference,
        "p": comparison.p,
        "failed": len(failed),
        "counts": [len(scores_of(ours)), len(scores_of(theirs))],
        "program": None,
    }


def scores_of(entries: Sequence[Entry]) -> list[float]:
    return [entry.bpb for entry in entries if entry.bpb is not None]


def is_due_for_certification(history: History) -> bool:
    """A new champion, all experiments done, and not certified since it was crowned."""
    if history.active or history.champion == history.baseline:
        return False
    return not any(c["champion"] == history.champion.program for c in history.certifications)


def certification(history: History) -> Json | None:
    """The certified difference, champion minus baseline, once all its experiments are finished."""
    seeds = history.seeds_to_certify
    ours = fresh(history, history.champion, history.validate, seeds, Split.test)
    theirs = fresh(history, history.baseline, history.validate, seeds, Split.test)
    if ours is None or theirs is None:
        return None
    comparison = welch(scores_of(ours), scores_of(theirs))
    low, high = comparison.interval(CONFIDENCE)
    return {
        "type": "certified",
        "champion": history.champion.program,
        "baseline": history.baseline.program,
        "difference": comparison.difference,
        "low": low,
        "high": high,
        "confidence": CONFIDENCE,
        "champion_mean": fmean(scores_of(ours)) if scores_of(ours) else None,
        "baseline_mean": fmean(scores_of(theirs)) if scores_of(theirs) else None,
        "counts": [len(scores_of(ours)), len(scores_of(theirs))],
        "failed": sum(entry.has_failed for entry in (*ours, *theirs)),
    }
