"""View and facts → the report's sections: comparable, bounded, and text that stays text."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from desks import open_desk
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from autoresearch.experiment import Budget, Cell, Wave, one_line
from autoresearch.report.story import (
    LINES,
    Axis,
    Code,
    Condition,
    Facts,
    Grid,
    RunSet,
    Section,
    Story,
    Words,
    axis,
    facts_of,
    literal,
    tell,
    visible,
)
from autoresearch.report.summary import summarize
from autoresearch.report.view import (
    CellView,
    CertificationView,
    ChampionView,
    CrownView,
    Row,
    View,
)
from autoresearch.space import Choice, Interval

HOSTILE = "**bold** <img src=x> ```\n# Result\n| a | https://example.org \x1b[31m\u202e"
MARKDOWN = MarkdownIt("commonmark").enable("table")
FACTS = Facts(
    axes=(Axis("lr", log=True), Axis("window", is_number=False)),
    before={"lr": 0.02},
    difference="--- baseline\n+++ champion\n-lr = 0.02\n+lr = 0.031\n",
    waves=(Wave("bayes", "less is more", ()), Wave("mixed", HOSTILE, ())),
    cells={"screen": Cell("cpu-1", Budget(tokens=20000), "d" * 64, "python 3.11", "r")},
    programs={"baseline": "b" * 64, "champion": "c" * 64},
    seed=7,
)


def section(story: Story, start: str) -> Section:
    (found,) = [s for s in story.sections if s.title.startswith(start)]
    return found


def rendered(markdown: str) -> str:
    """What people see of Markdown: its text."""
    tokens = [t for token in MARKDOWN.parse(markdown) for t in token.children or ()]
    return "\n".join(token.content for token in tokens if token.content)


def text(story: Story) -> str:
    words = [b.markdown for s in story.sections for b in s.blocks if isinstance(b, Words)]
    return "\n".join(map(rendered, words))


def grids(story: Story) -> list[Grid]:
    return [b for s in story.sections for b in s.blocks if isinstance(b, Grid)]


def asked(run_set: RunSet, name: str) -> list[Condition]:
    return [condition for condition in run_set.conditions if condition.name == name]


# ---- what a campaign's report says -------------------------------------------------------------


def test_the_sections_tell_the_story(view: View) -> None:
    assert [s.title for s in tell(view, FACTS).sections] == [
        "Result · unprotected",
        "What changed",
        "Tier screen · cpu-1 · 20000 tokens · unprotected",
        "Tier validate · h100 · 300 s · unprotected",
        "Waves, screened on screen · unprotected",
        "Crown tests · unprotected",
        "The champion's diff",
        "How to reproduce",
    ]


def test_numbers_that_need_no_trust_are_not_marked(view: View) -> None:
    safe = replace(view, rows=tuple(replace(row, protected=True) for row in view.rows))
    told = tell(safe, FACTS)
    assert "unprotected" not in text(told) + "".join(s.title for s in told.sections)
    assert "unprotected: no sandbox held the programs" in text(tell(view, FACTS))


def test_only_a_certification_is_a_headline(view: View) -> None:
    told = tell(view, FACTS)
    for start in ("Result", "What changed"):
        words = text(replace(told, sections=(section(told, start),)))
        assert "-0.00310 bits per byte against the baseline (0.99810 → 0.99500)" in words
        assert "certified on the test split with 5 fresh seeds each" in words
        assert "0.99510" not in words, "the champion's mean on validation text is selected"
    words = text(tell(replace(view, certification=None), FACTS))
    assert "Crowned on validation text, not certified" in words
    assert "certified on the test split" not in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "running"}, "No champion yet. An effect of 0.00160 bits per byte would be"),
        ({}, "No candidate was tested against the baseline: the budget of experiments is spent."),
        (
            {"crowns": (CrownView("x", 1, 0.001, 0.4, 0.03, crowned=False, description="x"),)},
            "No change beats noise. An effect of 0.00160 bits per byte would have been detected",
        ),
    ],
)
def test_a_campaign_without_a_champion_says_what_it_could_have_seen(
    view: View, changes: dict[str, Any], words: str
) -> None:
    bare = replace(view, champion=None, certification=None, crowns=())
    told = tell(replace(bare, **changes), replace(FACTS, difference=""))
    assert text(told).count(words) == 2, "in the result, and where changes would be told"
    assert words in told.description
    assert not [b for b in section(told, "The champion's diff").blocks if isinstance(b, Code)]
    (commands,) = [b.text for b in section(told, "How to").blocks if isinstance(b, Code)]
    assert "show night-1 baseline" in commands
    assert "champion" not in commands


def test_what_changed_is_told_in_parameters(view: View) -> None:
    told = tell(view, FACTS)
    words = rendered(section(told, "What changed").blocks[-1].markdown)  # type: ignore[union-attr]
    assert words.split() == ["parameter", "baseline", "champion", "lr", "0.02", "0.031"]
    assert view.champion is not None
    other = replace(view, champion=replace(view.champion, overrides={}))
    assert "see the diff" in text(tell(other, FACTS))


def test_a_number_on_the_test_split_is_nowhere_but_in_the_headline(view: View) -> None:
    assert any(row.split == "test" and row.bpb == 0.5 for row in view.rows)
    assert "0.50000" not in text(tell(view, FACTS))


def test_commands_work_from_the_folder_above_and_tell_nothing_of_it(view: View) -> None:
    away = replace(view, directory="/scratch/ada/my campaigns/it's one")
    told = tell(away, FACTS)
    (commands,) = [b.text for b in section(told, "How to").blocks if isinstance(b, Code)]
    assert "autoresearch replay 'it'\"'\"'s one' champion" in commands
    assert "ada" not in repr(told)


# ---- run sets ----------------------------------------------------------------------------------


def test_tiers_that_share_a_cell_share_a_section(view: View) -> None:
    screen, validate = view.cells
    shared = replace(view, cells=(screen, replace(validate, key=screen.key)))
    told = tell(shared, FACTS)
    (grid,) = [b for b in section(told, "Tiers screen, validate").blocks if isinstance(b, Grid)]
    assert [run_set.name for run_set in grid.run_sets] == ["tier screen", "tier validate"]


@given(st.integers(0, 300))
def test_every_wave_is_in_one_run_set_and_there_are_few(count: int) -> None:
    view = View("night", "/night", cells=(CellView("1a2b", "screen", "cpu-1", "5 s"),))
    facts = replace(FACTS, waves=(Wave("greedy", "", ()),) * count)
    sets = [s for grid in grids(tell(view, facts)) for s in grid.run_sets if asked(s, "wave")]
    assert len(sets) <= 11
    met = [n for s in sets for n in range(-1, count + 2) if meets(n, asked(s, "wave"))]
    assert sorted(met) == list(range(1, count + 1))


def meets(number: int, conditions: list[Condition]) -> bool:
    signs = {"=": int.__eq__, ">=": int.__ge__, "<=": int.__le__}
    return all(signs[c.sign](number, int(c.value)) for c in conditions)


floats = st.floats(-9, 9)
changes = st.dictionaries(st.text(), st.floats() | st.text() | st.booleans(), max_size=2)
keys = st.sampled_from(["aaaa", "bbbb", "cccc"])
numbers = st.floats(-10, 10) | st.none()
cells = st.builds(
    CellView,
    key=keys,
    tier=st.sampled_from(["screen", "middle", "validate"]),
    device=st.text(max_size=9),
    budget=st.text(max_size=9),
    baseline_mean=numbers,
    sigma=st.floats(0, 1) | st.none(),
    detectable=st.floats(0, 1) | st.none(),
)
rows = st.builds(
    Row,
    experiment=st.text("0123456789abcdef", min_size=12, max_size=12),
    candidate=st.sampled_from(["c0", "c1", "c2"]),
    program=st.just("p"),
    commit=st.just("abc1234"),
    wave=st.integers(0, 3),
    purpose=st.sampled_from(["baseline", "screen", "climb", "crown", "certify"]),
    tier=st.just("screen"),
    cell=keys,
    seed=st.integers(0, 5),
    state=st.just("finished"),
    bpb=numbers,
    status=st.sampled_from(["keep", "discard", "crash", "running", "queued"]),
    split=st.sampled_from(["validation", "test"]),
    description=st.text(),
    protected=st.booleans(),
)


@st.composite
def views(draw: st.DrawFn) -> View:
    """Any campaign, at any moment."""
    return View(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]*", fullmatch=True)),
        directory=f"/x/{draw(st.text(min_size=1))}",
        rows=tuple(draw(st.lists(rows, max_size=12))),
        cells=tuple(draw(st.lists(cells, max_size=3, unique_by=lambda cell: cell.tier))),
        champion=draw(st.builds(ChampionView, overrides=changes) | st.none()),
        certification=draw(st.builds(CertificationView, *[floats] * 3, n=st.just(3)) | st.none()),
        crowns=tuple(draw(st.lists(st.builds(CrownView, p=st.floats(0, 1)), max_size=3))),
        detectable=draw(st.floats(0, 1) | st.none()),
        state=draw(st.sampled_from(["running", "ended"])),
        end_reason=draw(st.text()),
        planner=draw(st.text()),
    )


@given(views(), st.lists(st.builds(Wave, st.text(), st.text(), st.just(())), max_size=15))
def test_any_campaign_has_a_report_and_no_grid_mixes_cells(view: View, waves: list[Wave]) -> None:
    told = tell(view, replace(FACTS, waves=tuple(waves)))
    assert 0 < len(told.title) <= 100
    titles = [s.title for s in told.sections]
    assert len(titles) == len(set(titles)) == 6 + len(view.places)
    assert all(one_line(title, 1000) == title for title in (*titles, told.description))
    assert all(s.blocks for s in told.sections)
    for grid in grids(told):
        place = {(c.value, c.sign) for s in grid.run_sets for c in asked(s, "cell")}
        assert len(place) == 1
        for run_set in grid.run_sets:
            assert asked(run_set, "split") == [Condition("split", "validation")]
            assert asked(run_set, "Group") == [Condition("Group", view.name[:128], is_config=False)]
            assert len(asked(run_set, "cell")) == len(asked(run_set, "JobType")) == 1


# ---- text stays text ---------------------------------------------------------------------------

nasty = st.text("`*_~[]()<>#+-=|!\\&$:@.{}'\"/1ax \n\t\x1b\u202e") | st.text()


@given(nasty)
def test_a_line_of_text_is_shown_as_it_is_whatever_it_looks_like(words: str) -> None:
    line = one_line(words, 2000)
    tokens = MARKDOWN.parse(literal(words))
    assert [t.type for t in tokens] == ["paragraph_open", "inline", "paragraph_close"] * bool(line)
    children = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == line


@given(st.lists(nasty, min_size=1, max_size=3))
def test_a_cell_of_a_table_stays_in_its_cell(words: list[str]) -> None:
    facts = replace(FACTS, waves=tuple(Wave("p", text, ()) for text in words))
    view = View("night", "/night", cells=(CellView("1a2b", "screen", "cpu-1", "5 s"),))
    (block,) = [b for b in section(tell(view, facts), "Waves").blocks if isinstance(b, Words)]
    tokens = MARKDOWN.parse(block.markdown)
    cells = ["".join(c.content for c in t.children or ()) for t in tokens if t.type == "inline"]
    assert len(cells) == 5 * (1 + len(words))
    assert cells[9::5] == [one_line(text) for text in reversed(words)]


def test_links_and_html_of_a_planner_are_only_words() -> None:
    words = literal("see https://example.org or www.example.org <b>now</b> @ada ![x](y)")
    assert "https://" not in words
    assert "www.example" not in words
    assert "<b>" not in MARKDOWN.render(words)
    assert "&lt;b&gt;now" in MARKDOWN.render(words)


def test_code_is_bounded_and_hides_nothing() -> None:
    assert visible("a\u202eb\x1b[2J\tc\r\n", "rest") == "a\\u202eb\\u001b[2J\tc\\u000d"
    long = visible("x" * 10_000 + "\n" + "y\n" * 10_000, "the rest: elsewhere")
    assert len(long.splitlines()) == LINES + 1
    assert long.endswith("\nthe rest: elsewhere")
    assert max(map(len, long.splitlines())) < 300
    assert visible("", "rest") == ""


# ---- facts -------------------------------------------------------------------------------------


def test_an_axis_is_as_its_domain() -> None:
    assert axis("lr", Interval(0.1, 1.0, log=True)) == Axis("lr", log=True)
    assert axis("depth", Choice((2, 4))) == Axis("depth")
    assert axis("window", Choice(("S", "L"))) == Axis("window", is_number=False)
    assert axis("tied", Choice((True, False))) == Axis("tied", is_number=False)


def test_facts_come_from_the_record(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    facts = facts_of(desk.history, desk.settings, desk.sources)
    assert facts.before["width"] == 1
    assert facts.difference == ""
    assert facts.programs["baseline"] == facts.programs["champion"]
    told = tell(summarize(desk.history, desk.settings, desk.sources), facts)
    assert "No planner has proposed a wave yet" in text(told)
    assert facts.programs["baseline"] in text(told)
