"""All tools together: answers are bounded and marked as data, what is wrong can be mended."""

from pathlib import Path

import pytest
from outside import PROGRAM, Campaign
from studies import crowd, study, work

from autoresearch.claude.toolbox import LITTLE, LONGEST, SHORTEST, Room, toolbox
from autoresearch.claude.tools import Done, Mistake, Tool, use
from autoresearch.claude.writing import Work, notes_in
from autoresearch.experiment import Candidate, Json


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return study(tmp_path)


def ask(tools: list[Tool], name: str, /, **asked: object) -> str:
    found = use(tools, {"name": name, "input": asked})
    assert isinstance(found, str)
    return found


def every(mine: Work, left: int = 10**6) -> list[Tool]:
    return toolbox(mine, Room(left))


def test_there_are_nine_and_always_in_one_order(campaign: Campaign) -> None:
    names = [tool.name for tool in every(work(campaign))]
    assert names[:3] == ["read_results", "read_experiment", "read_log"]
    assert names[3:6] == ["read_source", "diff", "effects"]
    assert names[6:] == ["try_edit", "propose_wave", "note"]


HUGE: list[tuple[str, Json]] = [
    ("read_results", {"limit": 50}),
    ("read_experiment", {"name": "baseline"}),
    ("read_log", {"name": "baseline"}),
    ("read_source", {"name": "KEY"}),
    ("diff", {"one": "baseline", "other": "KEY"}),
    ("effects", {}),
]


@pytest.mark.parametrize(("name", "asked"), HUGE)
def test_whatever_is_read_is_data_of_bounded_length(
    campaign: Campaign, name: str, asked: Json
) -> None:
    program = campaign.sources.add(PROGRAM + "# remark\n" * 20_000, "x" * 3000, when=0.0)
    campaign.screen(1.8, program=program)
    crowd(campaign, 1000, "w" * 2000)
    key = Candidate(program).key
    asked = {k: key if v == "KEY" else v for k, v in asked.items()}
    answer = ask(every(work(campaign)), name, **asked)
    assert len(answer) <= LONGEST + 100
    assert answer.startswith(f'<data source="{name}">\n')
    assert answer.endswith("\n</data>")
    short = ask(every(work(campaign), left=0), name, **asked)
    assert len(short) <= SHORTEST + 200


def test_when_it_has_read_much_it_reads_less_and_is_told(campaign: Campaign) -> None:
    crowd(campaign, 100, "w" * 80)
    tools = every(work(campaign), left=20_000)
    answers = [ask(tools, "read_results", limit=50) for _ in range(4)]
    sizes = [len(answer) for answer in answers]
    assert sizes[0] == sizes[1] > LONGEST
    assert SHORTEST < sizes[2] < LONGEST / 2 + 200
    assert sizes[3] < SHORTEST + 200
    assert [LITTLE in answer for answer in answers] == [False, False, True, True]


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("read_experiment", {"name": "zebra"}, "one experiment or candidate 'zebra'"),
        ("read_source", {"nmae": "champion"}, "did you mean 'name'"),
        ("read_results", {"order": "worst"}, "should be one of 'best', 'newest'"),
        ("diff", {"one": "champion", "other": "0"}, "one experiment or candidate '0'"),
        ("try_edit", {"description": "x", "source": "def ("}, "train.py line 1"),
        ("propose_wave", {"hypothesis": "", "experiments": []}, "at least one experiment"),
        ("note", {"text": ""}, "1 to 2000 characters"),
    ],
)
def test_what_is_wrong_is_a_mistake_that_says_how_to_mend_it(
    campaign: Campaign, name: str, asked: Json, said: str
) -> None:
    with pytest.raises(Mistake, match=said):
        use(every(work(campaign)), {"name": name, "input": asked})


def test_what_is_wrong_with_a_wave_is_told_whole(campaign: Campaign) -> None:
    wrong = {"overrides": {"width": 9}, "description": "x", "expected": 0}
    with pytest.raises(Mistake) as told:
        use(
            every(work(campaign)),
            {"name": "propose_wave", "input": {"hypothesis": "h", "experiments": [wrong] * 3}},
        )
    assert [line[:14] for line in str(told.value).splitlines()[1:-1]] == [
        f"experiments[{n}]" for n in range(3)
    ]


def test_acting_leaves_what_it_should(campaign: Campaign) -> None:
    mine = work(campaign)
    tools = every(mine)
    assert ask(tools, "note", text="width helps") == "kept for this and all later waves"
    assert notes_in(mine.folder) == ("width helps",)
    one = {"overrides": {"width": 3}, "description": "w", "expected": -0.1, "promote": True}
    asked = {"hypothesis": "wide", "experiments": [one]}
    assert use(tools, {"name": "propose_wave", "input": asked}) == Done()
    assert mine.wave
    assert mine.wave.proposals[0].promote


@pytest.mark.parametrize(
    "domain",
    [
        {"low": 0.1, "high": 10, "log": True},
        {"low": 1, "high": 8, "integer": True},
        {"values": [1]},
    ],
)
def test_domains_of_new_fields_are_taken(campaign: Campaign, domain: Json) -> None:
    mine = work(campaign)
    edit = {"search": "    width: int = 1", "replace": "    gain: int = 1\n    width: int = 1"}
    one = {"edits": [edit], "space": {"gain": domain}, "description": "w", "expected": 0.0}
    asked = {"hypothesis": "wide", "experiments": [one]}
    if "log" in domain:  # a scale of a number of another kind
        edit["replace"] = edit["replace"].replace("int = 1\n", "float = 1.0\n")
    assert use(every(mine), {"name": "propose_wave", "input": asked}) == Done()
    assert mine.wave
    kept = mine.wave.versions[0].space["gain"]
    assert all(list(kept[k]) == v if k == "values" else kept[k] == v for k, v in domain.items())
