"""What programs and planners say, shown: it can be seen, it commands nothing, it keeps its place.

Two programs say everything there is in `hostile` wherever they can, on a real node. What is left of
them, and of a wave of such words from outside, is then looked at by every way there is to look.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hostile import CRASHING, EVERYTHING, FORGED, PIECES, SPEAKING
from hypothesis import given
from hypothesis import strategies as st
from nodes import LIMITS
from nodes import Campaign as Node
from outside import Campaign, say
from rich.console import Console
from studies import finish, library, study
from wandb_runs import Run
from wandb_server import WandbServer

from autoresearch.claude.prompt import Task, opening
from autoresearch.claude.quoting import data
from autoresearch.claude.reading import READINGS
from autoresearch.entry import Entry, brief
from autoresearch.experiment import Attempt, Failure, Json, Result, one_line, plain
from autoresearch.layout import Layout
from autoresearch.node.runlog import summary_of
from autoresearch.report import results, story, table
from autoresearch.report.summary import summarize
from autoresearch.report.view import Row, View
from autoresearch.settings import Claude, Tracker
from autoresearch.tracking.naming import RESULT, TEXT_LIMIT, is_taken, logged, shown
from autoresearch.verbs.diff import fit
from autoresearch.verbs.replay import sentence

MOST = 60_000  # characters that a verb may say of a campaign as small as these
HOSTILE = st.lists(st.sampled_from([*PIECES.values(), "x", " ", "\n"]) | st.text()).map("".join)


def unseen(text: str, besides: str = "\n") -> set[str]:
    """Characters that somebody who reads it does not see."""
    return {c for c in text if not c.isprintable() and c not in besides}


# ---- on a node -----------------------------------------------------------------------------------


@dataclass
class Ran:
    """Two attempts, of a program that speaks and of one that crashes as well, and their runs."""

    node: Node
    attempts: tuple[Attempt, Attempt]
    runs: tuple[Run, ...]

    @property
    def results(self) -> list[Result]:
        return [self.node.result(attempt) for attempt in self.attempts]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    root = tmp_path_factory.mktemp("hostile")
    with WandbServer() as server:
        netrc = root / "netrc"
        netrc.write_text(f"machine {server.url[7:]} login user password {server.key}\n")
        netrc.chmod(0o600)
        online = Tracker("wandb", mode="online", project="p", entity="lab", url=server.url)
        node = Node(Layout(root / "c"), tracker=online, limits=replace(LIMITS, output_mb=8))
        node.environment = {"NETRC": str(netrc), "TMPDIR": str(root)}
        node.freeze()
        attempts = node.queue(SPEAKING), node.queue(CRASHING)
        printed = node.run()
        assert not unseen(printed)
        yield Ran(node, attempts, tuple(server.runs.values()))


def test_the_programs_have_spoken(ran: Ran) -> None:
    spoken, crashed = ran.results
    assert spoken.bpb is not None
    assert crashed.failure is Failure.crashed
    assert crashed.reason.startswith("train.py line")
    assert "[31mred" in crashed.reason
    assert all("[31mred" in ran.node.log(attempt) for attempt in ran.attempts)
    assert PIECES["colour"] in spoken.parameters, "a result says what really ran"


def test_what_is_written_on_a_node_can_be_seen_and_is_bounded(ran: Ran) -> None:
    for attempt, result in zip(ran.attempts, ran.results, strict=True):
        assert not unseen(ran.node.log(attempt), "\n\t")
        assert len(ran.node.log(attempt)) < 1 << 17
        assert not unseen(result.reason, "")
        assert len(result.reason) <= 500
        assert not unseen(ran.node.layout.result(attempt).read_text())


def test_wandb_gets_names_and_texts_that_can_be_shown(ran: Ran) -> None:
    assert len(ran.runs) == 2
    for run in ran.runs:
        texts = list(strings([run.config, run.summary, run.history, run.tags, run.name, run.group]))
        assert any("[31mred" in text for text in texts)
        assert not [text for text in texts if unseen(text, "")]
        assert max(map(len, texts)) <= TEXT_LIMIT
        assert not run.log, "what a program prints stays at home"


def test_a_program_cannot_put_a_score_on_wandb(ran: Ran) -> None:
    by_state = {run.state: run for run in ran.runs}
    finished, failed = by_state["finished"], by_state["failed"]
    assert finished.summary["bpb"] == pytest.approx(ran.results[0].bpb)
    assert finished.history, "it has logged"
    assert not [row for row in finished.history if "bpb" in row or row["_timestamp"] == 1.0]
    assert finished.history[0]["program/bpb"] == 1.0
    assert failed.summary.get("bpb") is None


def test_every_name_of_a_result_is_taken() -> None:
    summary = summary_of(Result("e", 1, "p", 1.0, probes={"prefix": 0.0}))
    assert all(map(is_taken, summary))
    assert RESULT - {"result", "signature"} <= summary.keys()


def strings(value: Any) -> Iterator[str]:
    """Every text within, names too."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from strings(each)
    if isinstance(value, str):
        yield value


# ---- a campaign of such words --------------------------------------------------------------------

FIELD = "    rate: float = 0.5  # of learning\n"


def draft(pieces: list[str]) -> Json:
    """A wave that says each of them everywhere."""
    values = {"values": ["plain", *pieces]}
    edits = [{"search": FIELD, "replace": f"{FIELD}    word: str = 'plain'\n"}]
    experiments = [
        {
            "edits": edits,
            "space": {"word": values},
            "overrides": {"word": piece},
            "description": f"{piece} says {name}",
        }
        for name, piece in zip(PIECES, pieces, strict=True)
    ]
    return {"hypothesis": EVERYTHING, "notes": [EVERYTHING], "experiments": experiments}


@pytest.fixture
def campaign(ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Campaign:
    """A wave of hostile words, taken in; its results are the node's, but half of them are as a
    program would write them that no wall holds."""
    made = study(tmp_path)
    wave = tmp_path / "wave.json"
    wave.write_text(json.dumps(draft([piece[:1500] for piece in PIECES.values()])))
    said, _ = say(capsys, "wave", "submit", made.root, str(wave))
    assert not unseen(said)
    made.take_in()
    waiting = [e for e in made.history.entries.values() if e.wave and e.result is None]
    assert len(waiting) == len(PIECES)
    for number, (entry, piece) in enumerate(zip(waiting, PIECES.values(), strict=True)):
        end(made, ran, entry, piece, number)
    return made


def end(campaign: Campaign, ran: Ran, entry: Entry, piece: str, number: int) -> None:
    id, known = entry.experiment.id, ran.results[number // 2 % 2]
    result = replace(known, experiment=id, attempt=1)
    log = ran.node.log(ran.attempts[number // 2 % 2])
    if number % 2:
        names = {piece[:9000]: piece, "word": piece}
        result = replace(result, bpb=None, failure=Failure.crashed, reason=piece, parameters=names)
        log = piece.encode(errors="replace").decode()
    campaign.record.append({"type": "queued", "attempts": [[id, 1]]})
    finish(campaign, Attempt(id, 1), result, log)
    where = {"experiment": id, "attempt": 1}
    campaign.record.append({"type": "finished", **where, "result": brief(result)})


def wave_of(campaign: Campaign) -> list[Entry]:
    return [entry for entry in campaign.history.entries.values() if entry.wave]


def test_every_verb_shows_it_as_text(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign.end(EVERYTHING)
    ids = [entry.experiment.id for entry in wave_of(campaign)]
    verbs = [
        ("status",),
        *(("show", id) for id in ids),
        ("notebook",),
        ("effects",),
        ("effects", "--program", ids[0]),
        ("report",),
    ]
    said = {verb: say(capsys, verb[0], campaign.root, *verb[1:]) for verb in verbs}
    late = tmp_path / "late.json"
    late.write_text(json.dumps(draft(list(PIECES.values()))))
    said["wave",] = say(capsys, "wave", "submit", campaign.root, str(late), code=1)
    assert "[31mred" in said["wave",][1], "why the campaign has ended"
    for verb, (out, err) in said.items():
        assert not unseen(out, "\n\t"), verb
        assert not unseen(err), verb
        assert len(out) < MOST, verb
        assert "Traceback" not in err
    rich = "[red]markup[/red] [/] [link=http://x.invalid]x[/link] :skull:"
    assert rich in "".join(said["show", ids[list(PIECES).index("rich")]])
    assert "[31mred" in "".join(said["status",])


def test_json_is_ascii(campaign: Campaign, capsys: pytest.CaptureFixture[str]) -> None:
    """And says exactly what was said: programs read it."""
    entries = wave_of(campaign)
    for verb in (("status",), ("show", entries[0].experiment.id), ("notebook",), ("effects",)):
        out, _ = say(capsys, verb[0], campaign.root, *verb[1:], "--json")
        assert not unseen(out)
        assert out.isascii()
        assert json.loads(out)
    out, _ = say(capsys, "show", campaign.root, entries[0].experiment.id, "--json")
    assert json.loads(out)["description"] == f"{PIECES['colour']} says colour"


def test_a_result_that_a_program_has_written_is_quoted_as_text(
    campaign: Campaign, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no wall keeps it from that."""
    entry = wave_of(campaign)[0]
    path = campaign.layout.result(entry.current)
    known = json.loads(path.read_text())
    hashes = dict.fromkeys(known["hashes"], EVERYTHING)
    forged = {"hashes": hashes, "pilot": EVERYTHING, EVERYTHING: PIECES["long"]}
    path.write_text(json.dumps(known | forged))
    for words, code in ((["verify"], 1), (["show", entry.experiment.id], 0)):
        out, err = say(capsys, words[0], campaign.root, *words[1:], code=code)
        assert "[31mred" in out
        assert not unseen(out + err, "\n\t")
        assert len(out) < MOST
    compared = {"experiment": "e", "failure": "crashed", "reason": EVERYTHING}
    assert not unseen(sentence(compared), "")


def test_a_wave_that_is_refused_is_quoted_as_text(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "refused.json"
    wrong: Json = {"parent": EVERYTHING, "overrides": {EVERYTHING: EVERYTHING}, EVERYTHING: 1}
    program = {"edits": [{"search": FIELD, "replace": f"{EVERYTHING}\n"}], "description": "x"}
    unknown = {"overrides": {EVERYTHING: 1}}
    for draft in (
        {EVERYTHING: 1},
        {"hypothesis": "x", "experiments": [wrong, program, unknown, {"parent": EVERYTHING}]},
        {"hypothesis": "x", "experiments": [{"source": EVERYTHING}]},
    ):
        path.write_text(json.dumps(draft))
        out, err = say(capsys, "wave", "submit", campaign.root, str(path), "--check", code=1)
        assert not unseen(out + err)
        assert len(out + err) < MOST
        assert "Traceback" not in err


def test_a_program_reaches_a_terminal_as_text() -> None:
    """A file and a pipe get it as it is."""
    text = f"+WORDS = {EVERYTHING}\n"
    assert fit(text, is_terminal=False) == text
    assert not unseen(fit(text, is_terminal=True), "\n\t")


def test_what_wandb_says_of_what_runs_is_text() -> None:
    """Anybody who may write there may have written it."""
    names = {f"{piece} {n}": 1.0 for n, piece in enumerate(PIECES.values())}
    view = View("c", "c", training={EVERYTHING: names}, avoided={EVERYTHING: 3}, lost={})
    out = io.StringIO()
    console = Console(file=out, width=20_000)
    console.print(table.live(view), table.footer(view))
    assert "[red]markup[/red] [/]" in out.getvalue()
    assert not unseen(out.getvalue())


# ---- the report ----------------------------------------------------------------------------------


@given(st.lists(HOSTILE, min_size=1, max_size=4), HOSTILE)
def test_results_keep_a_line_each_and_hold_no_formula(texts: list[str], reason: str) -> None:
    text = results.render(View("c", "c", rows=tuple(row(each, reason) for each in texts)))
    assert not unseen(text, "\n\t")
    assert text.count("\n") == len(texts) + 1
    found = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert len(found) == len(texts)
    for each in found:
        assert None not in each
        assert None not in each.values()
        assert not any(
            str(value).startswith(("=", "+", "@", "\t", "\r")) for value in each.values()
        )
        assert not each["description"].startswith("-")
        assert len(each["description"]) <= 501


def row(description: str, reason: str) -> Row:
    what = ("e", "c", "p", "abc1234", 1, "screen", "screen", "cell", 0, "finished", None, "crash")
    words: dict[str, Any] = {"description": description, "reason": reason, "failure": "crashed"}
    return Row(*what, **words)


@given(HOSTILE)
def test_markdown_shows_it_and_marks_nothing(text: str) -> None:
    """A backslash before each sign that Markdown or HTML could read."""
    written = story.literal(text)
    assert not unseen(written, "")
    assert len(written) <= 2 * story.TEXT
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>&*_`\[\]()#|!~]", re.sub(r"\\[^\\\w\s]", "", written))
    assert re.sub(r"\\(.)", r"\1", written) == one_line(text, story.TEXT)


def test_the_report_at_wandb_marks_nothing_up(campaign: Campaign) -> None:
    known = campaign.history, campaign.settings, campaign.sources
    told = story.tell(summarize(*known), story.facts_of(*known))
    assert not unseen(told.title + told.description, "")
    for section in told.sections:
        assert not unseen(section.title, "")
        for block in section.blocks:
            match block:
                case story.Words():
                    assert not unseen(block.markdown)
                    assert not re.search(r"(?<!\\)[<\[`]", block.markdown)
                    assert len(block.markdown) < MOST
                case story.Code():
                    assert not unseen(block.text, "\n\t")
                case story.Grid():
                    assert not [runs.name for runs in block.run_sets if unseen(runs.name, "")]


# ---- what Claude reads ---------------------------------------------------------------------------

TAG = re.compile(r"<\s*/?\s*data", re.IGNORECASE)


def check_quoted(shown: str) -> None:
    """Between two tags, which nothing in between opens or closes; every line is one of ours."""
    assert len(TAG.findall(shown)) == 2
    assert not unseen(shown, "\n\t")


def test_every_answer_to_claude_is_data(campaign: Campaign) -> None:
    tools = {reading.name: reading for reading in READINGS}
    entries = wave_of(campaign)
    asked: list[tuple[str, Json]] = [("read_results", {"limit": 50}), ("effects", {})]
    for entry in entries:
        name = {"name": entry.experiment.id}
        asked += [(tool, name) for tool in ("read_experiment", "read_log", "read_source")]
        asked.append(("diff", {"one": entry.experiment.id, "other": "baseline"}))
    for tool, words in asked:
        answer = tools[tool].answer(library(campaign), words)
        quoted = data(tool, answer, 8000, tools[tool].kept)
        check_quoted(quoted)
        if tool in ("read_results", "read_experiment", "effects"):
            assert FORGED not in quoted.splitlines(), "somebody's words pass for a line of ours"


def test_a_prompt_holds_it_as_data(campaign: Campaign) -> None:
    task = Task(campaign.layout.root.parent / "task", {}, 2, 4, 1.0)
    start = opening(library(campaign), task, Claude())
    [block] = start.content
    parts = re.split(r"\n\n(?=<data)", block["text"])
    assert len(parts) > 5
    for part in parts[1:]:
        check_quoted(part)
        assert FORGED not in part.splitlines()


# ---- the means -----------------------------------------------------------------------------------


@given(HOSTILE, st.integers(1, 300))
def test_plain_text_can_be_seen_and_is_bounded(text: str, limit: int) -> None:
    found = plain(text, limit)
    assert not unseen(found, "\n\t")
    assert len(found) <= limit + 1
    assert plain(found, limit + 1) == found
    found.encode()


@given(HOSTILE, st.integers(1, 300))
def test_one_line_is_one_line(text: str, limit: int) -> None:
    found = one_line(text, limit)
    assert not unseen(found, "")
    assert len(found) <= limit
    assert found == found.strip()


@given(st.text())
def test_what_can_be_seen_stays(text: str) -> None:
    seen = "".join(c for c in text if c.isprintable())
    assert plain(seen, len(seen) + 1) == seen.strip()


@given(st.dictionaries(HOSTILE, HOSTILE | st.floats() | st.booleans(), max_size=5))
def test_names_for_wandb_are_fit_and_leave_ours_alone(values: dict[str, Any]) -> None:
    for made in (shown({"nested": values}), logged(values)):
        assert not [text for text in strings(made) if unseen(text, "")]
        assert all(len(text) <= TEXT_LIMIT for text in strings(made))
    assert not any(map(is_taken, logged(values)))
    assert set(logged({"bpb": 1.0, "_step": 2.0, "loss": 3.0})) == {
        "program/bpb",
        "program/_step",
        "loss",
    }
