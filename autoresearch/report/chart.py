"""progress.png: `python -m autoresearch.report.chart DIR` draws it for a campaign directory.

Experiments in the order they finished and what was kept, one panel per cell, after the chart of
karpathy/autoresearch. Needs no display.
"""

import io
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from autoresearch.errors import AutoresearchError
from autoresearch.experiment import one_line
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.opening import effective, existing
from autoresearch.report.summary import summarize
from autoresearch.report.view import CellView, Row, View, brief, scores
from autoresearch.sources import Sources

WIDTH, HEIGHT, TITLE = 11.0, 4.4, 0.35  # inches: of one panel, and of the line above all
DPI = 150
GREEN, DARK_GREEN, GREY, BLUE, RED, INK = (
    "#1a9850",
    "#0e6b36",
    "#b8bcc2",
    "#3b6fb6",
    "#d6453d",
    "#2b2f36",
)
LABEL_LENGTH = 38  # characters
DEFENDER = ": champion"  # so ends what the judge says of a crown test's other side
STYLE = {"marker": "o", "linestyle": "none", "markeredgewidth": 0.8, "markeredgecolor": "white"}


@dataclass(frozen=True)
class Step:
    """One kept candidate in one cell: where it was crowned, its mean, its name."""

    x: int
    mean: float
    label: str


def write(view: View, path: Path) -> None:
    """Raises OSError if the file cannot be written; then the old one is still whole."""
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    try:
        temporary.write_bytes(render(view))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def render(view: View) -> bytes:
    """A PNG at DPI, WIDTH inches wide, HEIGHT high per cell with a result and TITLE above."""
    panels = [(place, rows) for place in view.places if (rows := finished(view, place))]
    count = max(1, len(panels))
    total = HEIGHT * count + TITLE
    figure = Figure((WIDTH, total), DPI)
    for number, axes in enumerate(figure.subplots(count, squeeze=False)[:, 0]):
        bottom = HEIGHT * (count - 1 - number) + 0.6
        axes.set_position((0.9 / WIDTH, bottom / total, 1 - 1.15 / WIDTH, (HEIGHT - 1.05) / total))
        if panels:
            draw_panel(axes, *panels[number])
        else:
            draw_nothing(axes)
    figure.text(
        0.25 / WIDTH, 1 - 0.3 / total, title(view),
        va="center", weight="bold", fontsize=12.5, color=INK, parse_math=False,
    )  # fmt: skip
    return encode(figure)


def title(view: View) -> str:
    done = [row for row in view.rows if row.is_finished]
    hidden = sum(row.split == "test" for row in done)
    count = f"{len(done)} experiments" + (f" ({hidden} on the test split)" if hidden else "")
    crowns = sum(test.crowned for test in view.crowns)
    parts = [one_line(view.name, 60), count, f"{crowns} crowned"]
    return "  ·  ".join([*parts, "unprotected"] if view.is_unprotected else parts)


def encode(figure: Figure) -> bytes:
    out = io.BytesIO()
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A description may hold signs the font lacks: boxes in the picture are warning enough.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(out, format="png")
    return out.getvalue()


def finished(view: View, place: CellView) -> list[Row]:
    """A cell's finished experiments in the order in which they ended."""
    done = [row for row in view.rows_in(place) if row.is_finished]
    return sorted(done, key=lambda row: row.ended)


# ---- one panel -------------------------------------------------------------------------------


def draw_panel(axes: Axes, place: CellView, rows: Sequence[Row]) -> None:
    steps = kept(rows)
    low, high = limits(place, rows, steps)
    axes.set_ylim(low, high)
    axes.set_xlim(1 - 0.02 * len(rows), len(rows) * 1.02)
    draw_baseline(axes, place)
    draw_points(axes, rows, high)
    draw_failures(axes, rows)
    draw_steps(axes, place, steps, len(rows))
    decorate(axes, place, rows)


def kept(rows: Sequence[Row]) -> list[Step]:
    """The kept candidates, baseline aside, in the order in which they were crowned."""
    groups: dict[str, list[tuple[int, Row]]] = {}
    for x, row in enumerate(rows, start=1):
        if row.status == "keep":
            groups.setdefault(row.candidate, []).append((x, row))
    steps = [
        Step(crowned_at(group), fmean(scores(members)), brief(members, LABEL_LENGTH))
        for key, group in groups.items()
        if (members := [row for _, row in group]) and scores(members)
        if key not in baselines(rows)
    ]
    return sorted(steps, key=lambda step: step.x)


def crowned_at(group: Sequence[tuple[int, Row]]) -> int:
    """Where a candidate's own crown test ended; in a cell without one, where it first finished.

    A champion runs in later crown tests too, to defend its crown.
    """
    tested = [x for x, r in group if r.purpose == "crown" and not r.description.endswith(DEFENDER)]
    return tested[-1] if tested else group[0][0]


def baselines(rows: Sequence[Row]) -> set[str]:
    """The baseline by its key: crown tests run it again, for another purpose."""
    return {row.candidate for row in rows if row.purpose == "baseline"}


def limits(place: CellView, rows: Sequence[Row], steps: Sequence[Step]) -> tuple[float, float]:
    """Bits per byte to show: all that is good, and not so much of what is bad as to flatten it."""
    values = sorted(scores(list(rows))) or [place.baseline_mean or 1.0]
    centre = values[len(values) // 2] if place.baseline_mean is None else place.baseline_mean
    noise, gain = place.sigma or 0.0, centre - values[0]
    usual = min(values[3 * len(values) // 4] - centre, 12 * max(noise, gain))
    above = max(1.5 * gain, 4 * noise, usual, 1e-4 * centre)
    high = max([min(values[-1], centre + above), *(step.mean for step in steps)])
    span = max(high - values[0], 2 * noise, 1e-4 * centre)
    return values[0] - 0.14 * span, high + 0.08 * span


def draw_baseline(axes: Axes, place: CellView) -> None:
    if place.baseline_mean is None:
        return
    axes.axhline(place.baseline_mean, color=BLUE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    if place.sigma is not None:
        band = (place.baseline_mean - place.sigma, place.baseline_mean + place.sigma)
        axes.axhspan(*band, color=BLUE, alpha=0.09, linewidth=0, zorder=0)


def draw_points(axes: Axes, rows: Sequence[Row], high: float) -> None:
    """Every score; one beyond the upper edge is an arrow on it."""
    known = baselines(rows)
    for x, row in enumerate(rows, start=1):
        if row.bpb is None:
            continue
        color, size, level = look(row, row.candidate in known)
        if row.bpb > high:
            axes.plot(x, high, marker=6, color=color, markersize=6, clip_on=False, zorder=level)
        else:
            axes.plot(x, row.bpb, color=color, markersize=size, zorder=level, **STYLE)  # type: ignore[arg-type]


def look(row: Row, is_baseline: bool) -> tuple[str, float, int]:
    """Colour, size and layer of a point."""
    if is_baseline:
        return BLUE, 6.5, 3
    return (GREEN, 8.0, 4) if row.status == "keep" else (GREY, 6.5, 2)


def draw_failures(axes: Axes, rows: Sequence[Row]) -> None:
    """On the axis: a failure has a place in time, but no score."""
    on_axis = blended_transform_factory(axes.transData, axes.transAxes)
    failed = [x for x, row in enumerate(rows, start=1) if row.failure is not None]
    axes.plot(
        failed, [0.0] * len(failed), "x", color=RED, markersize=6, markeredgewidth=1.6,
        transform=on_axis, clip_on=False, zorder=5,
    )  # fmt: skip


def draw_steps(axes: Axes, place: CellView, steps: Sequence[Step], end: int) -> None:
    """The running best: from the baseline down through each kept candidate's mean."""
    best = place.baseline_mean
    xs, ys = ([1.0], [best]) if best is not None else ([], [])
    for step in steps:
        best = step.mean if best is None else min(best, step.mean)
        xs.append(step.x)
        ys.append(best)
        annotate(axes, step, best, end)
    if steps and best is not None:
        axes.step([*xs, end], [*ys, best], where="post", color=GREEN, linewidth=1.8, zorder=3)


def annotate(axes: Axes, step: Step, level: float, end: int) -> None:
    """A kept candidate's name, under the line and towards the middle."""
    is_late = step.x > 0.7 * end
    label = axes.annotate(
        step.label, (step.x, level), xytext=(-7 if is_late else 5, -6),
        textcoords="offset points", ha="right" if is_late else "left", va="top", fontsize=9,
        color=DARK_GREEN, parse_math=False, zorder=6,
    )  # fmt: skip
    label.set_path_effects([withStroke(linewidth=3, foreground="white")])


def decorate(axes: Axes, place: CellView, rows: Sequence[Row]) -> None:
    axes.set_title(place.title, loc="left", fontsize=10.5, color=INK, parse_math=False)
    axes.set_xlabel("experiments in the order they finished", fontsize=9.5, color=INK)
    axes.set_ylabel("validation bits per byte (lower is better)", fontsize=9.5, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.ticklabel_format(axis="y", useOffset=False)
    if not scores(list(rows)):
        axes.set_yticks([])
    axes.tick_params(labelsize=9, color=GREY, labelcolor=INK)
    axes.grid(axis="y", color=GREY, alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GREY)
    axes.legend(
        handles=legend(place, rows, axes.get_ylim()[1]), fontsize=8.5, frameon=False, ncols=6,
        loc="lower right", bbox_to_anchor=(1, 1.01), borderaxespad=0.1,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip


def legend(place: CellView, rows: Sequence[Row], high: float) -> list[Line2D]:
    """Only what the panel holds."""
    crashes = sum(row.failure is not None for row in rows)
    known = baselines(rows)
    has_kept = any(r.status == "keep" and r.candidate not in known for r in rows)
    noise = "" if place.sigma is None else " ± SD"
    entries = [
        (any(r.candidate in known and r.bpb for r in rows), f"baseline{noise}", BLUE, "o"),
        (has_kept, "kept", GREEN, "o"),
        (bool(kept(rows)), "best kept", GREEN, ""),
        (any(r.status == "discard" for r in rows), "discarded", GREY, "o"),
        (any(value > high for value in scores(list(rows))), "off the scale", GREY, "^"),
        (crashes > 0, f"failed ({crashes})", RED, "x"),
    ]
    return [handle(*entry) for is_there, *entry in entries if is_there]


def handle(label: str, color: str, marker: str) -> Line2D:
    """An entry of the legend: a line where it has no marker."""
    style = {"linestyle": "none", "markersize": 6} if marker else {"linewidth": 1.8}
    return Line2D([], [], color=color, marker=marker, label=label, **style)


def draw_nothing(axes: Axes) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no experiment has finished yet", ha="center", color=INK)


def main(directory: str) -> int:
    """A process of its own, so that a controller never loads matplotlib."""
    try:
        layout = existing(Path(directory))
        history = History.of(replay(layout.journal).events)
        write(
            summarize(history, effective(layout), Sources(layout.sources)),
            layout.report / "progress.png",
        )
    except (AutoresearchError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the caller shows it
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
