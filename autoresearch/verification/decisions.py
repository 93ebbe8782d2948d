"""Crowns and certificates, decided anew from the result files by the judge's own rules.

The journal's events are replayed with what result.json says in the place of what they say. Wherever
something was decided, the judge is asked again with what was known then.
"""

from collections.abc import Iterator, Mapping

from autoresearch import judge
from autoresearch.entry import Crown, Entry, Purpose
from autoresearch.errors import AutoresearchError
from autoresearch.experiment import Attempt, Candidate, Json, Split
from autoresearch.history import History
from autoresearch.program import parameters, skeleton
from autoresearch.settings import Settings
from autoresearch.verification.evidence import Evidence
from autoresearch.verification.findings import Check, check, differing, should

Moment = tuple[str, Json, Json | None]  # where a decision stands, what it is, what it should be


def decisions(evidence: Evidence, history: History, found: Mapping[Attempt, Json]) -> list[Check]:
    """`found` is what the result files say, as the journal should have it."""
    moments = list(decided_anew(evidence, found))
    tests = [moment for moment in moments if moment[1]["type"].startswith("crown")]
    others = [moment for moment in moments if moment not in tests]
    crowned = [test for test in history.crowns if test.crowned]
    runs = [e for e in history.entries.values() if e.purpose is not Purpose.smoke]
    of_test = [e for e in history.entries.values() if e.experiment.split is Split.test]

    def program(test: Crown) -> Iterator[str]:
        return champion_faults(evidence, test)

    def branch(_: str) -> Iterator[str]:
        return branch_faults(evidence, history)

    same = "as the judge decides by the results"
    baked = "with the winner's overrides as its defaults, all else as it was"
    seeds = Seeds(evidence, history).faults
    return [
        check("crowns", "crown decision", same, tests, faults),
        check(
            "certificates", "certification decision", f"{same}, number by number", others, faults
        ),
        check("champions", "champion", baked, crowned, program),
        check("branch", "branch", "'champion', at the last one", ["champion"], branch),
        check("seeds", "run", "with a seed that its purpose prescribes", runs, seeds),
        check("test", "run", "of the test split, for certification alone", of_test, use_faults),
    ]


def decided_anew(evidence: Evidence, found: Mapping[Attempt, Json]) -> Iterator[Moment]:
    """Every decision beside what the judge says of the same moment."""
    history, lives = History(), iter(evidence.lives)
    settings = next(lives)
    for where, event in zip(evidence.places, evidence.events, strict=True):
        if event["type"] in RULES:
            yield where, event, RULES[event["type"]](history, settings, event)
        if event["type"] == "amended":
            settings = next(lives)
        if event["type"] == "finished":
            attempt = Attempt(event["experiment"], event["attempt"])
            history.apply(event | {"result": found.get(attempt, event["result"])})
        else:
            history.apply(event)


def opened(history: History, settings: Settings, event: Json) -> Json:
    """Whom to test is the search's business, or somebody's wish; how is a rule."""
    return judge.opening(history, settings, Candidate(**event["challenger"]))


def closed(history: History, _: Settings, __: Json) -> Json | None:
    test = history.open_crown
    verdict = judge.closing(history, test) if test else None
    if verdict and verdict["crowned"]:
        del verdict["program"]  # `champion_faults` looks at it
    return verdict


def certifying(history: History, settings: Settings, _: Json) -> Json | None:
    is_due = history.search_ended and judge.is_due_for_certification(history)
    return judge.certifying(history, settings) if is_due else None


def certified(history: History, _: Settings, __: Json) -> Json | None:
    return judge.certification(history) if history.seeds_to_certify else None


RULES = {
    "crown_opened": opened,
    "crown_closed": closed,
    "certifying": certifying,
    "certified": certified,
}


def faults(moment: Moment) -> Iterator[str]:
    where, event, expected = moment
    if expected is None:
        yield f"{where}: should not have been decided yet, by the results there were, but was"
    else:
        yield from differing(where, expected, event)


def champion_faults(evidence: Evidence, test: Crown) -> Iterator[str]:
    """The program that a verdict names is the winner's, its overrides written in."""
    program = str(test.verdict and test.verdict["program"])
    where = f"sources.git, version {program:.12}"
    try:
        before = evidence.sources.read(test.challenger.program)
        after = evidence.sources.read(program)
        wanted = {**parameters(before), **test.challenger.overrides}
        yield from differing(where, wanted, parameters(after))
        if skeleton(before) != skeleton(after):
            yield f"{where}: should differ from the winner's in the defaults of Config alone"
    except (AutoresearchError, UnicodeDecodeError) as error:
        yield f"{where}: {error}"


def branch_faults(evidence: Evidence, history: History) -> Iterator[str]:
    """It follows the journal: while a campaign runs it may be one champion behind."""
    crowned = [t.verdict["program"] for t in history.crowns if t.crowned and t.verdict]
    passed = [None, history.baseline.program, *crowned]
    allowed = passed[-1:] if history.ended and crowned else passed[-2:]
    if evidence.branch not in allowed:
        wanted = history.champion.program
        yield should("sources.git", "branch champion", wanted, evidence.branch)


def use_faults(entry: Entry) -> Iterator[str]:
    if entry.purpose is not Purpose.certify:
        where = f"experiments/{entry.experiment.id}/experiment.json"
        yield should(where, "split", "validation", f"test, for {entry.purpose}")


class Seeds:
    """Nobody chooses the seeds of a campaign: they follow from its own and from what they are for.

    Smoke experiments are no measurements: theirs do not matter.
    """

    def __init__(self, evidence: Evidence, history: History) -> None:
        settings = evidence.start
        baseline = 2 * settings.judge.baseline_seeds  # some may have been lost to the machine
        most = max(baseline, *settings.search.rungs)
        screening = set(judge.screening_seeds(settings, most))
        events = [event for event in evidence.events if event["type"] == "certifying"]
        self.allowed = {
            Purpose.crown: {seed for test in history.crowns for seed in test.seeds},
            Purpose.certify: {seed for event in events for seed in event["seeds"]},
            **dict.fromkeys((Purpose.baseline, Purpose.screen, Purpose.climb), screening),
        }

    def faults(self, entry: Entry) -> Iterator[str]:
        if entry.experiment.seed not in self.allowed.get(entry.purpose, ()):
            where = f"experiments/{entry.experiment.id}/experiment.json"
            yield f"{where}: seed {entry.experiment.seed} should not be used for {entry.purpose}"
