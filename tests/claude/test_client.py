"""One request through the real client: an answer, or one plain line; and where the key is found."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_cache import Json, prompt_tokens
from claude_server import COUNT, Answer, ClaudeServer, Fault, says

from autoresearch.claude.client import (
    KEY_FILE,
    KEY_NAME,
    Client,
    KeyMissing,
    Unanswered,
    check_access,
    connect,
    find_key,
    parsed,
)
from autoresearch.errors import ConfigError
from autoresearch.settings import Claude

BODY: Json = {
    "model": "claude-opus-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
}
MakeSettings = Callable[..., Claude]


@pytest.fixture
def server() -> Iterator[ClaudeServer]:
    with ClaudeServer(lambda body: says("Hello.", "Who is it?")) as server:
        yield server


@pytest.fixture
def client(server: ClaudeServer, settings_for: MakeSettings) -> Iterator[Client]:
    with connect(settings_for(server)) as client:
        yield client


def unanswered(client: Client, body: Json = BODY, seconds: float = 10.0) -> Unanswered:
    with pytest.raises(Unanswered) as error:
        client.answer(body, seconds)
    assert "\n" not in str(error.value)
    return error.value


# ---- answers -----------------------------------------------------------------------------------


def test_an_answer_comes_as_the_server_sent_it(server: ClaudeServer, client: Client) -> None:
    answer = client.answer(BODY, 10.0)
    assert answer == server.requests[0].answer
    assert answer["content"][0]["type"] == "thinking"
    assert server.bodies == [BODY]


def test_tokens_are_counted_for_nothing(server: ClaudeServer, client: Client) -> None:
    assert client.count(BODY, 10.0) == prompt_tokens(BODY)
    assert server.billed == []


def test_the_address_may_come_from_the_environment(
    server: ClaudeServer, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    settings_for(server)
    with connect(Claude()) as client:
        assert client.answer(BODY, 10.0)["stop_reason"] == "end_turn"


# ---- reasons why not ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (400, "the request was refused (400): injected; see claude.model and claude.effort"),
        (401, f"the key was refused (401): injected; check {KEY_NAME} or {KEY_FILE}"),
        (402, "the request was refused (402): injected; see the billing of your account"),
        (403, "(403): injected; the key may not be used for this: see claude.model"),
        (404, "(404): injected; check claude.model and claude.url"),
        (413, "the request was refused (413): injected"),
        (422, "the request was refused (422): injected"),
    ],
)
def test_what_will_not_pass_says_what_to_do(
    server: ClaudeServer, client: Client, status: int, line: str
) -> None:
    server.fail(status)
    error = unanswered(client)
    assert str(error).endswith(line)
    assert not error.is_passing
    assert not error.may_be_billed
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "line", "billed"),
    [
        (408, "the request was refused (408): injected", True),
        (409, "the request was refused (409): injected", False),
        (429, "rate limited (429): injected", False),
        (500, "the server failed (500): injected", False),
        (502, "the server failed (502): injected", True),
        (504, "the server failed (504): injected", True),
        (529, "overloaded (529): injected", False),
    ],
)
def test_what_may_pass_is_said_to(
    server: ClaudeServer, client: Client, status: int, line: str, billed: bool
) -> None:
    server.fail(status)
    error = unanswered(client)
    assert str(error) == line
    assert error.is_passing
    assert error.may_be_billed == billed
    assert error.wait is None
    assert len(server.requests) == 1  # the SDK's own retries are off


@pytest.mark.parametrize(
    ("header", "wait"),
    [("7", 7.0), ("0.5", 0.5), ("86400", 86400.0), ("-1", None), ("soon", None), ("nan", None)],
)
def test_what_the_server_wants_waited_is_read(
    server: ClaudeServer, client: Client, header: str, wait: float | None
) -> None:
    server.fail(429, headers={"retry-after": header})
    assert unanswered(client).wait == wait


@pytest.mark.parametrize(
    ("status", "says_so", "passing"), [(529, "false", False), (400, "true", True)]
)
def test_the_server_may_say_itself_whether_to_try_again(
    server: ClaudeServer, client: Client, status: int, says_so: str, passing: bool
) -> None:
    server.fail(status, headers={"x-should-retry": says_so})
    assert unanswered(client).is_passing == passing


@pytest.mark.parametrize("code", ["enforced_spend_limit_reached", "contract_spend_limit_reached"])
def test_a_spend_limit_does_not_pass(server: ClaudeServer, client: Client, code: str) -> None:
    server.fail(429, "No more", code=code)
    error = unanswered(client)
    assert str(error) == "the account's spend limit is reached (429): No more"
    assert not error.is_passing


def test_an_unknown_model_is_named(server: ClaudeServer, client: Client) -> None:
    error = unanswered(client, BODY | {"model": "claude-2"})
    assert "model: claude-2; check claude.model and claude.url" in str(error)


def test_a_server_that_is_down_was_never_asked(server: ClaudeServer, client: Client) -> None:
    server.down()
    error = unanswered(client)
    assert "127.0.0.1 cannot be reached: " in str(error)
    assert "refused" in str(error)
    assert error.is_passing
    assert not error.may_be_billed


@pytest.mark.parametrize("name", ["http://no-such-host.invalid", "gopher://127.0.0.1"])
def test_an_address_that_is_none_was_never_asked(
    name: str, settings_for: MakeSettings, server: ClaudeServer
) -> None:
    settings_for(server)
    with connect(Claude(url=name)) as client:
        error = unanswered(client)
    assert "cannot be reached" in str(error)
    assert not error.may_be_billed


def test_a_connection_that_breaks_may_be_billed(server: ClaudeServer, client: Client) -> None:
    server.drop()
    error = unanswered(client)
    assert str(error) == "the connection broke before the answer"
    assert (error.is_passing, error.may_be_billed) == (True, True)


def test_an_answer_that_does_not_come_may_be_billed(server: ClaudeServer, client: Client) -> None:
    server.slow(1.0, times=1)
    error = unanswered(client, seconds=0.2)
    assert str(error) == "no answer within 0.2 s"
    assert (error.is_passing, error.may_be_billed) == (True, True)


def test_somebody_elses_page_is_no_answer(server: ClaudeServer, client: Client) -> None:
    server.garbage()
    error = unanswered(client)
    assert "should be a message, but is something else; check claude.url" in str(error)
    assert (error.is_passing, error.may_be_billed) == (False, True)
    server.garbage(path=COUNT)
    with pytest.raises(Unanswered):
        client.count(BODY, 10.0)


@pytest.mark.parametrize(
    "odd",
    [
        Answer([{"type": 3}]),
        Answer([{"type": "tool_use", "id": 7, "name": "x", "input": {}}]),
        Answer([{"type": "text", "text": "\ud800"}]),
        Answer([{"type": "text", "text": float("nan")}]),
        Answer([{"type": "text", "text": None}]),
        Answer([{"type": "text", "text": ["a"]}]),
    ],
)
def test_half_a_message_is_no_answer(odd: Answer, settings_for: MakeSettings) -> None:
    with ClaudeServer(lambda body: odd) as server, connect(settings_for(server)) as client:
        assert "something else" in str(unanswered(client))


NUMBERS = [b'{"a": NaN}', b'{"a": 1e400}', b'{"a": 1%s}' % (b"0" * 400)]  # that no field can hold


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000, *NUMBERS])
def test_what_is_no_object_is_an_empty_one(content: bytes) -> None:
    assert parsed(content) == {}


# ---- the key -----------------------------------------------------------------------------------


def write_key(text: str, mode: int = 0o600) -> Path:
    path = Path(KEY_FILE).expanduser()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_environment_comes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_key("sk-file\n")
    assert find_key() == "sk-file"
    monkeypatch.setenv(KEY_NAME, " sk-env\n")
    assert find_key() == "sk-env"


def test_no_key_says_where_to_put_one() -> None:
    with pytest.raises(KeyMissing, match=rf"export {KEY_NAME}=\.\.\., or write it to ~/\.config"):
        connect(Claude())


def test_an_empty_file_is_no_key() -> None:
    write_key("\n")
    with pytest.raises(KeyMissing, match="there is none"):
        find_key()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(mode: int) -> None:
    path = write_key("sk-secret", mode)
    with pytest.raises(KeyMissing, match=f"its mode is {mode:03o}; chmod 600 {path}") as error:
        find_key()
    assert "sk-secret" not in str(error.value)


def test_a_folder_or_bytes_are_no_key(home: Path) -> None:
    path = Path(KEY_FILE).expanduser()
    path.mkdir(parents=True)
    with pytest.raises(KeyMissing, match="cannot be read: Is a directory"):
        find_key()
    path.rmdir()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(KeyMissing, match="cannot be read: it is no text"):
        find_key()


@pytest.mark.parametrize("key", ["sk-one sk-two", "sk-one\nsk-two", "sk-ä", "sk-\x07"])
def test_what_cannot_be_a_key_is_refused_before_it_is_sent(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_NAME, key)
    with pytest.raises(KeyMissing, match="should hold one key and nothing else") as error:
        find_key()
    assert key not in str(error.value)


def test_the_key_is_in_no_message_and_no_repr(
    server: ClaudeServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.fail(401, f"invalid key {server.key}")
    told = unanswered(client)
    server.fail(400, f"What is {server.key[:10]}\n{server.key}?")
    shown = [str(told), repr(told), repr(client), repr(vars(client)), str(unanswered(client))]
    client.answer(BODY, 10.0)
    assert "…" in shown[0]
    assert server.key not in "".join(shown) + caplog.text


def test_nothing_is_read_from_the_environment_beside_the_key(
    server: ClaudeServer, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another")
    with connect(settings_for(server)) as client:
        client.answer(BODY, 10.0)
    assert not vars(client)["_sdk"].open_telemetry["traces"]["enabled"]


def test_a_rule_of_faults_reaches_the_client(server: ClaudeServer, client: Client) -> None:
    error: dict[str, Any] = {"type": "overloaded_error", "message": "busy"}
    server.rule = lambda request: Fault("status", status=529, error=error)
    assert str(unanswered(client)) == "overloaded (529): busy"


# ---- before a campaign -------------------------------------------------------------------------


def test_a_key_and_a_model_that_the_api_takes_are_fine(settings_for: MakeSettings) -> None:
    with ClaudeServer() as server:
        check_access(settings_for(server))
        assert [request.path for request in server.requests] == ["/v1/models/claude-opus-5-5"]


def test_a_wrong_key_is_told_before_anything_begins(
    settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ClaudeServer() as server:
        settings = settings_for(server)
        monkeypatch.setenv(KEY_NAME, "sk-wrong")
        with pytest.raises(ConfigError, match=rf"the key was refused \(401\); check {KEY_NAME}"):
            check_access(settings)


def test_a_model_that_the_api_has_not_is_told_before_anything_begins(
    settings_for: MakeSettings,
) -> None:
    with ClaudeServer() as server:
        settings = settings_for(server, model="claude-opus-9")
        with pytest.raises(ConfigError, match=r"claude-opus-9 should answer, .*404.*claude\.model"):
            check_access(settings)


def test_what_may_pass_stops_no_campaign(settings_for: MakeSettings) -> None:
    with ClaudeServer() as server:
        for status in (429, 500, 529):
            server.fail(status, path="/v1/models/claude-opus-5-5")
            check_access(settings_for(server))
        server.down()
        check_access(settings_for(server))
