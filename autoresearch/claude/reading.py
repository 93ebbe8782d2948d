"""The tools by which Claude reads: results, one experiment, its log, programs, effects.

Each is a function of the library and of what was asked; what it answers is data, and is shown as
such. Names are those that people use: an experiment's id, a candidate's key, champion, baseline.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from autoresearch.claude import results
from autoresearch.claude.library import Library
from autoresearch.claude.quoting import Kept, line
from autoresearch.claude.results import Board, Standing, original
from autoresearch.entry import Entry
from autoresearch.errors import CampaignError
from autoresearch.experiment import Candidate, Json, Result, Seconds
from autoresearch.lessons import of_campaign
from autoresearch.names import candidate_named, named
from autoresearch.program import unified

ROWS, MOST_ROWS = 20, 50  # of a table
LINES, MOST_LINES = 60, 200  # of a log
LOG = 4000  # characters
PAGE = 7500  # characters of a program
POINTS = 12  # of a curve
LINEAGE = 6  # ancestors of a program
WORDS = 500  # characters of somebody's words

NAME = {
    "type": "string",
    "description": "the start of an experiment's id or of a candidate's key; champion; baseline",
}


@dataclass(frozen=True)
class Reading:
    """A tool that looks something up. It changes nothing."""

    name: str
    description: str
    properties: Json
    required: Sequence[str]
    answer: Callable[[Library, Json], str]
    kept: Kept = Kept.head  # of an answer that is too long

    @property
    def schema(self) -> Json:
        return closed(self.properties, self.required)


def closed(properties: Json, required: Sequence[str] = ()) -> Json:
    """The schema of an object that has no other keys."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


# ---- many results --------------------------------------------------------------------------------

ORDERS: dict[str, Callable[[Standing], Any]] = {
    "best": results.by_score,
    "newest": lambda standing: (-standing.entries[0].order,),
    "fastest": lambda standing: (standing.seconds, standing.key),
    "smallest": lambda standing: (standing.memory, standing.key),
}


def read_results(library: Library, asked: Json) -> str:
    history = library.history
    tier = asked.get("tier", history.screen)
    if tier not in history.tiers:
        raise CampaignError(f"there is no tier '{tier}'; choose of {', '.join(history.tiers)}")
    board = Board.of(history, tier)
    found = [standing for standing in board.standings if fits(standing, asked)]
    found.sort(key=ORDERS[asked.get("order", "best")])
    begin = max(0, int(asked.get("offset", 0)))
    end = begin + min(max(1, int(asked.get("limit", ROWS))), MOST_ROWS)
    return "\n".join(
        [
            results.heading(history, board, library.settings.judge),
            f"rows {begin + 1} to {min(end, len(found))} of {len(found)}",
            results.table(board, found[begin:end]),
        ]
    )


def fits(standing: Standing, asked: Json) -> bool:
    wave, planner = asked.get("wave"), asked.get("planner")
    return wave in (None, standing.wave) and planner in (None, standing.planner)


# ---- one experiment ------------------------------------------------------------------------------


def read_experiment(library: Library, asked: Json) -> str:
    entry = entry_of(library, asked["name"])
    result = library.result(entry)
    lines = [*question(library, entry), *outcome(entry)]
    lines += measured(result) if result else []
    return "\n".join([*lines, "all runs of this candidate:", *runs(library, entry)])


def entry_of(library: Library, name: str, *, failed_first: bool = False) -> Entry:
    """The experiment of this name; of a candidate of this name one with a score, if it has any."""
    found = named(library.history, name)
    if isinstance(found, Entry):
        return found
    entries = kin(library, found)
    if not entries:
        raise CampaignError(f"candidate {found.key} has not been run, and does not wait to be")
    return min(entries, key=lambda e: (e.has_failed is not failed_first, e.bpb is None, e.order))


def kin(library: Library, candidate: Candidate) -> list[Entry]:
    """Every experiment of a candidate, in whatever cell."""
    history = library.history
    key = original(history, candidate)
    entries = history.entries.values()
    return [e for e in entries if original(history, e.experiment.candidate) == key]


def question(library: Library, entry: Entry) -> Iterator[str]:
    """What was asked, by whom and why."""
    experiment, history = entry.experiment, library.history
    cell, candidate = experiment.cell, experiment.candidate
    yield f"experiment {experiment.id} of candidate {candidate.key}, seed {experiment.seed}"
    yield f"tier {entry.tier}: {cell.device}, {cell.budget}, cell {cell.key}, {experiment.split}"
    planner, hoped = results.idea(history, entry)
    if entry.wave:
        hypothesis = line(history.waves[entry.wave - 1][0].hypothesis, WORDS)
        yield f"wave {entry.wave} by {line(planner, WORDS)}: {hypothesis}"
    yield f"purpose: {entry.purpose}; {line(entry.description, WORDS)}"
    if hoped is not None:
        yield f"hoped for: {hoped:+.5f} bits per byte"
    yield f"overrides: {line(results.settings_of(candidate), WORDS) or 'none'}"
    ancestors = library.programs.sources.log(candidate.program)
    yield f"program {candidate.program[:12]}, and what it was made from:"
    yield from (f"  {commit[:7]} {line(why, WORDS)}" for commit, why in ancestors[:LINEAGE])


def outcome(entry: Entry) -> Iterator[str]:
    """What became of it."""
    attempts = f" in attempt {entry.attempt}" if entry.attempt > 1 else ""
    yield f"state: {entry.state.name}{attempts}"
    yield from (f"lost before: {line(loss, WORDS)}" for loss in entry.losses)
    result = entry.result
    if result and result.failure:
        yield f"failed: {result.failure}: {line(result.reason, WORDS)}"
    elif result and result.bpb is not None:
        yield f"bits per byte: {result.bpb:.5f}"


def measured(result: Result) -> Iterator[str]:
    """What it cost and how it went."""
    yield f"took {spent(result.seconds)}; {result.peak_memory / results.GIB:.2f} GB at most"
    yield f"{result.steps} steps, {result.tokens} tokens, {result.weights} weights"
    if result.parameters:
        pairs = (f"{name}={value}" for name, value in result.parameters.items())
        yield f"Config that ran: {line(' '.join(pairs), 3000)}"
    if result.curve:
        yield "training loss (seconds, step, loss):"
        yield from (f"  {s:.1f}  {step}  {loss:.4f}" for s, step, loss in thinned(result.curve))


def spent(seconds: Seconds) -> str:
    return (
        f"{seconds.train:.1f} s of training, {seconds.setup:.1f} s before, "
        f"{seconds.score:.1f} s of scoring"
    )


def thinned(curve: Sequence[tuple[float, int, float]]) -> list[tuple[float, int, float]]:
    """Points spread evenly over a curve, both ends included."""
    if len(curve) <= POINTS:
        return list(curve)
    return [curve[round(k * (len(curve) - 1) / (POINTS - 1))] for k in range(POINTS)]


def runs(library: Library, entry: Entry) -> Iterator[str]:
    """All of the candidate's experiments, each with its cell: one line is one cell's."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for each in kin(library, entry.experiment.candidate):
        cell = each.experiment.cell
        place = each.tier, f"{cell.budget}, cell {cell.key}", each.experiment.split.value
        groups.setdefault(place, []).append(each)
    for place, entries in groups.items():
        yield f"  {', '.join(place)}: {'; '.join(map(brief, entries))}"


def brief(entry: Entry) -> str:
    said = entry.state.name
    if entry.result:
        said = entry.result.failure or f"{entry.result.bpb:.5f}"
    return f"{entry.experiment.id} {said}"


def read_log(library: Library, asked: Json) -> str:
    entry = entry_of(library, asked["name"], failed_first=True)
    count = min(max(1, int(asked.get("lines", LINES))), MOST_LINES)
    lines = library.log(entry.current).splitlines()[-count:]
    return "\n".join(lines)[-LOG:] if lines else "there is no log: it printed nothing, or waits"


# ---- programs ------------------------------------------------------------------------------------


def read_source(library: Library, asked: Json) -> str:
    """A program with its overrides written in: as many whole lines as fit, from the first on."""
    text = library.programs.text(candidate_named(library.history, asked["name"]))
    lines = text.removesuffix("\n").split("\n")
    first = min(max(1, int(asked.get("start", 1))), len(lines))
    last = min(max(first, int(asked.get("end", len(lines)))), len(lines))
    numbered = asked.get("numbers", False)
    shown = [f"{n:4} {lines[n - 1]}" if numbered else lines[n - 1] for n in range(first, last + 1)]
    sizes = accumulate(len(each) + 1 for each in shown)
    page = shown[: max(1, sum(size <= PAGE for size in sizes))]
    return "\n".join([f"lines {first} to {first + len(page) - 1} of {len(lines)}", *page])


def diff(library: Library, asked: Json) -> str:
    names = [asked["one"], asked["other"]]
    candidates = [candidate_named(library.history, name) for name in names]
    old, new = (library.programs.text(candidate) for candidate in candidates)
    return unified(old, new, *names) or "they are the same program"


def effects(library: Library, asked: Json) -> str:
    history, space = library.history, library.settings.search.space
    program = candidate_named(history, asked.get("name", "champion")).program
    return of_campaign(history, library.programs, space, program).text()


# ---- what Claude is told of them -----------------------------------------------------------------

WHOLE = {"type": "integer"}
READINGS = (
    Reading(
        "read_results",
        "What was tried in one cell, a candidate per row: seeds, mean bits per byte (lower is "
        "better), its standard error from the cell's noise, the difference to the baseline and to "
        "the champion in the same cell, what its planner hoped for, seconds and memory of a run, "
        "and in the last column what was changed, after marks like [champion], [pending] or the "
        "name of a failure. Above it: noise, crown tests, what waits, what failed.",
        {
            "order": {"type": "string", "enum": list(ORDERS), "description": "best unless given"},
            "limit": WHOLE | {"description": f"rows, {ROWS} unless given, {MOST_ROWS} at most"},
            "offset": WHOLE | {"description": "rows to leave out before the first one"},
            "wave": WHOLE | {"description": "only this wave's"},
            "planner": {"type": "string", "description": "only this planner's: claude, bayes, ..."},
            "tier": {"type": "string", "description": "the screening tier unless given"},
        },
        (),
        read_results,
    ),
    Reading(
        "read_experiment",
        "Everything about one experiment: whose idea, hypothesis, ancestors of its program, "
        "overrides, score or failure with its reason, costs, the Config that ran, the curve of its "
        "training loss, and every other run of the same candidate. Also for smoke experiments.",
        {"name": NAME},
        ("name",),
        read_experiment,
    ),
    Reading(
        "read_log",
        "The end of what an experiment's program printed: where a failure usually shows.",
        {
            "name": NAME,
            "lines": WHOLE | {"description": f"{LINES} unless given, {MOST_LINES} at most"},
        },
        ("name",),
        read_log,
        Kept.tail,
    ),
    Reading(
        "read_source",
        "A candidate's train.py, its overrides written into Config: lines that can be copied into "
        "the search text of an edit, as long as numbers is false. Long programs come in pages.",
        {
            "name": NAME,
            "start": WHOLE | {"description": "line to begin with, 1 unless given"},
            "end": WHOLE | {"description": "line to end with"},
            "numbers": {"type": "boolean", "description": "put a number before each line"},
        },
        ("name",),
        read_source,
    ),
    Reading(
        "diff",
        "How one candidate's program differs from another's, overrides written in.",
        {"one": NAME, "other": NAME},
        ("one", "other"),
        diff,
    ),
    Reading(
        "effects",
        "Main effects and interactions of the parameters of one program, estimated from all "
        "screened candidates whose programs differ from it in nothing but parameters.",
        {"name": NAME | {"description": f"{NAME['description']}; champion unless given"}},
        (),
        effects,
    ),
)
