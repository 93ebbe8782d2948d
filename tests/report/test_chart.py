"""progress.png: a real picture of the right size, with the right marks on it."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from autoresearch.report.chart import (
    BLUE,
    DPI,
    HEIGHT,
    TITLE,
    WIDTH,
    draw_panel,
    finished,
    kept,
    legend,
    look,
    render,
    title,
    write,
)
from autoresearch.report.chart import main as chart_main
from autoresearch.report.view import Row, View, ranked


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The parts of a PNG file, their checksums verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, at + 8 + length)[0]
        yield kind, body
        at += 12 + length


def size(png: bytes) -> tuple[int, int]:
    parts = list(chunks(png))
    assert (parts[0][0], parts[-1][0]) == (b"IHDR", b"IEND")
    assert zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT"))
    width, height = struct.unpack_from(">II", parts[0][1])
    return width, height


def expected(panels: int) -> tuple[int, int]:
    return int(WIDTH * DPI), int((HEIGHT * panels + TITLE) * DPI)


def test_there_is_a_panel_per_cell_with_results(view: View) -> None:
    assert size(render(view)) == expected(2)
    screen_only = tuple(row for row in view.rows if row.tier == "screen")
    assert size(render(replace(view, rows=screen_only))) == expected(1)


def test_a_campaign_without_results_gets_a_picture_that_says_so(view: View) -> None:
    assert size(render(replace(view, rows=(), cells=()))) == expected(1)


def test_only_failures_and_no_noise_can_be_drawn(view: View) -> None:
    crash = next(row for row in view.rows if row.failure)
    unknown = replace(view.cells[0], baseline_mean=None, sigma=None)
    assert size(render(replace(view, rows=(crash,), cells=(unknown,)))) == expected(1)


def test_equal_scores_can_be_drawn(view: View) -> None:
    rows = tuple(replace(row, bpb=1.0) for row in view.rows if row.bpb)
    cells = tuple(replace(cell, baseline_mean=1.0, sigma=0.0) for cell in view.cells)
    assert size(render(replace(view, rows=rows, cells=cells))) == expected(2)


def test_a_panel_holds_one_cell_in_the_order_of_finishing(view: View) -> None:
    shuffled = replace(view, rows=view.rows[::-1])
    drawn = finished(shuffled, view.cells[0])
    assert drawn == [row for row in view.rows if row.tier == "screen"]
    assert all(row.split == "validation" for row in finished(view, view.cells[1]))


def test_the_running_best_goes_through_the_means_of_what_was_kept(view: View) -> None:
    screen = view.cells[0]
    rows = finished(view, screen)
    [step] = kept(rows)
    assert (step.x, step.label) == (7, "lower learning rate")
    assert step.mean == pytest.approx(ranked(view, screen)[0].mean)
    axes = Figure().subplots()
    draw_panel(axes, screen, rows)
    [line] = [line for line in axes.get_lines() if line.get_drawstyle() == "steps-post"]
    assert np.asarray(line.get_ydata()) == pytest.approx([1.143, 1.139, 1.139])


def test_a_crown_is_won_where_its_test_ended(view: View) -> None:
    validate = view.cells[1]
    rows = finished(view, validate)
    first = replace(rows[5], purpose="screen", description="")
    defence = replace(rows[7], description="crown test 2: champion")
    [step] = kept([first, *rows, defence, rows[0]])
    assert step.x == 9, "neither at its first result nor at its defence"


def test_crown_tests_run_the_baseline_again_and_it_stays_blue(view: View) -> None:
    again = [replace(row, purpose="crown") for row in finished(view, view.cells[1])[:2]]
    rows = [*finished(view, view.cells[1])[:5], *again]
    axes = Figure().subplots()
    draw_panel(axes, view.cells[1], rows)
    points = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [line.get_color() for line in points] == [BLUE] * 7
    assert look(again[0], True)[0] == BLUE
    assert labels(view, rows) == ["baseline ± SD"]


def labels(view: View, rows: list[Row]) -> list[object]:
    return [entry.get_label() for entry in legend(view.cells[1], rows, 2.0)]


def test_the_legend_names_the_line_of_the_best(view: View) -> None:
    assert labels(view, finished(view, view.cells[1])) == ["baseline ± SD", "kept", "best kept"]


def test_the_title_counts_apart_what_no_panel_shows(view: View) -> None:
    assert "  18 experiments (1 on the test split)  " in title(view)
    shown = tuple(row for row in view.rows if row.split != "test")
    assert "  17 experiments  " in title(replace(view, rows=shown))


def test_an_axis_without_scores_has_no_numbers(view: View) -> None:
    crash = next(row for row in view.rows if row.failure)
    axes = Figure().subplots()
    unknown = replace(view.cells[0], baseline_mean=None, sigma=None)
    draw_panel(axes, unknown, [replace(crash, purpose="baseline")])
    assert list(axes.get_yticks()) == []
    assert [entry.get_label() for entry in legend(unknown, [crash], 1.0)] == ["failed (1)"]


def test_failures_stand_on_the_axis_and_outliers_at_the_edge(view: View) -> None:
    screen = view.cells[0]
    rows = [replace(row, bpb=9.0) if row.status == "discard" else row for row in view.rows]
    axes = Figure().subplots()
    draw_panel(axes, screen, finished(replace(view, rows=tuple(rows)), screen))
    low, high = axes.get_ylim()
    assert 1.13 < low < high < 1.16
    [crosses] = [line for line in axes.get_lines() if line.get_marker() == "x"]
    assert crosses.get_xydata() == pytest.approx(np.array([[9, 0.0]]))
    assert any(line.get_marker() == 6 for line in axes.get_lines())


def test_write_replaces_the_file_whole(view: View, tmp_path: Path) -> None:
    path = tmp_path / "progress.png"
    path.write_bytes(b"old")
    write(view, path)
    assert size(path.read_bytes()) == expected(2)
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_no_campaign_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chart_main(str(tmp_path)) == 1
    assert capsys.readouterr().err.count("\n") == 1
