"""A conversation with Claude, from an opening to its end: bounded in money, time and mistakes.

Every message is on disk before it is acted upon, and so is every request before it is sent. Killed
at any point, the conversation goes on where it was; what was paid for is not sent again.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from autoresearch.claude.client import Client, Unanswered
from autoresearch.claude.ledger import SPEND, Ledger, OutOfMoney
from autoresearch.claude.patience import GivenUp, Patience
from autoresearch.claude.prices import Usage, cost, worst_case
from autoresearch.claude.quoting import bare
from autoresearch.claude.tools import Done, Mistake, Tool, use
from autoresearch.claude.transcript import TALK, Opening, Transcript, calls, text
from autoresearch.errors import ConfigError, nearest
from autoresearch.experiment import Json, plain
from autoresearch.settings import Claude, Price

COUNT_SECONDS = 30.0  # to count a prompt's tokens
COUNTED_SHORT = 1.05  # the API calls its count an estimate
MARKED = 2  # of the user's messages, the newest: the API looks back from a mark by few blocks only
ALMOST = 2  # answers left when Claude is told so
SHOWN = 200  # characters of Claude's words in a problem
EMPTY = "(nothing)"  # the API takes no empty text
REMINDER = "You called no tool. Go on with a tool call: otherwise the conversation ends here."


@dataclass(frozen=True)
class Ending:
    """How a conversation ended. `problem` is "" or one plain line; `done`: a tool ended it;
    `is_broke`: not even the first request could be paid for."""

    problem: str
    usage: Usage
    usd: float  # at most, where answers were lost
    requests: int
    done: bool
    is_broke: bool = False


def converse(
    client: Client,
    settings: Claude,
    tools: Sequence[Tool],
    opening: Opening,
    *,
    folder: Path,
    allowance_usd: float,
    stop: Event | None = None,
) -> Ending:
    """Talk until a tool says Done or a bound is reached; `stop` ends it before the next request.

    A folder that holds a conversation already is gone on with. Raises ConfigError for a model
    without a price, and whatever a tool raises besides Mistake.
    """
    price = price_of(settings)
    patience = Patience(settings.seconds, settings.patience, stop or Event())
    with (
        Transcript.open(folder / TALK, opening) as talk,
        Ledger.open(folder / SPEND, allowance_usd) as ledger,
    ):
        conversation = Conversation(client, settings, price, tools, talk, ledger, patience)
        problem, is_broke = "", False
        try:
            conversation.run()
        except GivenUp as end:
            problem = str(end)
        except OutOfMoney as end:
            problem = f"{end}{conversation.uncounted}"
            is_broke = not ledger.spent.requests and not conversation.uncounted
        spent = ledger.spent
    return Ending(problem, spent.usage, spent.usd, spent.requests, not problem, is_broke)


def price_of(settings: Claude) -> Price:
    if settings.model not in settings.prices:
        raise ConfigError(
            f"claude.prices should hold the price of {settings.model}, but does not; "
            f"{nearest(settings.model, settings.prices)}"
        )
    return settings.prices[settings.model]


@dataclass
class Conversation:
    """What has been said is in `talk`: all else follows from it."""

    client: Client
    settings: Claude
    price: Price
    tools: Sequence[Tool]
    talk: Transcript
    ledger: Ledger
    patience: Patience
    uncounted: str = ""  # why the first prompt's tokens are a guess

    @property
    def awaits_answer(self) -> bool:
        last = self.talk.last
        return bool(last["role"] == "user" or last["stop_reason"] == "pause_turn")

    def run(self) -> None:
        """Until a tool says Done. Raises GivenUp or OutOfMoney."""
        self.settle()
        while True:
            if self.awaits_answer:
                self.check_mistakes()
                self.ask()
            if self.react(self.talk.last):
                return

    def settle(self) -> None:
        """Book an answer that was kept but not booked. Raises GivenUp if one is missing."""
        for number, usd in list(self.ledger.spent.unended.items()):
            kept = [answer for answer in self.talk.answers if answer["request"] == number]
            if not kept:
                raise GivenUp(
                    "interrupted while a request was in flight; it counts at its worst case "
                    f"of ${usd:.2f}"
                )
            self.pay(number, kept[0])

    # ---- asking

    def ask(self) -> None:
        """Get the next answer, and keep it before it is booked."""
        body = self.body()
        at_most = self.at_most(body)
        while True:
            if self.ledger.spent.requests >= self.settings.requests:
                raise GivenUp(f"claude.requests: all {self.settings.requests} of them were made")
            seconds = self.patience.answer_seconds()
            number = self.ledger.reserve(at_most)
            begin = time.monotonic()
            try:
                answer = self.client.answer(body, seconds)
            except Unanswered as failure:
                self.ledger.fail(number, at_most if failure.may_be_billed else 0.0)
                self.patience.fail(failure, time.monotonic() - begin)
                continue
            self.patience.succeed()
            self.talk.add_answer(answer, number)
            self.pay(number, answer)
            return

    def pay(self, number: int, answer: Json) -> None:
        usage = self.usage(answer)
        self.ledger.pay(number, cost(usage, self.price), usage)

    def usage(self, answer: Json) -> Usage:
        return Usage.from_api(answer["usage"], self.settings.cache)

    def at_most(self, body: Json) -> float:
        """Dollars that the next answer may cost."""
        tokens, most = self.prompt_tokens(body), self.settings.max_tokens
        return worst_case(tokens, most, self.price, self.settings.cache)

    def prompt_tokens(self, body: Json) -> int:
        """At most: what was read and said last and a token for each byte since, or counted."""
        if self.talk.answers:
            before = self.usage(self.talk.answers[-1])
            return before.prompt + before.output + size(self.talk.since_answer())
        try:
            seconds = min(COUNT_SECONDS, self.patience.answer_seconds())
            return math.ceil(self.client.count(body, seconds) * COUNTED_SHORT)
        except Unanswered as failure:
            self.uncounted = f"; its tokens could not be counted: {failure}"
            return size(body)

    def body(self) -> Json:
        """The request: everything said so far, marked where the API should keep it."""
        messages = self.talk.messages()
        own = [n for n, message in enumerate(messages) if message["role"] == "user"]
        for n in own[-MARKED:]:
            messages[n] = messages[n] | {"content": self.marked(messages[n]["content"])}
        return {
            "model": self.settings.model,
            "max_tokens": self.settings.max_tokens,
            "system": self.marked(self.talk.system),
            "messages": messages,
            "tools": [tool.to_api() for tool in self.tools],
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": self.settings.effort},
        }

    def marked(self, blocks: Sequence[Json]) -> list[Json]:
        """The same, kept in the API's cache up to the last of them."""
        mark = {"type": "ephemeral", "ttl": self.settings.cache}
        return [*blocks[:-1], *({**block, "cache_control": mark} for block in blocks[-1:])]

    # ---- reacting

    def react(self, answer: Json) -> bool:
        """Do what an answer asks for and say what came of it; whether that was the end."""
        match answer["stop_reason"]:
            case "refusal":
                raise GivenUp(f"Claude refused{why(answer)}")
            case "model_context_window_exceeded":
                raise GivenUp("the conversation has become too long for the model")
            case "max_tokens":
                self.tell_cut(answer)
            case "pause_turn":
                pass
            case _ if calls(answer["content"]):
                return self.use_tools(answer)
            case _:
                self.remind(answer)
        return False

    def use_tools(self, answer: Json) -> bool:
        """Use the tools an answer asks for, one after the other; whether one said Done."""
        results, is_mistaken, is_done = [], False, False
        for call in calls(answer["content"]):
            try:
                found = use(self.tools, call)
            except Mistake as mistake:
                results.append(result(call, str(mistake), is_error=True))
                is_mistaken = True
                continue
            if isinstance(found, Done):
                is_done = True  # what comes after it, a note perhaps, is done as well
                continue
            results.append(result(call, found))
        if not is_done:
            self.say(results, mistake=is_mistaken)
        return is_done

    def tell_cut(self, answer: Json) -> None:
        """Nothing of a cut answer is done: its last call is not whole, and others may need it."""
        told = f"your answer was cut at {self.settings.max_tokens} tokens; make it shorter"
        asked = calls(answer["content"])
        self.say(
            [result(call, told, is_error=True) for call in asked] or [text(told)], mistake=True
        )

    def remind(self, answer: Json) -> None:
        if self.talk.reminders:
            said = "".join(block.get("text", "") for block in answer["content"])
            raise GivenUp(f"Claude stopped without a tool call, twice: {plain(said, SHOWN)!r}")
        self.say([text(REMINDER)], reminder=True)

    def say(
        self, content: Sequence[Json], *, mistake: bool = False, reminder: bool = False
    ) -> None:
        """Tell Claude what came of its answer, and when few are left."""
        left = self.settings.requests - self.ledger.spent.requests
        if 0 < left <= ALMOST:
            content = [*content, text(f"Answers left in this conversation: {left}.")]
        self.talk.add(content, mistake=mistake, reminder=reminder)

    def check_mistakes(self) -> None:
        """Raises GivenUp if there were too many."""
        count = self.talk.mistakes
        if count >= self.settings.mistakes:
            last = plain(complaint(self.talk.last["content"]), SHOWN)
            raise GivenUp(f"gave up after {count} answers that could not be used: {last}")


def result(call: Json, said: str, *, is_error: bool = False) -> Json:
    """What came of a call, as UTF-8 can carry it."""
    told = said.encode(errors="replace").decode()
    found = {"type": "tool_result", "tool_use_id": call["id"], "content": told.strip() or EMPTY}
    return found | ({"is_error": True} if is_error else {})


def complaint(content: Sequence[Json]) -> str:
    """What was wrong with an answer, from what Claude was told."""
    wrong = [block["content"] for block in content if block.get("is_error")]
    told = wrong[-1] if wrong else content[0].get("text", "")
    return " ".join(bare(str(told)).split())


def why(answer: Json) -> str:
    """What a refusal says for itself."""
    details = answer.get("stop_details")
    details = details if isinstance(details, dict) else {}
    words = [str(details[name]) for name in ("category", "explanation") if details.get(name)]
    return f": {plain(', '.join(words), SHOWN)}" if words else ""


def size(value: object) -> int:
    """Bytes of JSON: no text has more tokens."""
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
