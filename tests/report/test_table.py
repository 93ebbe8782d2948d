"""What the terminal shows."""

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from autoresearch.report.table import live, progress_line, show
from autoresearch.report.view import View


def shown(view: View, width: int = 140) -> str:
    out = io.StringIO()
    show(view, Console(file=out, width=width, color_system=None))
    return out.getvalue()


def drawn(renderable: RenderableType, width: int = 140) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(renderable)
    return out.getvalue()


def squeezed(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_a_certified_champion_is_shown_with_its_interval(view: View) -> None:
    text = squeezed(shown(view))
    assert "Champion c4a9000000: lr=0.031" in text
    assert "-0.00310 bits per byte against the baseline (0.99810 → 0.99500)" in text
    assert "95% interval -0.00420 … -0.00200" in text
    assert "test split with 5 fresh seeds each" in text
    assert "git --git-dir /campaigns/night-1/sources.git show champion:train.py" in text
    assert "does not confirm" not in text


def test_a_certification_that_holds_zero_says_so(view: View) -> None:
    assert view.certification
    weak = replace(view, certification=replace(view.certification, significant=False))
    assert "certification does not confirm it" in shown(weak)


def test_a_champion_without_certification_claims_none(view: View) -> None:
    text = shown(replace(view, certification=None))
    assert "Crowned on validation text, not certified" in text
    assert "interval" not in text
    running = shown(replace(view, certification=None, state="running"))
    assert "certification comes after the last decision" in running


def test_without_a_champion_it_says_what_would_have_been_seen(view: View) -> None:
    nothing = replace(view, champion=None, certification=None)
    assert (
        "No change beats noise. An effect of 0.00160 bits per byte would have been detected"
        in shown(nothing)
    )
    assert "No champion yet. An effect of 0.00160" in shown(replace(nothing, state="running"))
    assert "once the baseline has run twice" in shown(replace(nothing, detectable=None))


def test_without_a_closed_crown_test_nothing_is_said_of_noise(view: View) -> None:
    reason = "the baseline failed: node_failed: " + "too few tokens; " * 20 + "prepare more."
    untried = replace(view, champion=None, certification=None, crowns=(), end_reason=reason)
    text = squeezed(shown(untried, 80))
    assert "beats noise" not in text
    assert f"No candidate was tested against the baseline: {reason} An effect of" in text
    assert "Ended:" not in text, "the reason is said once"
    unknown = replace(untried, detectable=None, end_reason="stopped by Ctrl-C")
    assert "against the baseline: stopped by Ctrl-C ╰" in squeezed(shown(unknown))
    void = replace(view.crowns[0], difference=None, crowned=False)
    assert "No candidate was tested" in shown(replace(untried, crowns=(void,)))


def test_the_end_reason_is_whole_in_the_body_and_never_in_the_title(view: View) -> None:
    reason = "budget: 6 experiments left, " + "all of them kept " * 20 + "for the certification"
    text = shown(replace(view, end_reason=reason), 80)
    assert text.splitlines()[0].startswith("╭─ night-1 · ended · unprotected ─")
    assert f"Ended: {reason} ╰" in squeezed(text)
    assert "Ended" not in shown(replace(view, end_reason=""))
    assert "Ended" not in shown(replace(view, state="running"))


def test_the_command_for_the_champion_can_be_copied_from_a_narrow_terminal(view: View) -> None:
    far = replace(view, directory="/scratch/of/somebody" * 5)
    command = f"git --git-dir {far.directory}/sources.git show champion:train.py"
    assert command in shown(far, 40).splitlines()
    assert "git --git-dir" not in shown(replace(far, champion=None))


def test_points_of_a_space_are_told_apart_by_their_values(view: View) -> None:
    first = {"adam_beta1": 0.510553, "embedding_lr": 0.129629, "matrix_lr": 0.02}
    said = "adam_beta1 0.8 → 0.5106, embedding_lr 0.6 → 0.1296, matrix_lr 0.04 → 0.02"
    rows = (
        *view.rows[:5],
        replace(view.rows[10], candidate="a" * 10, description=said, overrides=first),
        replace(view.rows[10], candidate="b" * 10, overrides={}, description="a wider network"),
    )
    test = replace(view.crowns[0], candidate="a" * 10, description=said)
    text = shown(replace(view, rows=rows, crowns=(test,)), 80)
    assert text.count("adam_beta1=0.511") == text.count("embedding_lr=0.13 …") == 2
    assert "→ 0.5106" not in text
    assert "a wider network" in text


def test_each_table_of_scores_names_its_one_cell(view: View) -> None:
    text = shown(view)
    parts = text.split("screen · cpu-1 · 20000 tokens · cell 1a2b3c4d · unprotected")
    assert len(parts) == 2
    screen, validate = parts[1].split("validate · h100 · 300 s · cell 99887766 · unprotected")
    assert "1.13900" in screen
    assert "-0.00400" in screen
    assert "1.13900" not in validate
    assert "0.99510" in validate
    assert "0.50000" not in text, "a score of the test split is no validation score"


def test_unprotected_numbers_are_marked_and_protected_ones_are_not(view: View) -> None:
    assert shown(view).count("unprotected") == 4
    safe = replace(view, rows=tuple(replace(row, protected=True) for row in view.rows))
    assert "unprotected" not in shown(safe)


def test_budget_failures_and_tests_are_shown(view: View) -> None:
    text = squeezed(shown(view))
    assert "spent 18 of 80 experiments · 4.26 of 8 GPU-hours · 2 hours" in text
    assert "failures out_of_memory 1" in text
    assert "1 -0.00300 0.0004 0.03 yes c4a9000000 lower learning rate" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_hostile_words_are_shown_as_words(view: View, width: int) -> None:
    view = replace(view, name="[red]x\x1b]0;", end_reason="\x1b[2J [/] \ud800")
    text = shown(view, width) + drawn(live(view), width)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.encode()
    assert "[bold red]" in squeezed(shown(view, 200))


def test_the_longest_list_is_cut_but_keeps_the_baseline(view: View) -> None:
    many = tuple(
        replace(view.rows[10], candidate=f"{number:010d}", bpb=1.1 + number / 1e4)
        for number in range(50)
    )
    text = shown(replace(view, rows=(*many, *view.rows)))
    assert "0000000009" in text
    assert "0000000010" not in text
    assert "baseline: the baseline" in text


def test_a_campaign_that_has_just_begun_can_be_shown(view: View) -> None:
    young = View("night-1", "/campaigns/night-1")
    assert "No champion yet" in shown(young)
    assert drawn(live(young))
    assert "pilots 0 of 0 busy" in progress_line(young).plain
    assert "–" in shown(replace(young, cells=(replace(view.cells[0], sigma=None),)))


def test_the_progress_line_says_where_it_stands(view: View) -> None:
    running = replace(view, state="running")
    assert progress_line(running).plain == (
        "18 of 80 experiments · 4.26 of 8 GPU-hours · 2 hours · pilots 2 of 3 busy · "
        "best 1.13900 (-0.00400), 2 seeds, screen: lower learning rate"
    )
    assert "2 hours · ended · best" in progress_line(view).plain


def test_what_is_asked_for_is_not_called_finished(view: View) -> None:
    busy = replace(view, spent={**view.spent, "experiments": 20})
    assert progress_line(busy).plain.startswith("18 finished, 20 of 80 asked · 4.26 of 8 GPU")
    assert drawn(live(busy)).splitlines()[0].rstrip().endswith("18 of 80")
    assert "spent 20 of 80 experiments" in shown(busy), "what is asked for is spent"


def test_hours_are_those_of_gpus_only_where_there_are_some(view: View) -> None:
    on_cpus = replace(view, cells=view.cells[:1])
    for text in (shown(on_cpus), progress_line(on_cpus).plain, drawn(live(on_cpus))):
        assert "pilot-hours" in text
        assert "GPU" not in text


def test_what_is_no_better_than_the_baseline_is_not_called_best(view: View) -> None:
    worse = tuple(r for r in view.rows if r.candidate in ("base000000", "1053000000"))
    assert "best" not in progress_line(replace(view, rows=worse)).plain
    unknown = tuple(replace(cell, baseline_mean=None) for cell in view.cells)
    assert "best" not in progress_line(replace(view, cells=unknown)).plain


def test_the_live_block_ends_with_the_last_results(view: View) -> None:
    lines = drawn(live(view)).splitlines()
    assert lines[0].startswith("experiments ━")
    assert lines[0].rstrip().endswith("18 of 80")
    assert [line.split()[0] for line in lines[-5:]] == [
        row.experiment for row in view.rows if row.is_finished
    ][-5:]


def test_set_up_beyond_the_allowance_is_told(view: View) -> None:
    first, *others = view.rows
    long = replace(first, seconds=replace(first.seconds, setup=1860.0))
    seen = replace(view, rows=(long, *others), allowance=60.0)
    assert "set-up beyond 60 s: 1 experiment, 0.50 GPU-hours of what is spent" in shown(seen)
    assert "set-up beyond" not in shown(replace(seen, allowance=2000.0))


def test_a_champion_that_no_sandbox_held_is_told_apart(view: View) -> None:
    bare = replace(view, rows=tuple(replace(row, protected=False) for row in view.rows))
    held = replace(view, rows=tuple(replace(row, protected=True) for row in view.rows))
    assert "ended · unprotected" in shown(bare)
    assert "unprotected" not in shown(held)
