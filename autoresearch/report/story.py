"""What a campaign's report at W&B says: a View and some facts → titles, words, code, run sets.

Pure; `workspace` hands it to W&B. What is plotted together is comparable: every run set of a grid
asks for the same cell, and for validation text. Texts of programs and planners are shown as text.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch import __version__
from autoresearch.experiment import Cell, Scalar, Split, Wave, one_line
from autoresearch.history import History
from autoresearch.layout import Layout
from autoresearch.program import bake, parameters, unified
from autoresearch.report.table import (
    BEST,
    UNPROTECTED,
    budget,
    certified,
    challenger,
    optional,
    pending,
    standing_cells,
    verdict,
)
from autoresearch.report.view import CellView, Standing, View, ranked, scores
from autoresearch.settings import Settings
from autoresearch.sources import Sources
from autoresearch.space import Choice, Domain, Interval
from autoresearch.tracking.naming import GROUP_LIMIT

LAST_WAVES = 10  # that have a run set of their own
LINES, WIDTH = 400, 200  # of a diff
TEXT = 2000  # characters of an end reason
LUCK = "± one standard error. The best of many is partly luck."


@dataclass(frozen=True)
class Words:
    """Markdown."""

    markdown: str


@dataclass(frozen=True)
class Code:
    """Lines shown as they are."""

    text: str


@dataclass(frozen=True)
class Condition:
    """What a run must have: an attribute of W&B's, or a value of its config."""

    name: str
    value: int | str
    sign: str = "="  # or <=, >=: W&B knows no others
    is_config: bool = True


@dataclass(frozen=True)
class RunSet:
    """The runs of a project that meet all of these."""

    name: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Axis:
    """A searched parameter as plots show it."""

    parameter: str
    is_number: bool = True
    log: bool = False


@dataclass(frozen=True)
class Grid:
    """Plots of some run sets: loss and score, and the score by parameter for each axis."""

    run_sets: tuple[RunSet, ...]
    axes: tuple[Axis, ...] = ()


@dataclass(frozen=True)
class Section:
    """One entry of the table of contents."""

    title: str
    blocks: tuple[Words | Code | Grid, ...]


@dataclass(frozen=True)
class Story:
    """The whole report."""

    title: str
    description: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Facts:
    """What a report tells besides a View."""

    axes: tuple[Axis, ...]
    before: Mapping[str, Scalar]  # the baseline's parameters
    difference: str  # from the baseline's program to the champion's
    waves: tuple[Wave, ...]
    cells: Mapping[str, Cell]  # by tier
    programs: Mapping[str, str]  # SHA-256 of train.py, by role
    seed: int


def facts_of(history: History, settings: Settings, sources: Sources) -> Facts:
    champion, baseline = history.champion, history.baseline
    old, new = (bake(sources.read(c.program), c.overrides) for c in (baseline, champion))
    return Facts(
        axes=tuple(axis(name, domain) for name, domain in settings.search.space.items()),
        before=parameters(old),
        difference=unified(old, new, "baseline", "champion"),
        waves=tuple(wave for wave, _ in history.waves),
        cells=history.tiers,
        programs={"baseline": baseline.program, "champion": champion.program},
        seed=settings.seed,
    )


def axis(name: str, domain: Domain) -> Axis:
    if isinstance(domain, Interval):
        return Axis(name, log=domain.log)
    return Axis(name, is_number=is_numeric(domain))


def is_numeric(domain: Choice) -> bool:
    return not any(isinstance(value, (bool, str)) for value in domain.values)


def tell(view: View, facts: Facts) -> Story:
    """The report. Its sections are the same for every campaign of these tiers."""
    title = one_line(view.name, 100)
    return Story(
        title=title,
        description=one_line(f"{view.state}: {verdict(view)[0].plain}", 300),
        sections=(
            result(view),
            change(view, facts),
            *(tier_section(view, facts, place) for place in view.places),
            waves_section(view, facts),
            crowns(view),
            difference(view, facts),
            reproduction(view, facts),
        ),
    )


# ---- words -----------------------------------------------------------------------------------


def literal(text: str) -> str:
    """One line of text as Markdown that shows just this text: no markup, no link, no HTML."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", one_line(text, TEXT))


def paragraphs(lines: Iterable[str]) -> Words:
    return Words("\n\n".join(literal(line) for line in lines))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; every cell is shown as text."""
    lines = [[literal(str(cell)) for cell in row] for row in (header, *rows)]
    lines.insert(1, ["---"] * len(header))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def visible(code: str, rest: str) -> str:
    """Code within bounds, with every sign to be seen: none that hides or reorders its line.

    `rest` is said where lines are left out.
    """
    kept = "".join(c if c.isprintable() or c in "\n\t" else f"\\u{ord(c):04x}" for c in code)
    lines = kept.split("\n")
    shown = [line if len(line) <= WIDTH else f"{line[:WIDTH]}…" for line in lines[:LINES]]
    return "\n".join(shown if len(lines) <= LINES else [*shown, rest]).rstrip("\n")


def mark(view: View) -> str:
    return " · unprotected" if view.is_unprotected else ""


# ---- sections --------------------------------------------------------------------------------


def result(view: View) -> Section:
    """The one thing to take away; its numbers are the certification's, or there are none."""
    first, *others = [line for text in verdict(view) for line in text.plain.splitlines()]
    words = [Words(f"**{literal(first)}**"), *(paragraphs([line]) for line in others)]
    if view.is_unprotected:
        words.append(paragraphs([UNPROTECTED]))
    spent = f"{view.state}; spent {' · '.join(budget(view).values())}; planner {view.planner}"
    lost = ", ".join(f"{name} {n}" for name, n in sorted(view.failures.items()))
    words.append(paragraphs([spent, *([f"failures: {lost}"] if lost else [])]))
    return Section(f"Result{mark(view)}", tuple(words))


def change(view: View, facts: Facts) -> Section:
    champion = view.champion
    if champion is None:
        return Section("What changed", (paragraphs([verdict(view)[0].plain]),))
    measured = certified(view.certification) if view.certification else pending(view)
    words = [paragraphs([*measured.plain.splitlines(), f"Champion {champion.candidate}"])]
    if champion.description:
        words.append(paragraphs([f"In its planner's words: {champion.description}"]))
    if champion.overrides:
        rows = [(n, facts.before.get(n, "–"), new) for n, new in champion.overrides.items()]
        words.append(Words(table(("parameter", "baseline", "champion"), rows)))
    else:
        words.append(paragraphs(["Its program differs from the baseline's; see the diff"]))
    return Section("What changed", tuple(words))


def tier_section(view: View, facts: Facts, place: CellView) -> Section:
    """One cell: its noise, its best, its plots. Tiers that share a cell share the section."""
    tiers = [cell.tier for cell in view.cells if cell.key == place.key]
    name = f"{'Tiers' if len(tiers) > 1 else 'Tier'} {', '.join(tiers)}"
    title = one_line(f"{name} · {place.device} · {place.budget}{mark(view)}")
    run_sets = [
        RunSet(f"tier {tier}", conditions(view, place, Condition("JobType", tier, is_config=False)))
        for tier in tiers
    ]
    best = best_of(ranked(view, place))
    words = [paragraphs([noise(place)]), *([Words(best), paragraphs([LUCK])] if best else [])]
    return Section(title, (*words, Grid(tuple(run_sets), facts.axes)))


def noise(place: CellView) -> str:
    if place.baseline_mean is None:
        return f"Cell {place.key}. The baseline has no score here yet."
    sigma = "not known yet" if place.sigma is None else f"{place.sigma:.5f} (standard deviation)"
    least = place.detectable
    detects = "" if least is None else f" A crown test would probably see {least:.5f}."
    seeds = f"{place.baseline_n} seed{'s' * (place.baseline_n != 1)}"
    return (
        f"Cell {place.key}. Baseline {place.baseline_mean:.5f} bits per byte, {seeds}; "
        f"noise {sigma}.{detects}"
    )


def best_of(standings: Sequence[Standing]) -> str:
    """A table of the best, the baseline and the champion always among them."""
    rows = [standing_cells(s) for rank, s in enumerate(standings) if rank < BEST or s.role]
    return table(("candidate", "bpb", "±", "seeds", "vs baseline", "what"), rows) if rows else ""


def waves_section(view: View, facts: Facts) -> Section:
    """What planners asked for, newest first, all of it screened in one cell."""
    if not facts.waves or not view.cells:
        return Section("Waves", (paragraphs(["No planner has proposed a wave yet"]),))
    place, title = view.cells[0], f"Waves, screened on {view.cells[0].tier}{mark(view)}"
    newest = range(len(facts.waves), 0, -1)[:LAST_WAVES]
    rows = [wave_cells(view, place, n, facts.waves[n - 1]) for n in newest]
    header = ("wave", "planner", "proposals", "best bpb", "hypothesis")
    run_sets = [wave_set(view, place, f"wave {n}", Condition("wave", n)) for n in newest]
    if earlier := len(facts.waves) - len(newest):
        bounds = Condition("wave", 1, ">="), Condition("wave", earlier, "<=")
        run_sets.append(wave_set(view, place, "all earlier waves", *bounds))
    return Section(title, (Words(table(header, rows)), Grid(tuple(run_sets))))


def wave_set(view: View, place: CellView, name: str, *more: Condition) -> RunSet:
    tier = Condition("JobType", place.tier, is_config=False)
    return RunSet(name, conditions(view, place, tier, *more))


def wave_cells(view: View, place: CellView, number: int, wave: Wave) -> tuple[object, ...]:
    found = scores([row for row in view.rows_in(place) if row.wave == number])
    best = optional(min(found, default=None))
    return number, wave.planner, len(wave.proposals), best, one_line(wave.hypothesis)


def conditions(view: View, place: CellView, *more: Condition) -> tuple[Condition, ...]:
    """This campaign's runs in one cell, scored on validation text, and what is asked besides."""
    return (
        Condition("Group", view.name[:GROUP_LIMIT], is_config=False),
        Condition("cell", place.key),
        Condition("split", Split.validation.value),
        *more,
    )


def crowns(view: View) -> Section:
    if not view.crowns:
        return Section("Crown tests", (paragraphs(["None has been closed"]),))
    rows = [
        (
            test.number,
            test.candidate,
            challenger(view, test),
            optional(test.difference, "+.5f"),
            f"{test.p:.2g}",
            f"{test.alpha:.2g}",
            "yes" if test.crowned else "no",
        )
        for test in view.crowns
    ]
    header = ("test", "challenger", "what", "difference", "p", "level", "crowned")
    return Section(f"Crown tests{mark(view)}", (Words(table(header, rows)),))


def difference(view: View, facts: Facts) -> Section:
    title = "The champion's diff"
    if not facts.difference:
        return Section(title, (paragraphs(["The champion is the baseline: nothing differs"]),))
    rest = f"… and more: autoresearch diff {folder(view)} champion baseline"
    return Section(title, (Code(visible(facts.difference, rest)),))


def reproduction(view: View, facts: Facts) -> Section:
    """Commands, and all that a number depends on besides the program."""
    name = folder(view)
    role = "champion" if view.champion else "baseline"
    commands = [
        f"autoresearch show {name} {role}    # what it is, and how it did",
        f"autoresearch replay {name} {role}  # once more, from the record",
    ]
    if view.champion:
        fetch = f"git --git-dir={Layout(Path(name)).sources} show champion:train.py >train.py"
        commands += [f"autoresearch diff {name} champion baseline", fetch]
    about = {"autoresearch": __version__, "seed of the campaign": facts.seed}
    about |= {f"train.py of the {role}, SHA-256": sha for role, sha in facts.programs.items()}
    header = ("tier", "cell", "device", "budget", "software", "data manifest, SHA-256", "ruler")
    cells = [
        (tier, cell.key, cell.device, cell.budget, cell.software, cell.data, cell.ruler)
        for tier, cell in facts.cells.items()
    ]
    where = "In the folder that holds the campaign, where its cluster can be reached:"
    words = (Words(table(("what", "which"), about.items())), Words(table(header, cells)))
    return Section("How to reproduce", (paragraphs([where]), Code("\n".join(commands)), *words))


def folder(view: View) -> str:
    """The campaign's folder as a word of a shell, without where it lies."""
    return shlex.quote(Path(view.directory).name)
