"""A View in the terminal, with rich: `show` for the whole report, `live` while a campaign runs.

Every table of numbers belongs to one cell and says which. Texts of programs and planners are
shown as text, never as markup.
"""

import os
from pathlib import Path

from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoresearch.experiment import one_line
from autoresearch.layout import Layout
from autoresearch.report.view import (
    BRIEF,
    TESTS,
    CertificationView,
    CrownView,
    Row,
    Standing,
    View,
    assignments,
    brief,
    ranked,
)

BEST = 10  # candidates shown per cell
REASON_LENGTH = 2000  # characters: an end reason is shown whole
LAST = 5  # results shown while a campaign runs
UNPROTECTED = "unprotected: no sandbox held the programs, these numbers rest on trust in them"
STYLES = {"keep": "green", "discard": "dim", "crash": "red"}


class Display(Console):
    """A terminal or a pipe. When nobody reads it any more, the campaign goes on in silence."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with Path(os.devnull).open("w", encoding="ascii") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())  # what is still buffered goes there


def show(view: View, console: Console) -> None:
    """The whole report."""
    console.print(headline(view))
    if view.champion:
        console.print(Text(fetching(view), style="dim"), soft_wrap=True)
    if view.is_unprotected:
        console.print(Text(UNPROTECTED, style="yellow"))
    for remark in view.remarks:
        console.print(Text(one_line(remark), style="yellow"), soft_wrap=True)
    console.print(noise_table(view))
    for place in view.places:
        standings = ranked(view, place)
        if standings:
            console.print(standings_table(place.title, standings, view.is_unprotected))
    if view.crowns:
        console.print(crowns_table(view))
    console.print(footer(view))


# ---- what came out ---------------------------------------------------------------------------


def headline(view: View) -> Panel:
    """The one thing to take away, in a frame; a champion that no sandbox held is told apart."""
    colour = ("yellow" if view.is_unprotected else "green") if view.champion else "blue"
    mark = " · unprotected" if view.champion and view.is_unprotected else ""
    return Panel(
        Text("\n").join(verdict(view)),
        title=Text(f"{one_line(view.name)} · {view.state}{mark}"),
        title_align="left",
        border_style=colour,
        box=box.ROUNDED,
        padding=(0, 1),
    )


def verdict(view: View) -> list[Text]:
    """What came out, and why the campaign ended."""
    if view.champion is None and view.state == "ended" and not view.has_tested:
        return [untested(view)]
    why = [Text(f"Ended: {reason(view)}", style="dim")] if reason(view) else []
    return [*outcome(view), *why]


def outcome(view: View) -> list[Text]:
    if view.champion is None:
        return [no_champion(view)]
    champion = view.champion
    changed = assignments(champion.overrides)
    if not changed or champion.is_rewritten:
        changed = "; ".join(filter(None, (one_line(champion.description), changed)))
    return [
        Text(f"Champion {champion.candidate}: {changed}", style="bold green"),
        certified(view.certification) if view.certification else pending(view),
    ]


def reason(view: View) -> str:
    """Why the campaign ended, whole; "" while it runs."""
    return one_line(view.end_reason, REASON_LENGTH) if view.state == "ended" else ""


def fetching(view: View) -> str:
    """The command that prints the champion, to be copied: never broken over lines."""
    return f"git --git-dir {Layout(Path(view.directory)).sources} show champion:train.py"


def certified(result: CertificationView) -> Text:
    """The headline numbers: the only ones free of selection."""
    interval = f"{result.confidence:.0%} interval {result.low:+.5f} … {result.high:+.5f}"
    means = f"{result.baseline_mean:.5f} → {result.champion_mean:.5f}"
    text = Text(
        f"{result.difference:+.5f} bits per byte against the baseline ({means}), {interval}; "
        f"certified on the test split with {result.n} fresh seeds each"
    )
    if not result.significant:
        text.append("\nThe interval holds 0: certification does not confirm it", style="yellow")
    return text


def pending(view: View) -> Text:
    if view.state == "ended":
        return Text("Crowned on validation text, not certified", style="yellow")
    return Text("Crowned on validation text; certification comes after the last decision")


def no_champion(view: View) -> Text:
    if view.state != "ended":
        return Text(f"No champion yet. {detectable(view)}")
    return Text(f"No change beats noise. {detectable(view)}", style="bold")


def untested(view: View) -> Text:
    """Nothing can be said of noise where no crown test was closed."""
    why = f": {reason(view).rstrip('.')}" if reason(view) else ""
    seen = "" if view.detectable is None else f". {detectable(view)}"
    return Text(f"No candidate was tested against the baseline{why}{seen}", style="bold")


def detectable(view: View) -> str:
    if view.detectable is None:
        return "How small an effect can be detected is known once the baseline has run twice"
    tense = "would have been" if view.state == "ended" else "would be"
    return f"An effect of {view.detectable:.5f} bits per byte {tense} detected"


# ---- tables ----------------------------------------------------------------------------------


def plain_table(title: str, *columns: str, words: tuple[str, ...] = ()) -> Table:
    """A light table: numbers to the right, the columns named in `words` to the left."""
    table = Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in columns:
        justify: JustifyMethod = "left" if column in words else "right"
        # Where the terminal is narrow, words give way, numbers and names never.
        table.add_column(column, justify=justify, no_wrap=column != "what", overflow="fold")
    return table


def noise_table(view: View) -> Table:
    words = ("tier", "device", "budget", "cell")
    columns = ("baseline", "seeds", "noise", "detects")
    table = plain_table("Baseline and its noise, per cell", *words, *columns, words=words)
    for cell in view.cells:
        table.add_row(
            *(Text(word) for word in (cell.tier, cell.device, cell.budget, cell.key[:8])),
            optional(cell.baseline_mean),
            str(cell.baseline_n),
            optional(cell.sigma),
            optional(cell.detectable),
        )
    return table


def standings_table(title: str, standings: list[Standing], is_unprotected: bool) -> Table:
    """The best of one cell. The baseline is always among them."""
    mark = " · unprotected" if is_unprotected else ""
    words = ("candidate", "what")
    columns = ("bpb", "±", "seeds", "vs baseline")
    table = plain_table(title + mark, words[0], *columns, words[1], words=words)
    for rank, item in enumerate(standings):
        if rank < BEST or item.role:
            table.add_row(*standing_cells(item), style={"champion": "green"}.get(item.role))
    if len(standings) > 2:
        table.caption = Text("± one standard error. The best of many is partly luck", style="dim")
        table.caption_justify = "left"
    return table


def standing_cells(item: Standing) -> tuple[Text | str, ...]:
    parts = (item.role, item.failures and f"{item.failures} failed", item.brief)
    what = ": ".join(part for part in parts if part)
    return (
        item.candidate,
        f"{item.mean:.5f}",
        optional(item.error),
        str(item.n),
        optional(item.delta, "+.5f"),
        Text(what),
    )


def crowns_table(view: View) -> Table:
    words = ("challenger", "what")
    columns = ("test", "difference", "p", "level")
    table = plain_table("Crown tests", *columns, "crowned", *words, words=("crowned", *words))
    for test in view.crowns:
        table.add_row(
            str(test.number),
            optional(test.difference, "+.5f"),
            f"{test.p:.2g}",
            f"{test.alpha:.2g}",
            "yes" if test.crowned else "no",
            test.candidate,
            Text(challenger(view, test)),
            style="green" if test.crowned else None,
        )
    return table


def challenger(view: View, test: CrownView) -> str:
    rows = [row for row in view.rows if row.candidate == test.candidate]
    return brief(rows) if rows else one_line(test.description, BRIEF)


def footer(view: View) -> Text:
    lines = [f"spent {' · '.join(budget(view).values())}"]
    if view.planner:
        lines.append(f"planner {view.planner}")
    lines += agent(view)
    if beyond := view.long_setups:
        lost = f"{sum(beyond) / 3600:.2f} {units(view)['gpu_hours']}"
        what = f"{len(beyond)} experiment{'s' * (len(beyond) != 1)}"
        lines.append(f"set-up beyond {view.allowance:g} s: {what}, {lost} of what is spent")
    if view.failures:
        counts = (f"{name} {n}" for name, n in sorted(view.failures.items()))
        lines.append(f"failures {', '.join(counts)}")
    if view.lost:
        counts = (f"{name} {n}" for name, n in sorted(view.lost.items()))
        lines.append(f"attempts lost and made again {', '.join(counts)}")
    if view.avoided:
        nodes = (f"{one_line(name)} (failed {n} times)" for name, n in view.avoided.items())
        lines.append(f"nodes avoided {', '.join(nodes)}")
    return Text("\n".join(lines))


def agent(view: View) -> list[str]:
    """What Claude has cost, and why bayes stood in for it last, if it did."""
    if view.agent is None:
        return []
    seen = view.agent
    asked = f"{seen.waves} wave{'s' * (seen.waves != 1)}, {seen.requests} requests"
    cache = f"{seen.cache_share:.0%} of prompts from the cache"
    lines = [f"Claude ${seen.spent:.2f} of ${seen.limit:g} · {asked} · {cache}"]
    if seen.is_asked:
        return [f"{lines[0]} · at work on a wave"]
    return (
        [*lines, f"bayes stood in for Claude: {one_line(seen.problem)}"] if seen.problem else lines
    )


def units(view: View) -> dict[str, str]:
    """The words for what a budget may bound."""
    device = "pilot" if view.is_on_cpus else "GPU"
    return {"experiments": "experiments", "gpu_hours": f"{device}-hours", "wall_hours": "hours"}


def budget(view: View) -> dict[str, str]:
    """What is spent of each bound: `34 of 60 experiments`, `2.1 GPU-hours`."""
    return {
        name: f"{used(view, name, view.spent[name])} {unit}"
        for name, unit in units(view).items()
        if name in view.spent
    }


def used(view: View, name: str, value: float) -> str:
    bound = view.limits.get(name)
    return f"{short(value)} of {bound:g}" if bound else short(value)


def short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def optional(value: float | None, form: str = ".5f") -> str:
    return "–" if value is None else format(value, form)


# ---- while it runs ---------------------------------------------------------------------------


def progress_line(view: View) -> Text:
    """Where a running campaign stands, in one line."""
    is_over = view.state == "ended"
    pilots = "ended" if is_over else f"pilots {view.pilots_busy} of {view.pilots} busy"
    parts = budget(view) | experiments(view)
    return Text(" · ".join([*parts.values(), pilots, *best_so_far(view)]), overflow="ellipsis")


def experiments(view: View) -> dict[str, str]:
    """Finished and asked apart, where some are still queued or running."""
    asked = view.spent.get("experiments", 0)
    if asked <= view.finished:
        return {}
    return {"experiments": f"{view.finished} finished, {used(view, 'experiments', asked)} asked"}


def best_so_far(view: View) -> list[str]:
    """The best of the first cell with a candidate, if it is better than that cell's baseline."""
    for place in view.places:
        leaders = [item for item in ranked(view, place) if item.role != "baseline"]
        if leaders:
            return [leading(leaders[0], place.tier)] if (leaders[0].delta or 0) < 0 else []
    return []


def leading(best: Standing, tier: str) -> str:
    seeds = f"{best.n} seed{'s' * (best.n > 1)}"
    return f"best {best.mean:.5f} ({best.delta:+.5f}), {seeds}, {tier}: {best.brief}"


def live(view: View) -> RenderableType:
    """Budget bars, where it stands, the last results: for rich.live.Live."""
    running = [training(view)] if view.training else []
    parts = (bars(view), progress_line(view), last_results(view))
    asked = [Text(line, style="dim", overflow="ellipsis") for line in agent(view)]
    return Group(*parts, *asked, *running, *notices(view))


def training(view: View) -> Table:
    """What running experiments say of themselves, where W&B tells: nothing to compare by."""
    grid = Table.grid(padding=(0, 2))
    for experiment, values in list(view.training.items())[:LAST]:
        shown = (f"{name.removeprefix('_')} {value:.4g}" for name, value in values.items())
        words = map(one_line, (experiment, "running", *shown))
        grid.add_row(*map(Text, words), style="dim")
    return grid


def notices(view: View) -> list[Text]:
    """What people should know; what the cluster says not once the campaign has ended."""
    passing = () if view.state == "ended" else view.notices
    return [Text(one_line(notice), style="yellow") for notice in (*passing, *view.remarks)]


def bars(view: View) -> Table:
    grid = Table.grid(padding=(0, 1))
    done = {**view.spent, "experiments": view.finished}
    for name, unit in units(view).items():
        limit = view.limits.get(name, 0)
        if limit:
            value = done.get(name, 0)
            bar = ProgressBar(total=limit, completed=min(value, limit), width=30)
            grid.add_row(unit, bar, used(view, name, value))
    return grid


def last_results(view: View) -> Table:
    """The newest results, oldest first; each line names its tier."""
    grid = Table.grid(padding=(0, 1))
    done = sorted((row for row in view.rows if row.is_finished), key=lambda row: row.ended)
    for row in done[-LAST:]:
        grid.add_row(*result_cells(row), style=STYLES[row.status])
    return grid


def result_cells(row: Row) -> tuple[Text | str, ...]:
    outcome = optional(row.bpb) if row.failure is None else row.failure
    what = one_line(row.description) if row.purpose in TESTS else brief([row])
    return row.experiment, Text(row.tier), row.purpose, outcome, Text(what, overflow="ellipsis")
