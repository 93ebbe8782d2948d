"""Waves as people and models write them: what is wrong is all told, the rest becomes a wave."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from desks import PROGRAM, Desk, open_desk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoresearch import dispatch
from autoresearch.drafts import Bench, Unusable, read
from autoresearch.entry import Purpose
from autoresearch.experiment import Candidate, Json, Wave
from autoresearch.judge import Request
from autoresearch.program import SIZE_LIMIT, program_of
from autoresearch.programs import Programs
from autoresearch.space import Choice, Domain, Interval

SPACE: dict[str, Domain] = {"width": Choice((1, 2, 3, 4)), "rate": Interval(0.1, 1.0)}
TRAINED = (
    PROGRAM
    + """    rate: float = 0.5


def build(config):
    return config.width


def train(run, config, model):
    for _ in run.batches(1):
        pass
"""
)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("desks.PROGRAM", TRAINED)
    desk = open_desk(tmp_path)
    return Bench(desk.history, Programs(desk.sources), SPACE, 4)


def desk_of(bench: Bench) -> Desk:
    return open_desk(bench.programs.sources.path.parent)


def draft(*experiments: Json, **more: object) -> Json:
    return {"hypothesis": "width helps", "experiments": list(experiments), **more}


def problems(bench: Bench, record: object) -> list[str]:
    with pytest.raises(Unusable) as failure:
        read(record, bench, "external")
    return failure.value.problems


EDIT = {"search": "width: int = 1", "replace": "width: int = 2\n    gain: float = 0.9"}


READS = {"search": "    pass\n", "replace": "    pass\n    open('x')\n"}
READS_MORE = {"search": "open('x')", "replace": "open('x'), open('y')"}


def test_a_program_that_breaks_rules_is_refused_by_line_and_rule(bench: Bench) -> None:
    wrong = {"edits": [READS], "description": "it reads"}
    assert problems(bench, draft(wrong, {**wrong, "overrides": {"width": 2}})) == [
        f"experiments[{n}]: train.py line 19 uses open: a program reads and writes no files "
        "(rule: file); do without it"
        for n in (0, 1)
    ]


@pytest.mark.parametrize(("policy", "count"), [("warn", 1), ("none", 0)])
def test_a_program_that_breaks_rules_may_be_let_through(
    bench: Bench, policy: str, count: int
) -> None:
    lenient = replace(bench, inspection=policy)
    (version,) = read(draft({"edits": [READS]}), lenient, "external").versions
    assert len(version.remarks) == count
    assert all(words.startswith("line 19 uses open: ") for words in version.remarks)
    assert Wave.from_json(read(draft({"edits": [READS]}), lenient, "external").to_json()).versions


def test_what_the_parent_the_other_parent_or_the_baseline_does_is_passed_by(bench: Bench) -> None:
    sources = bench.programs.sources
    careless = sources.add(TRAINED.replace(READS["search"], READS["replace"]), "careless", when=1.0)
    for_parent = Candidate(careless)
    desk = desk_of(bench)
    dispatch.propose(desk.record, [Request(for_parent, 1, "screen", Purpose.screen)])
    inside = replace(bench, history=desk.history)
    edits = [{"search": "width: int = 1", "replace": "width: int = 2"}]
    for experiment in (
        {"parent": for_parent.key, "edits": [READS_MORE]},
        {"also": for_parent.key, "edits": [READS, *edits]},
    ):
        assert read(draft(experiment), inside, "external").versions[0].remarks == ()
    (line,) = problems(inside, draft({"edits": [READS, *edits]}))
    assert "rule: file" in line
    desk.history.baseline = for_parent  # the user's own program does it, the champion no more
    assert read(draft({"edits": [READS, *edits]}), inside, "external").versions


def test_a_program_of_no_sane_size_is_refused_however_it_comes(bench: Bench) -> None:
    long = "#" * SIZE_LIMIT
    growth = {"search": "pass\n", "replace": f"pass  {long}\n"}
    for experiment in ({"source": TRAINED + long}, {"edits": [growth]}):
        (line,) = problems(bench, draft(experiment))
        assert line.startswith(f"experiments[0]: train.py should have at most {SIZE_LIMIT} bytes")


def test_overrides_of_the_champion_become_proposals(bench: Bench) -> None:
    wave = read(draft({"overrides": {"width": 3}, "expected": -0.01}), bench, "external")
    (proposal,) = wave.proposals
    assert proposal.overrides == {"width": 3}
    assert proposal.program == bench.history.champion.program
    assert proposal.expected == -0.01
    assert proposal.description == "width helps"
    assert (wave.planner, wave.versions) == ("external", ())


def test_edits_become_a_version_with_its_parent_and_reason(bench: Bench) -> None:
    record = draft({"edits": [EDIT], "overrides": {"gain": 1.2}, "description": "a gain"})
    wave = read(record, bench, "claude")
    (version,) = wave.versions
    assert version.parents == (bench.history.champion.program,)
    assert version.message == "a gain"
    assert program_of(version.text) == version.program == wave.proposals[0].program
    assert "gain: float = 0.9" in version.text
    assert wave.proposals[0].overrides == {"gain": 1.2}


def test_one_program_in_several_experiments_is_one_version(bench: Bench) -> None:
    wave = read(
        draft(*({"edits": [EDIT], "overrides": {"width": n}} for n in (2, 3, 4))), bench, "claude"
    )
    assert len(wave.versions) == 1
    assert [p.overrides for p in wave.proposals] == [{}, {"width": 3}, {"width": 4}]


def test_a_whole_source_and_a_domain_for_its_field(bench: Bench) -> None:
    text = TRAINED.replace("rate: float = 0.5", "rate: float = 0.5\n    gain: float = 1.0")
    domain = {"low": 0.1, "high": 10, "log": True}
    record = draft({"source": text, "space": {"gain": domain}, "overrides": {"gain": 5.0}})
    wave = read(record, bench, "claude")
    assert wave.versions[0].space["gain"]["high"] == 10


def test_edits_start_from_the_parent_with_its_overrides_written_in(bench: Bench) -> None:
    desk = desk_of(bench)
    tried = Candidate(desk.history.baseline.program, {"width": 4})
    dispatch.propose(desk.record, [Request(tried, 1, "screen", Purpose.screen)])
    now = Bench(desk.history, Programs(desk.sources), SPACE, 4)
    edit = {"search": "width: int = 4", "replace": "width: int = 5"}
    wave = read(draft({"parent": tried.key, "edits": [edit]}), now, "claude")
    assert "width: int = 5" in wave.versions[0].text


def test_what_combines_two_names_both(bench: Bench) -> None:
    desk = desk_of(bench)
    other = desk.sources.add(TRAINED + "\n# other\n", "other", when=0.0)
    request = Request(Candidate(other), 1, "screen", Purpose.screen)
    dispatch.propose(desk.record, [request])
    now = Bench(desk.history, Programs(desk.sources), SPACE, 4)
    record = draft({"edits": [EDIT], "also": Candidate(other).key[:6]})
    wave = read(record, now, "claude")
    assert wave.versions[0].parents == (desk.history.champion.program, other)


@pytest.mark.parametrize(
    ("experiment", "said"),
    [
        ({"overrides": {"width": 9}}, "'width' should lie in Choice"),
        ({"overrides": {"depth": 9}}, "'depth' is not in the space"),
        ({"parent": "zebra"}, "one experiment or candidate 'zebra'"),
        ({"edits": [{"search": "nowhere", "replace": "x"}]}, "edits[0] should find"),
        ({"edits": [EDIT], "source": "x"}, "edits or a whole source"),
        ({"source": "def ("}, "train.py line 1"),
        ({"source": "x = 1\n"}, "one class Config"),
        ({"source": TRAINED.replace("def train", "def trains")}, "should define train()"),
        ({"source": TRAINED.replace("    context: int = 32\n", "")}, "should define context"),
        ({"space": {"gain": {"low": 1, "high": 2}}}, "there are no edits"),
        ({"edits": [EDIT], "space": {"gain": [1, 2]}}, "space.gain should be"),
        ({"edits": [EDIT], "space": {"gain": {"low": 2, "high": 1}}}, "smaller to a larger"),
        ({"edits": [EDIT], "space": {"vain": {"low": 1, "high": 2}}}, "space.vain should be"),
        (
            {"edits": [EDIT], "space": {"gain": {"low": "a", "high": 1}}},
            "space.gain.low should be a number below 2**63, but was 'a'",
        ),
        ({"edits": [EDIT], "space": {"gain": None}}, "space.gain should be {"),
        ({"edits": [EDIT], "space": {"gain": [1]}}, "space.gain should be {"),
        ({"edits": [EDIT], "space": {"gain": {"low": 1}}}, "space.gain should be {"),
        (
            {"edits": [EDIT], "space": {"gain": {"low": 1, "high": 2, "values": [1]}}},
            "space.gain should be {",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"low": 0, "high": 10**400}}},
            "space.gain.high should be a number below 2**63",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"low": -1e308, "high": 1e308}}},
            "space.gain.low should be a number below 2**63",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"low": -(2.0**62), "high": 2.0**62}}},
            "lie less than that apart",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"low": False, "high": True}}},
            "space.gain.low should be a number below 2**63, but was False",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"low": 1, "high": 2, "log": "no"}}},
            "space.gain.log should be true or false, but was 'no'",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"low": 1, "high": 2, "integer": "x"}}},
            "space.gain.integer should be true or false",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"low": 1.2, "high": 1.4, "integer": True}}},
            "should hold a whole number",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"values": "abc"}}},
            "space.gain.values should be a list of numbers",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"values": [1, None]}}},
            "space.gain.values should be a list of numbers",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"values": [10**400]}}},
            "space.gain.values should be a list of numbers",
        ),
        (
            {"edits": [EDIT], "space": {"gain": {"values": ["a"]}}},
            "should offer values of its field's type, as 0.9",
        ),
        (
            {"edits": [EDIT], "space": {"width": {"low": 1, "high": 4}}},
            'space.width should have "integer": true, as its field is 2',
        ),
        (
            {"edits": [EDIT], "space": {"context": {"low": 1, "high": 4, "integer": True}}},
            "space.context should be left out: it comes from the campaign's data",
        ),
        ({"overrides": {"vocabulary": 9}}, "overrides.vocabulary should be left out: it comes"),
        ({"overrides": {"rate": None}}, "overrides.rate should be a finite number below 2**64"),
        ({"overrides": {"rate": [1]}}, "overrides.rate should be a finite number below 2**64"),
        ({"overrides": {"rate": 10**400}}, "overrides.rate should be a finite number below"),
        ({"overrides": {"width": 2.5}}, "'width' should lie in Choice"),
        ({"overrides": {"width": True}}, "'width' should be a number as 1, but was True"),
        ({"expected": 10**400}, "expected should be a change in bits per byte, a number from"),
        ({"expected": math.inf}, "from -1e6 to 1e6, but was inf"),
        ({"expected": math.nan}, "from -1e6 to 1e6, but was nan"),
        ({"overides": {}}, "did you mean 'overrides'?"),
        ({"promote": 1}, "promote should be true or false"),
        ({"expected": True}, "expected should be a number"),
        ({}, "has been tried as"),
        (3, "an experiment should be a JSON object"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(bench: Bench, experiment: Json, said: str) -> None:
    desk = desk_of(bench)
    desk.ask(1)
    now = Bench(desk.history, Programs(desk.sources), SPACE, 4)
    (problem,) = problems(now, draft(experiment))
    assert problem.startswith("experiments[0]: ")
    assert said in problem
    assert len(problem) < 300


def test_all_problems_are_told_at_once(bench: Bench) -> None:
    record = draft({"overrides": {"width": 9}}, {"overrides": {"width": 2}}, {"parent": "zebra"})
    found = problems(bench, {**record, "hypothesis": " ", "notes": [3]})
    places = ["hypothesis", "notes should", "experiments[0]", "experiments[2]"]
    assert len(found) == 4
    assert all(line.startswith(place) for line, place in zip(found, places, strict=True))


def test_the_same_candidate_twice_and_more_than_there_is_room_for(bench: Bench) -> None:
    same = [{"overrides": {"width": 2}}] * 2
    assert problems(bench, draft(*same)) == ["experiments[1]: it is the same as experiments[0]"]
    many = [{"overrides": {"rate": n / 10}} for n in range(1, 7)]
    (problem,) = problems(bench, draft(*many))
    assert "at most 4" in problem
    assert "but are 6" in problem


@pytest.mark.parametrize(
    ("first", "again"),
    [({"width": 2}, {"width": 2.0}), ({"rate": 1}, {"rate": 1.0}), ({"rate": 1.0}, {"rate": 1})],
)
def test_another_spelling_of_a_number_is_no_other_candidate(
    bench: Bench, first: Json, again: Json
) -> None:
    two = draft({"overrides": first}, {"overrides": again})
    assert problems(bench, two) == ["experiments[1]: it is the same as experiments[0]"]
    desk = desk_of(bench)
    (proposal,) = read(draft({"overrides": first}), bench, "external").proposals
    tried = Candidate(proposal.program, proposal.overrides)
    dispatch.propose(desk.record, [Request(tried, 1, "screen", Purpose.screen)])
    now = Bench(desk.history, Programs(desk.sources), SPACE, 4)
    (problem,) = problems(now, draft({"overrides": again}))
    assert "it has been tried as" in problem


def test_numbers_are_of_their_fields_type(bench: Bench) -> None:
    wave = read(draft({"overrides": {"width": 3.0, "rate": 1}}), bench, "external")
    assert {k: repr(v) for k, v in wave.proposals[0].overrides.items()} == {
        "width": "3",
        "rate": "1.0",
    }


def test_more_than_there_is_room_for_are_not_looked_at_one_by_one(bench: Bench) -> None:
    (problem,) = problems(bench, draft(*[{"parent": "zebra"}] * 8000))
    assert problem.startswith("experiments should be at most 4")


def test_what_was_screened_may_be_proposed_again_to_be_promoted(bench: Bench) -> None:
    desk = desk_of(bench)
    tried = Candidate(desk.history.baseline.program, {"width": 4})
    dispatch.propose(desk.record, [Request(tried, 1, "screen", Purpose.screen)])
    now = Bench(desk.history, Programs(desk.sources), SPACE, 4)
    wave = read(draft({"overrides": {"width": 4}, "promote": True}), now, "external")
    assert wave.proposals[0].promote


def test_notes_and_the_end_need_no_experiments(bench: Bench) -> None:
    wave = read({"notes": ["width helps"], "done": True}, bench, "external")
    assert (wave.notes, wave.exhausted, wave.proposals) == (("width helps",), True, ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["parent", "edits", "source", "space", "overrides", "search", "replace"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["hypothesis", "experiments", "notes", "done"]), JSON))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_is_written_becomes_a_wave_or_problems(bench: Bench, record: Json) -> None:
    try:
        wave = read(record, bench, "external")
    except Unusable:  # anything else is a mistake of ours
        return
    assert Wave.from_json(json.loads(json.dumps(wave.to_json()))) == wave


ODD = st.integers(-(10**400), 10**400) | st.floats() | JSON
DOMAINS = ODD | st.dictionaries(st.sampled_from(["low", "high", "log", "integer", "values"]), ODD)


@given(DOMAINS, ODD, ODD)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_domain_an_override_and_a_hope_are(
    bench: Bench, domain: object, value: object, hope: object
) -> None:
    more = {"overrides": {"rate": value}, "expected": hope}
    record = draft({"edits": [EDIT], "space": {"gain": domain}}, more, {"overrides": {"rate": 0.3}})
    told: list[str] = []
    try:
        read(record, bench, "external")
    except Unusable as error:
        told = error.problems
    assert all(len(line) < 300 for line in told)
