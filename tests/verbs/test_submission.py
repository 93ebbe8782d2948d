"""When a campaign takes a wave from outside, how large it may be, what becomes of it."""

import json
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
