"""History → View: what people read is what was recorded."""

from pathlib import Path

import pytest
from desks import Desk, open_desk
from test_collect import look

from autoresearch.entry import Purpose
from autoresearch.experiment import Failure
from autoresearch.layout import read_json
from autoresearch.report.summary import summarize
from autoresearch.report.view import View


def view(desk: Desk, now: float | None = None) -> View:
    return summarize(desk.history, desk.settings, desk.sources, now)


def finish(desk: Desk, id: str, bpb: float | None, failure: Failure | None = None) -> None:
    desk.answer(desk.claim(id, "p"), bpb, failure)
    look(desk)


def test_the_baseline_gives_the_cell_its_noise_and_what_can_be_detected(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    first, second = desk.ask(1, 2, purpose=Purpose.baseline)
    assert view(desk).detectable is None
    finish(desk, first, 2.0)
    finish(desk, second, 2.2)
    (cell,) = view(desk).cells
    assert cell.baseline_mean == pytest.approx(2.1)
    assert cell.sigma == pytest.approx(0.1 * 2**0.5)
    assert cell.detectable is not None
    assert cell.detectable > 0.1


def test_rows_say_kept_discarded_crashed_running_or_queued(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    kept, crashed, running, queued = desk.ask(1, 2, 3, 4)
    finish(desk, kept, 2.0)
    finish(desk, crashed, None, Failure.diverged)
    desk.record.append({"type": "submitting", "tier": "screen", "pilots": ["p"]})
    desk.claim(running, "p")
    look(desk)
    shown = view(desk)
    status = {row.experiment: row.status for row in shown.rows}
    assert status == {kept: "keep", crashed: "crash", running: "running", queued: "queued"}
    assert shown.failures == {"diverged": 1}
    assert shown.pilots_busy == 1
    (row,) = [row for row in shown.rows if row.experiment == crashed]
    assert row.bpb is None
    assert row.failure == "diverged"
    assert len(row.commit) == 7


def test_results_without_a_sandbox_are_unprotected(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    finish(desk, id, 2.0)
    assert view(desk).is_unprotected


def test_a_certification_is_shown_only_for_the_champion_of_today(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    certified = {
        "type": "certified",
        "champion": "somebody else",
        "difference": -0.1,
        "low": -0.2,
        "high": -0.05,
    }
    desk.record.append(certified)
    assert view(desk).certification is None


def test_hours_are_counted_to_the_last_result_of_an_ended_campaign(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    running = view(desk, now=desk.history.started + 3600).spent["wall_hours"]
    assert running == pytest.approx(1.0)


def test_reading_a_small_file_that_is_missing_or_torn_gives_nothing(tmp_path: Path) -> None:
    assert read_json(tmp_path / "missing.json") is None
    (tmp_path / "torn.json").write_text('{"a": ', encoding="utf-8")
    assert read_json(tmp_path / "torn.json") is None
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    assert read_json(tmp_path / "list.json") is None
