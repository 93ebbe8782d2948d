"""A conversation on disk, and how the API is told of it. Its rules check what is sent."""

import json
from pathlib import Path
from typing import Any

import pytest
from claude_cache import Json
from claude_rules import Memory, faults
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.claude.transcript import TALK, Opening, Transcript, calls, sendable, text
from autoresearch.errors import RecordError

OPENING = Opening([text("You are a scientist.")], [text("Begin.")])
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
USED = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "seen"}
USAGE = {"input_tokens": 5, "output_tokens": 6}


def answer(*content: Json, **more: Any) -> Json:
    ours = {"type": "message", "id": "m", "stop_reason": "tool_use", "usage": USAGE}
    return ours | {"content": list(content)} | more


def test_a_conversation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with Transcript.open(tmp_path / TALK, OPENING) as talk:
        talk.add_answer(answer(THOUGHT, USED), 1)
        talk.add([RESULT], mistake=True)
        lines = talk.lines
    other = Opening([text("Something else.")], [text("Else.")])
    with Transcript.open(tmp_path / TALK, other) as talk:
        assert talk.system == OPENING.system
        assert talk.lines == lines
        assert talk.messages() == [
            {"role": "user", "content": [text("Begin.")]},
            {"role": "assistant", "content": [THOUGHT, USED]},
            {"role": "user", "content": [RESULT]},
        ]
        assert talk.answers[0]["usage"] == USAGE
        assert (talk.mistakes, talk.reminders) == (1, 0)
        assert talk.since_answer() == lines[2:]


def test_each_message_is_a_line(tmp_path: Path) -> None:
    with Transcript.open(tmp_path / TALK, OPENING) as talk:
        talk.add_answer(answer(USED, stop_details=None), 3)
        talk.add([RESULT], reminder=True)
        assert talk.reminders == 1
    lines = [json.loads(line) for line in (tmp_path / TALK).read_text().splitlines()]
    assert [line["role"] for line in lines] == ["system", "user", "assistant", "user"]
    assert lines[2] == {
        "role": "assistant",
        "content": [USED],
        "stop_reason": "tool_use",
        "usage": USAGE,
        "request": 3,
    }


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_torn_message_was_never_said(tmp_path: Path, kept: int) -> None:
    with Transcript.open(tmp_path / TALK, OPENING) as talk:
        talk.add_answer(answer(USED), 1)
    lines = (tmp_path / TALK).read_bytes().splitlines(keepends=True)
    (tmp_path / TALK).write_bytes(b"".join(lines[:kept]) + b'{"role": "assis')
    with Transcript.open(tmp_path / TALK, OPENING) as talk:
        assert len(talk.answers) == (kept == 3)
        assert talk.messages()[0] == {"role": "user", "content": [text("Begin.")]}
        assert talk.since_answer() == ([] if kept == 3 else talk.lines)


def test_a_file_that_is_no_conversation_is_told(tmp_path: Path) -> None:
    (tmp_path / TALK).write_text('{"role": "user", "content": []}\n{"sent": 1}\n')
    with pytest.raises(RecordError, match="should hold a conversation"):
        Transcript.open(tmp_path / TALK, OPENING)


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ([THOUGHT, USED], [THOUGHT, USED]),
        ([THOUGHT, text("")], []),
        ([THOUGHT, text("a"), THOUGHT], [THOUGHT, text("a")]),
        ([text(" \n"), USED], [USED]),
        ([text("a"), {**USED, "input": '{"at": '}], [text("a")]),
        ([{**USED, "input": {}}], [{**USED, "input": {}}]),
        ([{"type": "redacted_thinking", "data": "x"}], []),
        ([{"type": "text"}], []),
        ([], []),
    ],
)
def test_the_api_takes_no_empty_end_of_its_own_answer(
    content: list[Json], kept: list[Json]
) -> None:
    assert sendable(content) == kept
    assert calls(content) == [block for block in kept if block["type"] == "tool_use"]


SAID = st.sampled_from([[], [text("a")], [text("")], [THOUGHT], [THOUGHT, text("b")]])


@given(said=st.lists(SAID, max_size=6), paused=st.booleans())
def test_whatever_claude_says_the_api_takes_back(
    tmp_path_factory: pytest.TempPathFactory, said: list[list[Json]], paused: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / TALK
    path.unlink(missing_ok=True)
    memory = Memory(thoughts={"s": "Hm."})
    with Transcript.open(path, OPENING) as talk:
        for number, content in enumerate(said, 1):
            talk.add_answer(answer(*content, stop_reason="end_turn"), number)
            if not paused:
                talk.add([text("go on")])
        if paused:
            talk.add([text("go on")])
        body = {"model": "m", "max_tokens": 9, "messages": talk.messages()}
    assert list(faults(body, memory)) == []
