"""Conversations with a local server that is as strict as the real one, under every trouble.

Wherever one ends, it has counted at least what the server bills, and the server was never asked
for what is on disk already.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from claude_cache import Json, prompt_tokens, tokens
from claude_server import (
    COUNT,
    MESSAGES,
    Answer,
    ClaudeServer,
    Fault,
    Request,
    Scientist,
    says,
    script,
    use,
    uses,
)
from hypothesis import HealthCheck, given
from hypothesis import settings as searching
from hypothesis import strategies as st

from autoresearch.claude import patience
from autoresearch.claude.client import Client, connect
from autoresearch.claude.conversation import REMINDER, Ending, converse
from autoresearch.claude.ledger import SPEND, Ledger
from autoresearch.claude.lines import Lines
from autoresearch.claude.prices import Usage, cost, worst_case
from autoresearch.claude.tools import Done, Mistake, Tool
from autoresearch.claude.transcript import TALK, Opening, text
from autoresearch.errors import ConfigError, UserError
from autoresearch.settings import Claude, Price

OPUS = Price(4, 20)
LONG = "words " * 1000  # 1500 tokens: worth a place in the cache
OPENING = Opening([text("You are a scientist. " + LONG)], [text("Find a better program.")])
LOOK = {
    "type": "object",
    "required": ["at"],
    "additionalProperties": False,
    "properties": {"at": {"type": "integer"}},
}
MakeSettings = Callable[..., Claude]


@dataclass
class Lab:
    """A folder, tools that remember what they were asked, and all it takes to converse."""

    server: ClaudeServer
    settings: Claude
    folder: Path
    stack: ExitStack  # holds its clients
    looked: list[int] = field(default_factory=list)
    allowance: float = 10.0
    stop: Event = field(default_factory=Event)
    reaction: Callable[[int], str] = lambda at: f"at {at} there is {at * 2}"

    def look(self, asked: Json) -> str:
        self.looked.append(asked["at"])
        return self.reaction(asked["at"])

    @property
    def tools(self) -> list[Tool]:
        return [
            Tool("look", "Look at a number.", LOOK, self.look),
            Tool("finish", "The end.", {"type": "object"}, lambda _: Done()),
        ]

    def connect(self) -> Client:
        return self.stack.enter_context(connect(self.settings))

    def converse(self, opening: Opening = OPENING, **more: Any) -> Ending:
        ending = converse(
            more.pop("client", None) or self.connect(),
            self.settings,
            more.pop("tools", self.tools),
            opening,
            folder=self.folder,
            allowance_usd=self.allowance,
            stop=self.stop,
        )
        price = self.settings.prices[self.settings.model]
        assert ending.usd >= billed(self.server, price) - 1e-9
        assert "\n" not in ending.problem
        assert ending.done == (not ending.problem)
        return ending

    @property
    def told(self) -> list[Json]:
        """The content of what Claude was told last."""
        content: list[Json] = self.server.bodies[-1]["messages"][-1]["content"]
        return [{k: v for k, v in block.items() if k != "cache_control"} for block in content]


def billed(server: ClaudeServer, price: Price = OPUS) -> float:
    return sum(cost(Usage.from_api(usage, "5m"), price) for usage in server.billed)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_SECONDS", 0.02)


@pytest.fixture
def lab(tmp_path: Path, settings_for: MakeSettings) -> Iterator[Callable[..., Lab]]:
    """Makes a lab; its server must have no complaints in the end."""
    servers: list[ClaudeServer] = []
    stack = ExitStack()

    def make(*answers: Answer | Scientist, **more: Any) -> Lab:
        scientist = answers[0] if callable(answers[0]) else script(*answers)  # type: ignore[arg-type]
        server = ClaudeServer(scientist)
        server.__enter__()
        servers.append(server)
        folder = tmp_path / f"talk{len(servers)}"
        folder.mkdir()
        return Lab(server, settings_for(server, **more), folder, stack)

    with stack:
        yield make
    for server in servers:
        server.close()


MakeLab = Callable[..., Lab]
FINISH = uses("finish", "That is all.")


# ---- when all goes well ------------------------------------------------------------------------


def test_claude_looks_and_finishes(lab: MakeLab) -> None:
    mine = lab(uses("look", "Let me look.", at=3), FINISH)
    ending = mine.converse()
    assert (ending.problem, ending.done, ending.requests) == ("", True, 2)
    assert mine.looked == [3]
    [result] = mine.told
    assert result["content"] == "at 3 there is 6"
    assert "is_error" not in result
    assert ending.usd == pytest.approx(billed(mine.server))
    assert ending.usage.output == sum(usage["output_tokens"] for usage in mine.server.billed)
    assert ending.usage.prompt == sum(prompt_tokens(body) for body in mine.server.bodies)


def test_a_request_asks_as_the_settings_say(lab: MakeLab) -> None:
    mine = lab(FINISH, effort="max", max_tokens=777)
    mine.converse()
    [body] = mine.server.bodies
    assert body["model"] == "claude-opus-5-5"
    assert body["max_tokens"] == 777
    assert body["thinking"] == {"type": "adaptive"}
    assert body["output_config"] == {"effort": "max"}
    assert [tool["name"] for tool in body["tools"]] == ["look", "finish"]
    assert mine.server.requests[0].path == COUNT


def test_answers_go_back_exactly_as_they_came(lab: MakeLab) -> None:
    thoughts = Answer([text("Well."), use("look", at=1)], thinking="Hm ü \u2028 …")
    mine = lab(thoughts, uses("look", "Again.", at=2), FINISH)
    mine.converse()
    answers = [r.answer["content"] for r in mine.server.requests if r.path == MESSAGES]
    sent = [m["content"] for m in mine.server.bodies[-1]["messages"] if m["role"] == "assistant"]
    assert sent == answers[:-1]


def test_calls_of_one_answer_are_all_made_in_order(lab: MakeLab) -> None:
    last = Answer([use("look", at=3), use("finish"), use("look", at=4)])
    mine = lab(Answer([use("look", at=1), use("look", at=2)]), last)
    assert mine.converse().done
    assert mine.looked == [1, 2, 3, 4]
    assert [block["content"][:4] for block in mine.told] == ["at 1", "at 2"]


def test_a_silent_tool_says_so_and_odd_text_arrives(lab: MakeLab) -> None:
    mine = lab(uses("look", at=1), uses("look", at=2), FINISH)
    said = iter([" \n", "half a \ud800 sign"])
    mine.reaction = lambda at: next(said)
    assert mine.converse().done
    results = [m["content"][0] for m in mine.server.bodies[-1]["messages"][2::2]]
    assert [result["content"] for result in results] == ["(nothing)", "half a ? sign"]


def test_a_paused_turn_goes_on(lab: MakeLab) -> None:
    mine = lab(Answer([text("One moment.")], "pause_turn"), uses("look", at=1), FINISH)
    assert mine.converse().done
    roles = [message["role"] for message in mine.server.bodies[-1]["messages"]]
    assert roles == ["user", "assistant", "user"]


# ---- the cache ---------------------------------------------------------------------------------


def far(body: Json) -> Answer:
    """Looks six times, then finishes."""
    turns = sum(message["role"] == "assistant" for message in body["messages"])
    return uses("look", f"Turn {turns}.", at=turns) if turns < 6 else FINISH


def test_a_long_conversation_is_read_from_the_cache(lab: MakeLab) -> None:
    mine = lab(far)
    mine.reaction = lambda at: f"{at} {LONG}"
    ending = mine.converse()
    assert ending.done
    for body, before, usage in zip(
        mine.server.bodies[1:], mine.server.bodies, mine.server.billed[1:], strict=False
    ):
        assert usage["cache_read_input_tokens"] == prompt_tokens(before)
        assert usage["input_tokens"] == 0
        assert 1 <= str(body).count("cache_control") <= 4
    assert ending.usage.cache_share > 0.6
    assert ending.usage.cache_write_1h == 0


def test_the_hour_cache_is_asked_for_and_paid_as_such(lab: MakeLab) -> None:
    mine = lab(uses("look", at=1), FINISH, cache="1h")
    ending = mine.converse()
    assert ending.usage.cache_write_5m == 0
    assert ending.usage.cache_write_1h >= tokens(OPENING.system[0])
    assert ending.usd == pytest.approx(billed(mine.server))


def test_an_answer_of_many_calls_does_not_lose_the_cache(lab: MakeLab) -> None:
    many = Answer([use("look", at=n) for n in range(25)])
    mine = lab(uses("look", at=0), many, FINISH)
    mine.reaction = lambda at: f"{at} {LONG}"
    mine.converse()
    last = mine.server.billed[-1]
    assert last["cache_read_input_tokens"] == prompt_tokens(mine.server.bodies[-2])


# ---- answers that cannot be used ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (uses("look", at="here"), "at should be a whole number, but was 'here'"),
        (uses("look", at=1, to=2), "to is unknown; did you mean 'at'?"),
        (uses("look"), "at is missing"),
        (uses("looks", at=1), "there is no tool 'looks'; did you mean 'look'?"),
        (uses("look", at=13), "13 cannot be looked at"),
    ],
)
def test_a_mistake_is_told_and_may_be_repaired(lab: MakeLab, answer: Answer, told: str) -> None:
    def react(at: int) -> str:
        if at == 13:
            raise Mistake("13 cannot be looked at")
        return "fine"

    mine = lab(answer, uses("look", at=1), FINISH)
    mine.reaction = react
    assert mine.converse().done
    first = mine.server.bodies[1]["messages"][2]["content"][0]
    assert (first["is_error"], first["content"]) == (True, told)


def test_one_mistake_among_calls_leaves_the_others(lab: MakeLab) -> None:
    mine = lab(Answer([use("look", at=1), use("look"), use("look", at=2)]), FINISH)
    assert mine.converse().done
    assert mine.looked == [1, 2]
    assert [block.get("is_error", False) for block in mine.told] == [False, True, False]


def test_too_many_mistakes_end_it(lab: MakeLab) -> None:
    mine = lab(lambda body: uses("look", at="x" * len(body["messages"])), mistakes=3)
    ending = mine.converse()
    assert ending.problem == (
        "gave up after 3 answers that could not be used: "
        "at should be a whole number, but was 'xxxxx'"
    )
    assert ending.requests == 3
    assert mine.converse().problem == ending.problem  # and stays ended
    assert len(mine.server.bodies) == 3


def test_a_cut_call_is_answered_and_not_made(lab: MakeLab) -> None:
    mine = lab(Answer([use("look", at=1), use("look", at=2)]), FINISH)
    mine.server.cut()
    assert mine.converse().done
    assert mine.looked == []
    told = "your answer was cut at 2000 tokens; make it shorter"
    assert [(b["is_error"], b["content"]) for b in mine.told] == [(True, told)] * 2


@pytest.mark.parametrize(
    "cut",
    [
        Answer([text("I was just about to")], "max_tokens"),
        Answer([], "max_tokens", thinking="Hm, hm"),
        Answer([], "max_tokens"),
        Answer([text("")], "max_tokens", thinking="Hm"),
    ],
)
def test_a_cut_answer_without_a_call_leaves_a_valid_history(lab: MakeLab, cut: Answer) -> None:
    mine = lab(cut, uses("look", at=1), FINISH)
    assert mine.converse().done
    second = mine.server.bodies[1]["messages"][-1]["content"]
    assert second[-1]["text"] == "your answer was cut at 2000 tokens; make it shorter"


def test_cuts_count_as_mistakes(lab: MakeLab) -> None:
    mine = lab(lambda body: uses("look", at=1), mistakes=2)
    mine.server.cut(times=9)
    assert mine.converse().problem == (
        "gave up after 2 answers that could not be used: "
        "your answer was cut at 2000 tokens; make it shorter"
    )


def test_an_answer_without_a_call_is_reminded_once(lab: MakeLab) -> None:
    mine = lab(says("I think."), uses("look", at=1), says("Therefore I am."))
    ending = mine.converse()
    assert mine.server.bodies[1]["messages"][-1]["content"][0]["text"] == REMINDER
    assert ending.problem == "Claude stopped without a tool call, twice: 'Therefore I am.'"
    assert mine.looked == [1]


def test_an_empty_answer_is_reminded_too(lab: MakeLab) -> None:
    mine = lab(Answer([]), FINISH)
    assert mine.converse().done
    assert [block["text"] for block in mine.told] == [OPENING.content[0]["text"], REMINDER]


def test_a_refusal_ends_it(lab: MakeLab) -> None:
    mine = lab(says("never said"))
    mine.server.refuse()
    ending = mine.converse()
    assert ending.problem == "Claude refused: frontier_llm, It may help."
    assert mine.converse().problem == ending.problem
    assert ending.requests == 1


def test_a_full_context_ends_it(lab: MakeLab) -> None:
    mine = lab(Answer([text("And")], "model_context_window_exceeded"))
    assert mine.converse().problem == "the conversation has become too long for the model"


def test_a_tools_own_error_is_not_claudes(lab: MakeLab) -> None:
    def fail(at: int) -> str:
        raise UserError("the disk is full")

    mine = lab(uses("look", at=1), FINISH)
    mine.reaction = fail
    with pytest.raises(UserError, match="the disk is full"):
        mine.converse()
    mine.reaction = lambda at: "better now"
    assert mine.converse().done  # the same call is made again, nothing is asked twice
    assert mine.looked == [1, 1]
    assert len(mine.server.bodies) == 2


# ---- bounds ------------------------------------------------------------------------------------


def test_requests_are_bounded_and_claude_is_told(lab: MakeLab) -> None:
    mine = lab(lambda body: uses("look", at=1), requests=4)
    ending = mine.converse()
    assert ending.problem == "claude.requests: all 4 of them were made"
    assert ending.requests == len(mine.server.bodies) == 4
    said = [body["messages"][-1]["content"][-1].get("text", "") for body in mine.server.bodies]
    assert said[2:] == [f"Answers left in this conversation: {left}." for left in (2, 1)]
    assert "left" not in said[1]


def test_time_is_bounded(lab: MakeLab) -> None:
    mine = lab(lambda body: uses("look", at=1), seconds=0.3)
    mine.server.slow(0.05)
    ending = mine.converse()
    assert "claude.seconds" in ending.problem or "no answer within" in ending.problem
    assert ending.requests >= 2


def test_nothing_is_asked_without_money(lab: MakeLab) -> None:
    mine = lab(FINISH)
    mine.allowance = 0.0
    ending = mine.converse()
    assert ending.problem.startswith("budget.usd_agent leaves $0.00 for this wave")
    assert (ending.usd, ending.requests, mine.server.bodies) == (0.0, 0, [])


def test_money_bounds_a_conversation(lab: MakeLab) -> None:
    mine = lab(lambda body: uses("look", "x" * 3000, at=1), requests=100)
    mine.allowance = 0.25
    ending = mine.converse()
    assert ending.problem.startswith("budget.usd_agent leaves $0.")
    assert ending.usd == pytest.approx(billed(mine.server))
    assert 0.1 < ending.usd <= 0.25
    assert ending.requests > 3


@pytest.mark.parametrize(("thought", "seen"), [("Hm. " * 1500, "x"), ("Hm.", "ü€😀" * 3000)])
def test_what_is_reserved_covers_every_answer(lab: MakeLab, thought: str, seen: str) -> None:
    """Whatever Claude thinks and tools say, even where the cache forgets all of it in between."""

    def think(body: Json) -> Answer:
        return uses("look", thought, at=1) if len(body["messages"]) < 6 else FINISH

    free = Price(4, 0.0)  # answers cost nothing, so that prompts must be covered by themselves
    mine = lab(think, prices={"claude-opus-5-5": free})

    def react(at: int) -> str:
        mine.server.forward(400)
        return seen

    mine.reaction = react
    assert mine.converse().done
    lines = [json.loads(line) for line in (mine.folder / SPEND).read_text().splitlines()]
    assert len(lines) == 8
    for sent, paid in zip(lines[::2], lines[1::2], strict=True):
        assert 0 < paid["usd"] <= sent["usd_at_most"]
    first = worst_case(prompt_tokens(mine.server.bodies[0]), 2000, free, "5m")
    assert first * 1.04 <= lines[0]["usd_at_most"] <= first * 1.06


def test_a_prompt_that_cannot_be_counted_is_taken_by_its_bytes(lab: MakeLab) -> None:
    mine = lab(FINISH)
    mine.server.fail(404, path=COUNT)
    assert mine.converse().done
    sent = json.loads((mine.folder / SPEND).read_text().splitlines()[0])
    assert sent["usd_at_most"] > worst_case(6000, 2000, OPUS, "5m")


def test_money_that_lacks_for_an_uncounted_prompt_says_why(lab: MakeLab) -> None:
    mine = lab(FINISH)
    mine.server.fail(401, path=COUNT)
    mine.allowance = 0.05
    problem = mine.converse().problem
    assert problem.startswith("budget.usd_agent leaves $0.05 for this wave")
    assert "its tokens could not be counted: the key was refused (401)" in problem


def test_a_model_without_a_price_is_not_asked(lab: MakeLab) -> None:
    mine = lab(FINISH, model="claude-opus-5-6")
    with pytest.raises(ConfigError, match=r"price of claude-opus-5-6, .* 'claude-opus-5-5'"):
        mine.converse()
    assert mine.server.requests == []


# ---- a server in trouble -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 529])
def test_a_busy_server_is_asked_again(lab: MakeLab, status: int) -> None:
    mine = lab(uses("look", at=1), FINISH, patience=5.0)
    mine.server.fail(status, times=2)
    ending = mine.converse()
    assert ending.done
    assert ending.requests == 4
    assert ending.usd == pytest.approx(billed(mine.server))  # what failed is free


def test_a_server_that_stays_busy_is_given_up(lab: MakeLab) -> None:
    mine = lab(FINISH)
    mine.server.fail(529, times=99)
    ending = mine.converse()
    assert ending.problem == "overloaded (529): injected; waited 0.2 s for it (claude.patience)"
    assert ending.usd == 0.0
    assert 2 <= ending.requests <= 20


def test_the_wait_a_server_asks_for_is_kept(lab: MakeLab) -> None:
    mine = lab(FINISH, patience=20.0)
    mine.server.fail(429, headers={"retry-after": "0.7"})
    begin = time.monotonic()
    assert mine.converse().done
    assert time.monotonic() - begin >= 0.7


def test_an_absurd_wait_is_not_waited(lab: MakeLab) -> None:
    mine = lab(FINISH, patience=20.0)
    mine.server.fail(429, headers={"retry-after": "86400"})
    ending = mine.converse()
    assert ending.problem == (
        "rate limited (429): injected; it asks to wait 86400 s, and claude.patience leaves 20 s"
    )
    assert ending.requests == 1


def test_patience_is_for_a_whole_wave(lab: MakeLab) -> None:
    """One failure before every answer: no single outage is long, but together they are."""
    mine = lab(lambda body: uses("look", at=1), patience=1.0, requests=1000)
    mine.server.rule = every_second(mine.server)
    ending = mine.converse()
    assert "waited 1 s for it (claude.patience)" in ending.problem
    assert len(mine.looked) > 1


def every_second(server: ClaudeServer) -> Callable[[Request], Fault | None]:
    fault = Fault("status", status=500, error={"type": "api_error", "message": "x"})

    def rule(request: Request) -> Fault | None:
        asked = sum(earlier.path == MESSAGES for earlier in server.requests)
        return fault if request.path == MESSAGES and asked % 2 else None

    return rule


def test_a_dropped_connection_counts_at_its_worst_case(lab: MakeLab) -> None:
    mine = lab(FINISH, patience=5.0)
    mine.server.drop()
    ending = mine.converse()
    assert ending.done
    lines = [json.loads(line) for line in (mine.folder / SPEND).read_text().splitlines()]
    assert lines[1] == {"failed": 1, "usd": lines[0]["usd_at_most"]}
    assert ending.usd > billed(mine.server)


def test_an_answer_that_comes_too_late_is_asked_for_again(
    lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.3)
    mine = lab(FINISH, FINISH, patience=5.0)
    mine.server.slow(1.0, times=1)
    ending = mine.converse()
    assert ending.done
    assert ending.requests == 2
    wait_for(lambda: len(mine.server.billed) == 2)
    assert ending.usd >= billed(mine.server)


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_that_is_down_costs_nothing(lab: MakeLab) -> None:
    mine = lab(FINISH)
    mine.server.down()
    ending = mine.converse()
    assert ending.problem.startswith("127.0.0.1 cannot be reached: ")
    assert ending.problem.endswith("waited 0.2 s for it (claude.patience)")
    assert ending.usd == 0.0


def test_a_server_that_comes_up_again_is_found(lab: MakeLab) -> None:
    mine = lab(uses("look", at=1), FINISH, patience=20.0)

    def react(at: int) -> str:
        mine.server.down()
        Timer(0.5, mine.server.up).start()
        return "the line is dead"

    mine.reaction = react
    ending = mine.converse()
    assert ending.done
    assert ending.requests > 2


@pytest.mark.parametrize(
    ("trouble", "problem"),
    [
        (lambda s: s.fail(401), "the key was refused (401): injected; check ANTHROPIC_API_KEY or"),
        (lambda s: s.fail(403), "the request was refused (403): injected; the key may not"),
        (lambda s: s.fail(400), "the request was refused (400): injected; see claude.model"),
        (lambda s: s.spend_limit(), "the account's spend limit is reached (429)"),
        (lambda s: s.garbage(), "the answer should be a message"),
    ],
)
def test_what_will_not_pass_ends_it_at_once(
    lab: MakeLab, trouble: Callable[[ClaudeServer], None], problem: str
) -> None:
    mine = lab(FINISH, patience=20.0)
    trouble(mine.server)
    ending = mine.converse()
    assert ending.problem.startswith(problem)
    assert ending.requests == len(mine.server.bodies) == 1


def test_an_unknown_model_ends_it_at_once(lab: MakeLab) -> None:
    mine = lab(FINISH, model="claude-x", prices={"claude-x": OPUS})
    assert "(404): model: claude-x; check claude.model" in mine.converse().problem
    assert len(mine.server.bodies) == 1


def test_a_stop_ends_it_before_the_next_request(lab: MakeLab) -> None:
    mine = lab(uses("look", at=1), FINISH)

    def react(at: int) -> str:
        mine.stop.set()
        return "stop!"

    mine.reaction = react
    ending = mine.converse()
    assert (ending.problem, ending.requests) == ("stopped", 1)
    mine.stop.clear()
    assert mine.converse().done  # and it can be gone on with


TROUBLES = st.lists(
    st.sampled_from(["fine", "fail", "drop", "cut", "refuse", "garbage", "limit"]), max_size=8
)


@searching(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(troubles=TROUBLES, allowance=st.floats(0, 0.5))
def test_no_trouble_spends_more_than_is_allowed(
    lab: MakeLab, troubles: list[str], allowance: float
) -> None:
    mine = lab(far, patience=0.05, requests=12)
    mine.allowance = allowance
    client = mine.connect()
    faults: dict[str, Callable[[], None]] = {
        "fine": lambda: mine.server.slow(0.0, times=1),
        "fail": lambda: mine.server.fail(500, headers={"retry-after": "0"}),
        "drop": mine.server.drop,
        "cut": mine.server.cut,
        "refuse": mine.server.refuse,
        "garbage": mine.server.garbage,
        "limit": mine.server.spend_limit,
    }
    for trouble in troubles:
        faults[trouble]()
    for _ in range(2):  # once more: whatever it ended with, it may be taken up
        assert mine.converse(client=client).usd <= allowance + 1e-9


# ---- killed ------------------------------------------------------------------------------------


@contextmanager
def watched() -> Iterator[list[tuple[str, int]]]:
    """Which file was how long after each line that was written."""
    seen: list[tuple[str, int]] = []
    append = Lines.append

    def watching(self: Lines, record: Json) -> None:
        append(self, record)
        seen.append((self.path.name, self.path.stat().st_size))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lines, "append", watching)
        yield seen


def test_killed_after_any_line_nothing_that_was_paid_is_asked_again(lab: MakeLab) -> None:
    """The folder as it was after each line, in the order they were written: gone on with."""
    mine = lab(far)
    client = mine.connect()
    with watched() as seen:
        whole = mine.converse(client=client)
    final = {name: (mine.folder / name).read_bytes() for name in (TALK, SPEND)}
    asked = len(mine.server.bodies)
    assert len(seen) > 20
    interrupted = 0
    for count in range(len(seen) + 1):
        lengths = {TALK: 0, SPEND: 0} | dict(seen[:count])
        for name, length in lengths.items():
            (mine.folder / name).write_bytes(final[name][:length])
        answers = (mine.folder / TALK).read_bytes().count(b'"role": "assistant"')
        with Ledger.open(mine.folder / SPEND, 10.0) as ledger:
            sent = ledger.spent.requests
        before = len(mine.server.bodies)
        mine.server.billed.clear()
        ending = mine.converse(client=client)
        more = len(mine.server.bodies) - before
        if sent > answers:
            interrupted += 1
            assert "interrupted while a request was in flight" in ending.problem
            assert more == 0
        else:
            assert ending.done
            assert more == asked - answers
            assert ending.requests == whole.requests
            assert ending.usage.output == whole.usage.output
    assert interrupted == asked


CHILD = """
import json, sys, time
from pathlib import Path
from autoresearch.claude.client import connect
from autoresearch.claude.conversation import converse
from autoresearch.claude.tools import Done, Tool
from autoresearch.claude.transcript import Opening, text
from autoresearch.settings import Claude
folder, sleep = Path(sys.argv[2]), float(sys.argv[3])
def look(asked):
    (folder / "looking").touch()
    time.sleep(sleep)
    return "seen"
anything = {"type": "object"}
tools = [Tool("look", "", anything, look), Tool("finish", "", anything, lambda _: Done())]
opening = Opening([text("S")], [text("U")])
settings = Claude.from_json(json.loads(sys.argv[1]))
with connect(settings) as client:
    ending = converse(client, settings, tools, opening, folder=folder, allowance_usd=10.0)
print(json.dumps([ending.problem, ending.requests, ending.done]))
"""


def child(mine: Lab, sleep: float = 0.0) -> "subprocess.Popen[str]":
    words = [json.dumps(asdict(mine.settings)), str(mine.folder), str(sleep)]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *words], stdout=subprocess.PIPE, text=True
    )


def killed(process: "subprocess.Popen[str]", when: Callable[[], bool]) -> None:
    with process:
        try:
            wait_for(when)
        finally:
            process.send_signal(signal.SIGKILL)


def said_by(process: "subprocess.Popen[str]") -> Sequence[Any]:
    output, _ = process.communicate(timeout=60)
    found: list[Any] = json.loads(output)
    return found


def test_a_process_killed_in_a_tool_goes_on_without_asking_again(lab: MakeLab) -> None:
    mine = lab(uses("look"), FINISH)
    killed(child(mine, sleep=60.0), (mine.folder / "looking").exists)
    assert len(mine.server.bodies) == 1
    assert said_by(child(mine)) == ["", 2, True]
    assert len(mine.server.bodies) == 2


def test_a_process_killed_in_a_request_asks_nothing_more(lab: MakeLab) -> None:
    mine = lab(uses("look"), FINISH)
    mine.server.slow(2.0)
    killed(child(mine), lambda: bool(mine.server.bodies))
    problem, requests, done = said_by(child(mine))
    assert problem.startswith("interrupted while a request was in flight; it counts at its worst")
    assert (requests, done) == (1, False)
    assert len(mine.server.bodies) == 1
