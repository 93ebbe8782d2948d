"""Ranks and means, per cell and only there."""

from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.experiment import one_line
from autoresearch.report.view import View, brief, ranked


def test_candidates_are_ranked_inside_one_cell(view: View) -> None:
    screen, validate = view.cells
    names = [standing.candidate for standing in ranked(view, screen)]
    assert names == ["c4a9000000", "base000000", "1053000000"]
    assert [standing.n for standing in ranked(view, screen)] == [2, 5, 1]
    [first, second] = ranked(view, validate)
    assert (first.candidate, first.n) == ("c4a9000000", 3), "the seed on the test split is not here"
    assert first.mean == pytest.approx(0.9951)
    assert second.role == "baseline"


def test_differences_are_to_the_baseline_of_the_same_cell(view: View) -> None:
    for cell in view.cells:
        best, *_ = ranked(view, cell)
        assert best.delta == pytest.approx(best.mean - (cell.baseline_mean or 0))
        assert best.role == "champion"
        assert next(s for s in ranked(view, cell) if s.role == "baseline").delta is None


def test_the_error_comes_from_the_noise_of_the_cell(view: View) -> None:
    best, *_ = ranked(view, view.cells[0])
    assert best.error == pytest.approx(0.0012 / 2**0.5)
    quiet = replace(view.cells[0], sigma=None, baseline_mean=None)
    unknown, *_ = ranked(view, quiet)
    assert (unknown.error, unknown.delta) == (None, None)


def test_a_candidate_keeps_the_words_it_was_proposed_with(view: View) -> None:
    best, *_ = ranked(view, view.cells[0])
    assert best.description == "lower learning rate"
    tested, *_ = ranked(view, view.cells[1])
    assert tested.description == "lr=0.031", "not `crown test 1: challenger`"


def test_a_candidate_that_only_failed_has_no_rank_but_is_counted(view: View) -> None:
    rows = tuple(replace(r, candidate="1053000000") if r.failure else r for r in view.rows)
    assert ranked(replace(view, rows=rows), view.cells[0])[-1].failures == 1
    assert all(s.candidate != "b20c000000" for s in ranked(view, view.cells[0]))


def test_tiers_that_share_a_cell_are_one_place(view: View) -> None:
    screen, validate = view.cells
    assert view.places == view.cells
    shared = replace(view, cells=(screen, replace(validate, key=screen.key)))
    assert shared.places == (screen,)
    assert fmean(s.n for s in ranked(shared, screen)) > 0


def test_one_number_without_a_sandbox_marks_the_view(view: View) -> None:
    assert view.is_unprotected
    safe = replace(view, rows=tuple(replace(row, protected=True) for row in view.rows))
    assert not safe.is_unprotected
    assert not replace(view, rows=view.rows[-1:]).is_unprotected, "it has no number yet"


def test_a_replay_is_finished_but_spends_no_budget(view: View) -> None:
    again = replace(view.rows[0], purpose="replay")
    assert replace(view, rows=(*view.rows, again)).finished == view.finished == 18


def test_brief_values_are_never_cut_in_two(view: View) -> None:
    point = replace(
        view.rows[0],
        description="depth 4 → 6, and 2 more",
        overrides={"depth": 6, "window": "SSL", "matrix_lr": 0.0936139},
    )
    assert brief([point]) == "depth=6 window=SSL matrix_lr=0.0936"
    assert brief([point], 34) == "depth=6 window=SSL …"
    assert brief([point], 10) == "depth=6 …"
    assert brief([replace(point, description="")]) == brief([point])
    assert brief([replace(point, description="a " * 30)], 9) == "a a a a …"


@given(st.text() | st.text(st.characters(categories=["C", "Z"])), st.integers(1, 50))
def test_one_line_is_one_printable_bounded_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line.isprintable()
    line.encode()
    assert line == line.strip()
