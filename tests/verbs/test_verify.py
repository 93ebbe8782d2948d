"""`autoresearch verify` on the command line; what it finds has its own tests."""

import json
from pathlib import Path

import pytest
from desks import Desk, open_desk
from outside import ask, say

from autoresearch import config, judge
from autoresearch.entry import Purpose, brief
from autoresearch.experiment import Result
from autoresearch.layout import write_atomically

Said = pytest.CaptureFixture[str]
PROBES = ("random_excess", "prefix_difference", "challenge_mean", "challenge_worst")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """With one experiment of which everything is as it should be."""
    desk = open_desk(tmp_path / "c")
    desk.layout.config.write_text(config.to_yaml(desk.settings))
    finish(desk, *judge.screening_seeds(desk.settings, 1))
    return desk


def finish(desk: Desk, seed: int) -> Path:
    """An experiment, start to end; where its result lies."""
    (id,) = desk.ask(seed, purpose=Purpose.baseline)
    experiment, attempt = desk.history.entries[id].experiment, desk.claim(id, "p")
    made_of = {"program": experiment.candidate.program, "manifest": experiment.cell.data}
    result = Result(
        *(id, 1, "p", 2.0),
        device={"threads": 1},
        probes=dict.fromkeys(PROBES, 0.0),
        hashes={"experiment": id, **made_of},
    )
    write_atomically(desk.layout.result(attempt), json.dumps(result.to_json()))
    where = {"experiment": id, "attempt": 1}
    desk.record.append({"type": "finished", **where, "result": brief(result)})
    return desk.layout.result(attempt)


def root(desk: Desk) -> str:
    return str(desk.layout.root)


def test_nothing_wrong_is_said_so(desk: Desk, capsys: Said) -> None:
    out, err = say(capsys, "verify", root(desk))
    lines = out.splitlines()
    assert err == ""
    assert "ok     1 result: within the tolerances of the scoring settings" in lines
    assert lines[-1] == "Nothing is wrong"
    assert {line.split()[0] for line in lines[:-1]} == {"ok", "note"}
    assert ask(capsys, "verify", root(desk))["ok"] is True


def test_what_is_wrong_is_a_line_each_and_an_exit_code(desk: Desk, capsys: Said) -> None:
    first, second = finish(desk, 7), finish(desk, 8)  # seeds that no rule has drawn
    second.unlink()
    out, err = say(capsys, "verify", root(desk), code=1)
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith("ok     ")
    assert lines[-1] == "3 complaints"
    name = f"experiments/{second.parent.parent.name}/attempt-1/result.json"
    at = lines.index("wrong  3 results: as the journal has them")
    assert lines[at + 1].startswith(f"       {name}: should be there, for the journal has 2.0 bits")
    name = f"experiments/{first.parent.parent.name}/experiment.json"
    assert f"       {name}: seed 7 should not be used for baseline" in lines


def test_the_answer_says_the_same(desk: Desk, capsys: Said) -> None:
    finish(desk, 7).unlink()
    answer = ask(capsys, "verify", root(desk), code=1)
    assert set(answer) == {"schema", "ok", "checks", "notes"}
    assert answer["ok"] is False
    (agreement,) = [check for check in answer["checks"] if check["name"] == "agreement"]
    assert set(agreement) == {"name", "noun", "claim", "count", "complaints"}
    assert (agreement["count"], len(agreement["complaints"])) == (2, 1)


def test_it_writes_nothing(desk: Desk, capsys: Said) -> None:
    before = state_of(desk)
    say(capsys, "verify", root(desk))
    assert state_of(desk) == before


def state_of(desk: Desk) -> dict[str, tuple[int, int]]:
    paths = desk.layout.root.rglob("*")
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in paths}


def test_a_damaged_journal_is_a_complaint_among_others(desk: Desk, capsys: Said) -> None:
    (path,) = desk.layout.journal.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"name":"t"', b'"name":"u"'))
    out, err = say(capsys, "verify", root(desk), code=1)
    assert err == ""
    assert f"{path} is damaged at byte" in out
    assert "ok     1 result: of this program, this node code, this data" in out
    assert "no decision could be checked" in out


def test_a_folder_that_is_no_campaign_is_one_line(tmp_path: Path, capsys: Said) -> None:
    out, err = say(capsys, "verify", str(tmp_path), code=1)
    assert (out, err.count("\n")) == ("", 1)
    assert "should be a campaign directory" in err
