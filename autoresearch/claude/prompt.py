"""How a conversation begins: what stays from wave to wave, then where the campaign stands now.

The rules, program.md and the champion's source come first, so that the API can keep them. All that
follows is condensed by code: it has a bound of its own, however long the campaign has been.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time

from autoresearch.claude import results
from autoresearch.claude.library import Library
from autoresearch.claude.quoting import cut, data, line
from autoresearch.claude.results import Board, Standing
from autoresearch.claude.transcript import Opening, text
from autoresearch.entry import Crown, Purpose
from autoresearch.errors import SourceError
from autoresearch.history import History
from autoresearch.lessons import of_campaign
from autoresearch.settings import Claude, Settings
from autoresearch.space import Choice, Domain, Space

RULES = Path(__file__).with_name("rules.md")
BEST, NEWEST = 20, 40  # candidates in a table
WAVES = 2  # newest ones, shown whole
LINEAGE = 20  # kept changes, the newest

# Characters, at most, of each part. With the rules they stay below LONGEST: 40,000 tokens.
LONGEST = 160_000
PROGRAM_MD = 20_000
SOURCE = 60_000
FACTS = 3_000
DOMAINS = 6_000
KEPT = 6_000
TABLE = 12_000
HEADING = 4_000
EFFECTS = 6_000
NOTEBOOK = 16_000
WORDS = 200  # of a description or a hypothesis


@dataclass(frozen=True)
class Task:
    """What is asked of this conversation."""

    folder: Path  # holds program.md
    space: Space  # what can be searched of the champion
    wave: int
    capacity: int
    usd: float


def opening(library: Library, task: Task, claude: Claude) -> Opening:
    """Raises SourceError if the task has no program.md."""
    history = library.history
    champion = library.programs.text(history.champion)
    system = [
        RULES.read_text(encoding="utf-8"),
        f"# The task's own rules: program.md\n\n{program_md(task.folder)}",
        f"# The champion's train.py\n\n{data('read_source champion', champion, SOURCE)}",
    ]
    return Opening(
        [text(part) for part in system],
        [text("\n\n".join(situation(library, history, task, claude)))],
    )


def program_md(folder: Path) -> str:
    """The user's rules for the program, which are rules for Claude as well."""
    path = folder / "program.md"
    try:
        return cut(path.read_text(encoding="utf-8"), PROGRAM_MD)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path} should hold the rules for whoever edits train.py, but: "
            f"{getattr(error, 'strerror', None) or 'it is no UTF-8'}; begin with train/program.md"
        ) from None


def situation(library: Library, history: History, task: Task, claude: Claude) -> Iterator[str]:
    """Where the campaign stands, part by part."""
    board = Board.of(history, history.screen)
    judge = library.settings.judge
    learned = of_campaign(
        history, library.programs, library.settings.search.space, history.champion.program
    )
    yield f"Wave {task.wave}: there is room for {task.capacity} experiments of yours."
    yield part("campaign", "\n".join(facts(library.settings, history, task, claude)), FACTS)
    yield part("parameters of the champion", "\n".join(domains(library, task)), DOMAINS)
    yield part("kept changes, oldest first", "\n".join(lineage(history, board)), KEPT)
    yield part("results", results.heading(history, board, judge), HEADING)
    yield part(f"best {BEST}", results.table(board, best(board)), TABLE)
    yield part("newest waves", newest(history, board), TABLE)
    yield part("effects", learned.text(), EFFECTS)
    yield part("notebook, newest first", "\n".join(notebook(history, claude.notes)), NOTEBOOK)
    yield f"Now find out what is worth knowing next, and propose wave {task.wave}."


def part(source: str, words: str, limit: int) -> str:
    return data(source, words or "none yet", limit)


# ---- the parts -----------------------------------------------------------------------------------


def facts(settings: Settings, history: History, task: Task, claude: Claude) -> Iterator[str]:
    """How the campaign is set up, and what is left of its budgets."""
    yield f"campaign {line(history.name, WORDS)}"
    for tier, cell in history.tiers.items():
        pilots = settings.cluster.tiers[tier].pilots
        many = f"{pilots} devices at once" if pilots else "as many devices as fit"
        yield f"tier {tier}: {cell.device}, {cell.budget} an experiment, {many}"
    rungs = ", ".join(map(str, settings.search.rungs))
    yield (
        f"screening on {history.screen}: {rungs} seeds, one candidate in {settings.search.eta} "
        f"climbs; crown tests on {history.validate}: {settings.judge.crown_seeds} fresh seeds each"
    )
    free = (Purpose.smoke, Purpose.replay)
    count = sum(entry.purpose not in free for entry in history.entries.values())
    bounds, now = settings.budget, time()
    yield (
        f"spent: {of(count, bounds.experiments)} experiments, "
        f"{of(round(history.pilot_hours(now), 1), bounds.gpu_hours)} device hours, "
        f"{of(round((now - history.clock) / 3600, 1), bounds.wall_hours)} hours"
    )
    yield (
        f"left for you: ${task.usd:.2f}. This conversation: {claude.requests} answers of "
        f"{claude.max_tokens} tokens, {claude.smokes} smoke experiments, "
        f"{claude.seconds / 60:.0f} minutes, {claude.mistakes} mistakes, at most"
    )


def of(spent: float, bound: float) -> str:
    return f"{spent:g} of {bound:g}" if bound else f"{spent:g}"


def domains(library: Library, task: Task) -> Iterator[str]:
    """What can be searched, with the champion's values."""
    values = library.programs.values(library.history.champion)
    for name, domain in sorted(task.space.items()):
        yield f"{name}={values.get(name)!r}, {range_of(domain)}"


def range_of(domain: Domain) -> str:
    if isinstance(domain, Choice):
        return f"one of {', '.join(map(repr, domain.values))}"
    kind = " whole" * domain.integer + " on a log scale" * domain.log
    return f"{domain.low:g} to {domain.high:g}{kind}"


def lineage(history: History, board: Board) -> Iterator[str]:
    """The changes that made the champion, each with its measured effect."""
    known = {standing.key: standing for standing in board.standings}
    for test in [test for test in history.crowns if test.crowned][-LINEAGE:]:
        yield f"{results.test_line(test)}: {what(known.get(test.challenger.key), test)}"


def what(standing: Standing | None, test: Crown) -> str:
    """What was changed, in its planner's words and in values."""
    words = standing.words if standing else ""
    return line(f"{words} ({results.settings_of(test.challenger) or 'no overrides'})", WORDS)


def best(board: Board) -> list[Standing]:
    scored = (standing for standing in board.standings if standing.mean is not None)
    return sorted(scored, key=results.by_score)[:BEST]


def newest(history: History, board: Board) -> str:
    """The last waves, and the last one with something of Claude's, each under its hypothesis."""
    own = [standing.wave for standing in board.standings if standing.planner == "claude"]
    last = range(max(1, len(history.waves) - WAVES + 1), len(history.waves) + 1)
    shown = sorted({*last, *own[-1:]}, reverse=True)
    said = [f"wave {n}: {line(history.waves[n - 1][0].hypothesis, WORDS)}" for n in shown]
    found = [standing for standing in reversed(board.standings) if standing.wave in shown]
    return "\n".join([*said, results.table(board, found[:NEWEST])]) if said else ""


def notebook(history: History, count: int) -> Iterator[str]:
    """The newest notes: those come first, so that a cut takes the oldest."""
    for note in reversed(history.notes[-count:] if count else []):
        yield f"wave {note.wave}, {line(note.planner, WORDS)}: {line(note.text, 2000)}"
