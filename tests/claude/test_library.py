"""A campaign as the researcher reads it: as it is now, cheaply, and whatever its files are like."""

from pathlib import Path

import pytest
from outside import Campaign
from studies import finish, library, study

from autoresearch.claude import library as module
from autoresearch.claude.library import LOG_BYTES
from autoresearch.errors import AutoresearchError
from autoresearch.experiment import Attempt, Result
from autoresearch.layout import read_json


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return study(tmp_path)


def test_it_has_the_settings_as_they_were_amended(campaign: Campaign) -> None:
    campaign.record.append({"type": "amended", "overrides": ["budget.experiments=77"]})
    assert library(campaign).settings.budget.experiments == 77


def test_what_is_no_campaign_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises((AutoresearchError, OSError)):
        module.Library.open(tmp_path)


def test_results_that_come_in_are_seen(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    books = library(campaign)
    before = books.history
    campaign.screen(1.5, {"width": 3})
    assert books.history is before  # it was read a moment ago
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    assert len(books.history.entries) == len(before.entries) + 1
    assert books.history is books.history  # nothing new: nothing is read


def test_it_is_read_at_once_when_something_has_surely_happened(campaign: Campaign) -> None:
    books = library(campaign)
    campaign.screen(1.5, {"width": 3})
    books.expire()
    assert len(books.history.entries) == 4


def test_a_result_is_read_whole_or_else_from_the_journal(campaign: Campaign) -> None:
    campaign.screen(1.5, {"width": 3})
    books = library(campaign)
    entry = list(books.history.entries.values())[-1]
    assert books.result(entry) == entry.result  # no file
    attempt = Attempt(entry.experiment.id, 1)
    whole = Result(entry.experiment.id, 1, "p", 1.5, parameters={"width": 3})
    finish(campaign, attempt, whole)
    assert books.result(entry) == whole
    path = campaign.layout.result(attempt)
    for damaged in ("{", '{"schema": 1}', path.read_text().replace("1.5", '"low"')):
        path.write_text(damaged)
        assert books.result(entry) == entry.result
    assert read_json(path) is not None  # the last one was JSON, and no result


def test_of_a_log_the_end_is_read(campaign: Campaign) -> None:
    campaign.screen(1.5, {"width": 3})
    books = library(campaign)
    entry = list(books.history.entries.values())[-1]
    assert books.log(entry.current) == ""
    finish(campaign, entry.current, Result(entry.experiment.id, 1, "p", 1.5), "x" * 10**6 + "end")
    assert books.log(entry.current).endswith("xend")
    assert len(books.log(entry.current)) == LOG_BYTES
    campaign.layout.log(entry.current).write_bytes(b"\xff\xfe")
    assert books.log(entry.current) == "��"
