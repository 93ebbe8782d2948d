"""The local Messages API under the real client: what it answers, refuses, and counts."""

import copy
import itertools
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError

import anthropic
import pytest
from claude_cache import LOOKBACK, Json, prompt_tokens, serialised, tokens
from claude_rules import BREAKPOINTS, Memory, faults
from claude_server import (
    Answer,
    ClaudeServer,
    Fault,
    Request,
    Scientist,
    halved,
    says,
    script,
    use,
    uses,
)

MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
LONG = "words " * 1000  # 1500 tokens and a little
TOOLS: list[Any] = [
    {
        "name": "add",
        "description": "Add two numbers.",
        "input_schema": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    }
]


def client_of(server: ClaudeServer, key: str = "") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key=key or server.key, max_retries=0)


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def user(*blocks: Json | str) -> Json:
    return {"role": "user", "content": [text(b) if isinstance(b, str) else b for b in blocks]}


def question(*messages: Json, **more: Any) -> Json:
    asked = list(messages or [user("How much is 1 + 2?")])
    return {"model": "claude-opus-5-5", "max_tokens": 500, "messages": asked, **more}


def result(id: str, **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": id, "content": "3", **more}


@pytest.fixture
def server() -> Iterator[ClaudeServer]:
    with ClaudeServer(lambda body: says("Three.")) as server:
        yield server


@pytest.fixture
def client(server: ClaudeServer) -> Iterator[anthropic.Anthropic]:
    with client_of(server) as client:
        yield client


# ---- what it answers -------------------------------------------------------------------------


def test_the_real_client_understands_the_answer(
    server: ClaudeServer, client: anthropic.Anthropic
) -> None:
    message = client.messages.create(**question())
    assert message.stop_reason == "end_turn"
    assert message.content[0].type == "text"
    assert message.content[0].text == "Three."
    assert message.usage.input_tokens == prompt_tokens(question()) > 0
    assert message.usage.output_tokens > 0
    assert server.bodies == [question()]
    assert server.requests[0].status == 200


def test_tools_are_used_and_their_results_come_back() -> None:
    script_ = script(uses("add", "Let me see.", a=1, b=2), says("Three."))
    with ClaudeServer(script_) as server, client_of(server) as client:
        first = client.messages.create(**question(tools=TOOLS))
        thinking, call = first.content
        assert thinking.type == "thinking"
        assert call.type == "tool_use"
        assert (call.name, call.input, first.stop_reason) == ("add", {"a": 1, "b": 2}, "tool_use")
        more = question(user("?"), first.to_param(), user(result(call.id)), tools=TOOLS)  # type: ignore[arg-type]
        assert client.messages.create(**more).stop_reason == "end_turn"


def test_tokens_are_counted_as_they_are_billed(
    server: ClaudeServer, client: anthropic.Anthropic
) -> None:
    asked = question(tools=TOOLS, system=LONG)
    counted = client.messages.count_tokens(
        model=asked["model"], messages=asked["messages"], tools=TOOLS, system=LONG
    )
    assert counted.input_tokens == client.messages.create(**asked).usage.input_tokens


def test_a_model_is_described(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    assert client.models.retrieve("claude-opus-5-5").max_tokens == 64_000
    with pytest.raises(anthropic.NotFoundError, match="model: claude-2"):
        client.models.retrieve("claude-2")


def test_a_paused_turn_goes_on_where_it_was() -> None:
    script_ = script(Answer([text("One moment.")], "pause_turn"), says("Three."))
    with ClaudeServer(script_) as server, client_of(server) as client:
        first = client.messages.create(**question())
        again = client.messages.create(**question(user("?"), first.to_param()))  # type: ignore[arg-type]
        assert again.stop_reason == "end_turn"


def test_the_key_is_in_no_record(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    client.messages.create(**question())
    assert server.key not in repr(server.requests)
    assert server.requests[0].headers["authorization"] == "Bearer …"


# ---- what it refuses -------------------------------------------------------------------------


@contextmanager
def strict(
    named: str, scientist: Scientist = lambda body: says("Three.")
) -> Iterator[ClaudeServer]:
    """A server that is asked what the real one would refuse, and says so in the end."""
    with pytest.raises(AssertionError, match=re.escape(named)), ClaudeServer(scientist) as server:
        yield server


def refused(server: ClaudeServer, body: Json) -> str:
    """What the real client says of it."""
    known = {"model", "max_tokens", "messages", "system", "tools", "thinking", "output_config"}
    extra = {name: value for name, value in body.items() if name not in known}
    plain = {name: value for name, value in body.items() if name in known}
    with client_of(server) as client, pytest.raises(anthropic.BadRequestError) as error:
        client.messages.create(**plain, extra_body=extra)
    assert error.value.type == "invalid_request_error"
    return str(error.value)


def assistant(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def used(id: str = "toolu_1", name: str = "add") -> Json:
    return {"type": "tool_use", "id": id, "name": name, "input": {}}


def marked(n: int) -> Json:
    return user(*[text("x", cache_control=MARK)] * n)


@pytest.mark.parametrize(
    ("named", "body"),
    [
        ("temperature: extra inputs are not permitted", question(temperature=0.5)),
        ("top_p: extra inputs", question(top_p=0.5)),
        ("colour: extra inputs", question(colour="red")),
        ("max_tokens: should be", question(max_tokens=0)),
        ("model: should be a name", question(model="")),
        ("stream: not spoken here", question(stream=1)),
        ("thinking: unknown shape", question(thinking={"type": "adaptive", "budget_tokens": 9})),
        ("thinking: unknown shape", question(thinking={"type": "enabled", "budget_tokens": 9})),
        ("output_config: unknown shape", question(output_config={"effort": "extreme"})),
        ("output_config: unknown shape", question(output_config={"effort": "low", "x": 1})),
        ("at least one message", question() | {"messages": []}),
        ("messages.0.content: should not be empty", question(user())),
        ("non-whitespace text", question(user("  "))),
        ("should not be empty", question(system="")),
        ("roles should alternate", question(user("a"), user("b"))),
        ("roles should alternate", question(assistant(text("a")), user("b"))),
        ("does not support prefill", question(user("a"), assistant(text("b")))),
        ("should have a role", question({"role": "system", "content": "a"})),
        ("should be one of text, tool_result", question(user({"type": "image", "source": {}}))),
        ("text: field required", question(user({"type": "text"}))),
        ("weight: extra inputs", question(user(text("a", weight=1)))),
        (
            "without tool_result: toolu_1",
            question(user("a"), assistant(used()), user("b"), tools=TOOLS),
        ),
        (
            "without its tool_use: toolu_2",
            question(
                user("a"),
                assistant(used()),
                user(result("toolu_1"), result("toolu_2")),
                tools=TOOLS,
            ),
        ),
        ("without its tool_use: toolu_1", question(user(result("toolu_1")))),
        (
            "tool_result blocks should come first",
            question(user("a"), assistant(used()), user("b", result("toolu_1")), tools=TOOLS),
        ),
        (
            "ids must be unique: toolu_1",
            question(
                user("a"),
                *[assistant(used()), user(result("toolu_1"))] * 2,
                tools=TOOLS,
            ),
        ),
        (
            "tool_use of 'sub', which is not declared",
            question(user("a"), assistant(used(name="sub")), user(result("toolu_1")), tools=TOOLS),
        ),
        (
            "content cannot be empty if is_error",
            question(
                user("a"),
                assistant(used()),
                user(result("toolu_1", is_error=True) | {"content": ""}),
                tools=TOOLS,
            ),
        ),
        ("'add' comes twice", question(tools=TOOLS * 2)),
        ("tools.0.name: should match", question(tools=[TOOLS[0] | {"name": "a b"}])),
        ("schema of type object", question(tools=[TOOLS[0] | {"input_schema": {}}])),
        (
            "input_schema.properties.a.type: unknown 'int'",
            question(
                tools=[
                    TOOLS[0]
                    | {"input_schema": {"type": "object", "properties": {"a": {"type": "int"}}}}
                ]
            ),
        ),
        ("tools.0.run: extra inputs", question(tools=[TOOLS[0] | {"run": "x"}])),
        ("at most 4 blocks, but 5", question(marked(BREAKPOINTS + 1))),
        ("cache_control: unknown shape", question(user(text("a", cache_control={"ttl": "1h"})))),
        (
            "1h must not come after",
            question(user(text("a", cache_control=MARK), text("b", cache_control=HOUR))),
        ),
    ],
)
def test_what_the_real_api_would_refuse_fails_the_test(named: str, body: Json) -> None:
    with strict(named) as server:
        assert named in refused(server, body)


def test_what_is_right_is_not_refused() -> None:
    for body in (question(), question(marked(4)), question(tools=TOOLS, system=[text(LONG)])):
        assert list(faults(body, Memory())) == []


def thoughtful(body: Json) -> Answer:
    """Thinks before it uses a tool."""
    return uses("add", "Let me see.", a=1, b=2)


def thought_of(server: ClaudeServer) -> Json:
    """An answer with a thought, as a message."""
    with client_of(server) as client:
        message = client.messages.create(**question(tools=TOOLS))
    return assistant(*[block.to_dict() for block in message.content])


@pytest.mark.parametrize(
    ("named", "change"),
    [
        ("thinking blocks cannot be modified", lambda c: [c[0] | {"thinking": "No."}, c[1]]),
        ("thinking blocks cannot be modified", lambda c: [c[0] | {"signature": "x"}, c[1]]),
        ("expected thinking before tool_use", lambda c: c[1:]),
        ("expected thinking before tool_use", lambda c: [c[1], c[0], text("x")]),
    ],
)
def test_thoughts_must_come_back_as_they_were(
    named: str, change: Callable[[list[Json]], list[Json]]
) -> None:
    with strict(named, thoughtful) as server:
        content = thought_of(server)["content"]
        id = content[1]["id"]
        changed = assistant(*change(copy.deepcopy(content)))
        refused(server, question(user("a"), changed, user(result(id)), tools=TOOLS))


def test_a_message_must_not_end_with_a_thought() -> None:
    with strict("cannot be thinking", thoughtful) as server:
        only = assistant(*thought_of(server)["content"][:1])
        refused(server, question(user("a"), only, user("b")))


@pytest.mark.parametrize(
    ("named", "headers"),
    [
        ("Authorization: Bearer KEY", {"anthropic-version": "2026-10-21"}),
        ("anthropic-version should be 2026-10-21", {"Authorization": "Bearer x"}),
        (
            "x-api-key beside",
            {"Authorization": "B", "x-api-key": "x", "anthropic-version": "2026-10-21"},
        ),
    ],
)
def test_odd_headers_fail_the_test(named: str, headers: dict[str, str]) -> None:
    with strict(named) as server:
        request = urllib.request.Request(  # noqa: S310 - ours
            f"{server.url}/v1/messages", serialised(question()).encode(), headers
        )
        with pytest.raises(HTTPError) as error:
            urllib.request.urlopen(request, timeout=10)  # noqa: S310
        with error.value as answer:
            assert answer.code == 400


def test_an_unknown_path_fails_the_test() -> None:
    with (
        strict("GET /v1/files: unknown path") as server,
        client_of(server) as client,
        pytest.raises(anthropic.NotFoundError),
    ):
        client.files.list()


def test_a_scientist_that_fails_fails_the_test() -> None:
    with strict("the scientist failed", script()) as server:
        refused(server, question())


def test_a_scientist_that_says_too_much_fails_the_test() -> None:
    with (
        strict("more than max_tokens", lambda body: says(LONG)) as server,
        client_of(server) as client,
    ):
        client.messages.create(**question())


def test_a_failing_test_keeps_its_error_and_hears_of_the_violation() -> None:
    def test() -> None:
        with ClaudeServer() as server:
            refused(server, question(max_tokens=-1))
            raise KeyError("the test's own")

    with pytest.raises(KeyError) as error:
        test()
    assert "max_tokens" in error.value.__notes__[0]


# ---- what it counts --------------------------------------------------------------------------


def caching(client: anthropic.Anthropic, body: Json) -> tuple[int, int, int]:
    """(input, creation, read), which add up to the prompt."""
    usage = client.messages.create(**body).usage
    assert usage.cache_creation
    creation, read = usage.cache_creation_input_tokens, usage.cache_read_input_tokens
    assert creation is not None
    assert read is not None
    parts = usage.cache_creation
    assert parts.ephemeral_5m_input_tokens + parts.ephemeral_1h_input_tokens == creation
    assert usage.input_tokens + creation + read == prompt_tokens(body)
    return usage.input_tokens, creation, read


def test_a_prefix_is_written_once_and_read_afterwards(client: anthropic.Anthropic) -> None:
    system = [text(LONG, cache_control=MARK)]
    size = tokens(text(LONG))
    asked = caching(client, question(system=system))
    assert asked == (tokens(text("How much is 1 + 2?")), size, 0)
    assert caching(client, question(user("Another?"), system=system))[1:] == (0, size)


def test_a_moving_breakpoint_writes_only_what_is_new(client: anthropic.Anthropic) -> None:
    def talk(turns: int) -> Json:
        messages = [
            user(f"{n} {LONG}") if n % 2 == 0 else assistant(text(f"{n}"))
            for n in range(2 * turns - 1)
        ]
        messages[-1]["content"][-1]["cache_control"] = MARK
        return question(*messages)

    before = 0
    for turns in range(1, 5):
        whole = prompt_tokens(talk(turns))
        assert caching(client, talk(turns)) == (0, whole - before, before)
        before = whole


def test_a_changed_prefix_is_not_read(client: anthropic.Anthropic) -> None:
    system = [text(LONG, cache_control=MARK)]
    caching(client, question(system=system))
    assert caching(client, question(system=[text(LONG + "!", cache_control=MARK)]))[2] == 0
    assert caching(client, question(system=system, tools=TOOLS))[2] == 0  # tools come first
    assert caching(client, question(system=system, model="claude-sonnet-5-5"))[2] == 0
    assert caching(client, question(system=system))[2] > 0


def test_other_thinking_reads_the_system_but_no_messages(client: anthropic.Anthropic) -> None:
    body = question(user(text(LONG, cache_control=MARK)), system=[text(LONG, cache_control=MARK)])
    caching(client, body)
    assert caching(client, body)[:2] == (0, 0)
    assert caching(client, body | {"thinking": {"type": "adaptive"}})[1:] == (
        tokens(text(LONG)),
        tokens(text(LONG)),
    )


def test_a_short_prefix_is_not_kept(client: anthropic.Anthropic) -> None:
    short = question(user(text("words " * 600, cache_control=MARK)))
    for _ in range(2):
        assert caching(client, short)[1:] == (0, 0)


def test_a_prefix_is_looked_for_some_blocks_back(client: anthropic.Anthropic) -> None:
    first = question(user(text(LONG, cache_control=MARK)))
    caching(client, first)

    def further(more: int) -> Json:
        blocks = [text(LONG), *[text("x")] * more]
        return question(user(*blocks[:-1], {**blocks[-1], "cache_control": MARK}))

    assert caching(client, further(LOOKBACK + 1))[2] == 0
    assert caching(client, further(LOOKBACK))[2] == tokens(text(LONG))


@pytest.mark.parametrize(("mark", "minutes"), [(MARK, 5), (HOUR, 60)])
def test_a_prefix_lives_as_long_as_it_is_used(
    server: ClaudeServer, client: anthropic.Anthropic, mark: Json, minutes: int
) -> None:
    body = question(system=[text(LONG, cache_control=mark)])
    caching(client, body)
    for _ in range(3):
        server.forward(minutes * 60 - 30)
        assert caching(client, body)[2] > 0
    server.forward(minutes * 60 + 1)
    assert caching(client, body)[2] == 0


def test_each_life_is_counted_for_itself(client: anthropic.Anthropic) -> None:
    body = question(user(text(LONG, cache_control=MARK)), system=[text(LONG, cache_control=HOUR)])
    usage = client.messages.create(**body).usage
    assert usage.cache_creation
    size = tokens(text(LONG))
    assert usage.cache_creation.ephemeral_1h_input_tokens == size
    assert usage.cache_creation.ephemeral_5m_input_tokens == size


# ---- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.OverloadedError),
    ],
)
def test_faults_are_the_clients_own_errors(
    server: ClaudeServer, client: anthropic.Anthropic, status: int, kind: type[Exception]
) -> None:
    server.fail(status, headers={"retry-after": "86400"})
    with pytest.raises(kind) as error:
        client.messages.create(**question())
    assert isinstance(error.value, anthropic.APIStatusError)
    assert error.value.response.headers["retry-after"] == "86400"
    assert client.messages.create(**question()).stop_reason == "end_turn"
    assert [request.status for request in server.requests] == [status, 200]


def test_a_wrong_key_is_the_users_fault_not_the_tests(server: ClaudeServer) -> None:
    with client_of(server, "sk-other") as client, pytest.raises(anthropic.AuthenticationError):
        client.messages.create(**question())


def test_a_spend_limit_has_a_code(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    server.spend_limit()
    with pytest.raises(anthropic.RateLimitError) as error:
        client.messages.create(**question())
    assert error.value.error_code == "enforced_spend_limit_reached"


def test_a_dropped_connection_is_billed(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    server.drop()
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**question())
    assert server.billed[0]["input_tokens"] == prompt_tokens(question())


def test_a_slow_answer_is_too_late_for_a_hasty_client(
    server: ClaudeServer, client: anthropic.Anthropic
) -> None:
    server.slow(0.5, times=1)
    with pytest.raises(anthropic.APITimeoutError):
        client.messages.create(**question(), timeout=0.1)
    begin = time.monotonic()
    server.slow(0.2, times=1)
    client.messages.create(**question())
    assert time.monotonic() - begin >= 0.2


def test_a_cut_answer_has_half_a_tools_input() -> None:
    with ClaudeServer(lambda body: uses("add", a=1, b=2)) as server, client_of(server) as client:
        server.cut()
        message = client.messages.create(**question(tools=TOOLS))
        assert message.stop_reason == "max_tokens"
        assert message.content[0].type == "tool_use"
        assert message.content[0].input == {"a": 1}
    assert halved(text("abcd")) == text("ab")
    assert halved(use("add", a=1))["input"] == {}


def test_a_refusal_says_why(server: ClaudeServer, client: anthropic.Anthropic) -> None:
    server.refuse()
    message = client.messages.create(**question())
    assert message.stop_reason == "refusal"
    assert message.stop_details
    assert message.stop_details.category == "frontier_llm"


def test_a_server_that_is_down_comes_up_on_the_same_port(
    server: ClaudeServer, client: anthropic.Anthropic
) -> None:
    client.messages.create(**question())
    server.down()
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**question())
    server.up()
    client.messages.create(**question())
    assert len(server.bodies) == 2


def test_a_rule_decides_request_by_request(
    server: ClaudeServer, client: anthropic.Anthropic
) -> None:
    numbers = itertools.count()

    def every_second(request: Request) -> Any:
        error = {"type": "api_error", "message": "x"}
        return Fault("status", status=500, error=error) if next(numbers) % 2 else None

    server.rule = every_second
    client.messages.create(**question())
    with pytest.raises(anthropic.InternalServerError):
        client.messages.create(**question())
    server.heal()
    client.messages.create(**question())


def test_somebody_elses_page_is_no_message(
    server: ClaudeServer, client: anthropic.Anthropic
) -> None:
    server.garbage()
    assert isinstance(client.messages.create(**question()), str)
