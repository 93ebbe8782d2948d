"""When a campaign takes a wave from outside, how large it may be, what becomes of it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outside import Campaign, begin

from autoresearch.drafts import Unusable
from autoresearch.errors import CampaignError
from autoresearch.experiment import Json
from autoresearch.lease import acquire
from autoresearch.process import Identity
from autoresearch.verbs import find
from autoresearch.verbs.submission import LARGEST, mark_of, next_step, room, submit, waiting


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return begin(tmp_path / "c")


def seen(campaign: Campaign) -> find.Campaign:
    return find.read(campaign.root)


def wave(*widths: int, **more: object) -> Json:
    experiments = [{"overrides": {"width": width}} for width in widths]
    return {"hypothesis": "width helps", "experiments": experiments, **more}


def test_the_last_tests_are_kept_paid_for(campaign: Campaign) -> None:
    # 40 experiments, 3 replicates of the baseline, and 2 * (4 + 4) for crown test and certification
    assert room(seen(campaign)) == 40 - 3 - 16
    campaign.screen(2.0, {"width": 2})
    assert room(seen(campaign)) == 40 - 4 - 16


def test_a_campaign_without_bounds_takes_much_and_one_that_spent_all_nothing(
    tmp_path: Path,
) -> None:
    assert room(seen(begin(tmp_path / "free", experiments=0))) == LARGEST
    poor = seen(begin(tmp_path / "poor", experiments=10))
    assert room(poor) == 0
    with pytest.raises(Unusable, match="at most 0"):
        submit(poor, wave(2))


def test_what_others_have_asked_for_is_not_promised_twice(campaign: Campaign) -> None:
    before = room(seen(campaign))
    submit(seen(campaign), wave(2, 3))
    assert room(seen(campaign)) == before - 2
    asked = {"ask": "0001", "planner": "bayes", "capacity": 5, "usd": 0.0}
    campaign.record.append({"type": "asking", **asked})
    assert room(seen(campaign)) == before - 7


def test_an_ended_campaign_takes_notes_and_nothing_else(campaign: Campaign) -> None:
    campaign.end("stopped by request")
    for draft in (wave(2), {"done": True}):
        with pytest.raises(CampaignError, match="once it has ended, `autoresearch resume"):
            submit(seen(campaign), draft)
    submitted = submit(seen(campaign), {"notes": ["it was the width"]})
    assert submitted.text().endswith("is submitted: 1 note")
    assert "resume" in next_step(seen(campaign))


def test_a_search_that_has_ended_takes_no_experiments_either(campaign: Campaign) -> None:
    campaign.record.append({"type": "search_ended", "reason": "budget"})
    with pytest.raises(CampaignError, match="ended its search, and finishes"):
        submit(seen(campaign), wave(2))


def test_another_champion_makes_it_another_wave(campaign: Campaign) -> None:
    before = submit(seen(campaign), wave(3))
    winner = campaign.screen(1.5, {"rate": 0.9})
    text = campaign.sources.read(winner.program).replace("rate: float = 0.5", "rate: float = 0.9")
    campaign.crown(winner, campaign.sources.add(text, "rate = 0.9", when=0.0))
    after = submit(seen(campaign), wave(3))
    assert after.wave is not None
    assert after.name != before.name
    assert len(waiting(seen(campaign))) == 2


def test_waves_are_taken_in_the_order_in_which_they_came(campaign: Campaign) -> None:
    names = [submit(seen(campaign), wave(width)).name for width in (4, 2, 3)]
    assert sorted(names) == names
    taken = [wave.proposals[0].overrides["width"] for wave in waiting(seen(campaign))]
    assert taken == [4, 2, 3]


SUBMITTER = """
import json, sys
from autoresearch.verbs import find
from autoresearch.verbs.submission import submit
campaign = find.read(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    submitted = submit(campaign, json.loads(line))
    print(json.dumps([submitted.name, submitted.wave is not None]), flush=True)
"""


@pytest.fixture
def submitters(campaign: Campaign) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that have read the campaign, and submit each line they are given."""
    command = [sys.executable, "-c", SUBMITTER, campaign.root]
    start = partial(subprocess.Popen, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with ExitStack() as stack:
        started = [stack.enter_context(start(command)) for _ in range(4)]
        assert [heard(process) for process in started] == ["ready\n"] * 4
        yield started


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_one_wave_that_many_submit_at_once_is_one_wave(
    campaign: Campaign, submitters: list[subprocess.Popen[str]]
) -> None:
    rounds = [wave(*widths) for widths in ((2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4))]
    names = []
    for draft in rounds:
        for process in submitters:
            assert process.stdin is not None
            process.stdin.write(json.dumps(draft) + "\n")
            process.stdin.flush()
        said = [json.loads(heard(process)) for process in submitters]
        assert len({name for name, _ in said}) == 1
        assert [is_new for _, is_new in said].count(True) == 1
        names.append(said[0][0])
    assert [path.stem for path in sorted(campaign.layout.waves.glob("*.json"))] == names


def test_who_looked_before_a_wave_was_taken_in_does_not_submit_another(campaign: Campaign) -> None:
    late = seen(campaign)
    first = submit(seen(campaign), wave(3))
    campaign.take_in()
    assert submit(late, wave(3)).name == first.name
    campaign.take_in()
    assert [len(ids) for _, ids in campaign.history.waves if ids].count(1) == 1


@pytest.mark.parametrize("is_torn", [False, True])
def test_a_submitter_that_was_killed_is_made_up_for(campaign: Campaign, is_torn: bool) -> None:
    first = submit(seen(campaign), wave(3))
    (campaign.layout.waves / f"{first.name}.json").unlink()  # killed before it was written
    if is_torn:
        (chosen,) = campaign.layout.waves.iterdir()
        chosen.write_text("")
    again = submit(seen(campaign), wave(3))
    assert again.wave is None
    assert is_torn or again.name == first.name
    assert [p.proposals[0].overrides for p in waiting(seen(campaign))] == [{"width": 3}]
    assert submit(seen(campaign), wave(3)).name == again.name


def test_a_file_that_is_no_wave_waits_for_nobody(campaign: Campaign) -> None:
    campaign.layout.waves.mkdir()
    (campaign.layout.waves / "by-hand.json").write_text("{}")
    assert waiting(seen(campaign)) == []
    campaign.take_in()
    assert (campaign.layout.waves / "by-hand.refused").exists()


def test_what_comes_next_depends_on_who_is_there(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert next_step(seen(campaign)).startswith("no controller is at work")
    acquire(campaign.layout.lease)
    mine = Identity.mine()
    monkeypatch.setattr(Identity, "mine", lambda: Identity(mine.host, 1, 1, mine.boot))
    assert next_step(seen(campaign)).startswith("the controller takes it in at its next turn")
    campaign.layout.stop.write_text("{}")
    assert next_step(seen(campaign)).startswith("the campaign is being stopped")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draft=JSON.filter(lambda value: "inf" not in json.dumps(value).lower()))
def test_the_mark_of_a_draft_depends_on_what_it_says_alone(
    campaign: Campaign, draft: object
) -> None:
    there = seen(campaign)
    again = json.loads(json.dumps(draft))
    assert mark_of(there, draft) == mark_of(there, again)
    assert mark_of(there, draft) != mark_of(there, [draft])
