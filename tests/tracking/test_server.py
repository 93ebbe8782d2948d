"""Where W&B's server is, and what it says to us: a local one, some of them odd."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from wandb_listener import Listener, Reply
from wandb_runs import Run
from wandb_server import WandbServer

from autoresearch.settings import Tracker
from autoresearch.tracking import server as server_module
from autoresearch.tracking.server import (
    PUBLIC,
    Account,
    address,
    ask,
    key_from_netrc,
    login,
    summary,
)

UNREACHABLE = "http://127.0.0.1:9"
FIRST, SECOND = "https://api.wandb.ai", "https://api.forge.coreweave.com"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user who has never logged in."""
    for name in ("WANDB_BASE_URL", "WANDB_CONFIG_DIR", "WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def shared() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server


@pytest.fixture
def server(shared: WandbServer, home: Path) -> Iterator[WandbServer]:
    """One that the user has logged in to."""
    key = shared.key
    log_in(home, shared.url, key)
    yield shared
    shared.heal()
    shared.up()
    shared.key = key


def log_in(home: Path, url: str, key: str = "k" * 40) -> None:
    path = home / ".netrc"
    with path.open("a") as file:
        file.write(f"machine {urlsplit(url).netloc}\n  login user\n  password {key}\n")
    path.chmod(0o600)


def note(home: Path, text: str) -> None:
    """What `wandb login --host` writes."""
    path = home / ".config" / "wandb" / "settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("latin-1"))


# ---- where it is -----------------------------------------------------------------------------


def test_the_address_is_the_first_that_somebody_chose(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert address(Tracker()) == FIRST
    log_in(home, SECOND)
    assert address(Tracker()) == SECOND
    log_in(home, FIRST)
    assert address(Tracker()) == FIRST
    note(home, "[default]\nbase_url = https://noted.example/\n")
    assert address(Tracker()) == "https://noted.example"
    monkeypatch.setenv("WANDB_BASE_URL", "https://exported.example/")
    assert address(Tracker()) == "https://exported.example"
    assert address(Tracker(url="https://chosen.example/")) == "https://chosen.example"


def test_settings_may_lie_elsewhere(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(home, "[default]\nbase_url = https://noted.example\n")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "elsewhere"))
    assert address(Tracker()) == FIRST
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "settings").write_text("[default]\nbase_url = https://there.example")
    assert address(Tracker()) == "https://there.example"


@pytest.mark.parametrize(
    "text",
    ["", "[default]\n", "[other]\nbase_url = x\n", "nonsense", "[default\n", "[default]\n\xff"],
)
def test_settings_that_say_nothing_are_none(home: Path, text: str) -> None:
    note(home, text)
    assert address(Tracker()) == FIRST


def test_a_percent_sign_is_one(home: Path) -> None:
    note(home, "[default]\nbase_url = https://noted.example/%7Euser\n")
    assert address(Tracker()) == "https://noted.example/%7Euser"


@pytest.mark.parametrize(
    "text", ["", "machine\n", "machine elsewhere login user password x\n", "ÿ"]
)
def test_a_netrc_without_the_key_has_none(home: Path, text: str) -> None:
    (home / ".netrc").write_bytes(text.encode("latin-1"))
    (home / ".netrc").chmod(0o600)
    assert key_from_netrc(UNREACHABLE) == ""


def test_a_netrc_may_lie_elsewhere(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(home, UNREACHABLE, "key")
    assert key_from_netrc(UNREACHABLE) == "key"
    assert key_from_netrc("http://127.0.0.1:99") == ""
    monkeypatch.setenv("NETRC", str(tmp_path / "nothing"))
    assert key_from_netrc(UNREACHABLE) == ""


# ---- what it says ----------------------------------------------------------------------------


def test_a_server_that_knows_us_names_us(server: WandbServer) -> None:
    assert ask(server.url) == Account(entity="researcher")


def test_the_key_of_the_environment_comes_first(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "w" * 40)
    assert "does not accept the key" in ask(server.url).problem
    assert ask(server.url, {}).problem == "", "a node does not look there"
    assert ask(server.url, {"WANDB_API_KEY": server.key}).problem == ""


def problem(url: str) -> str:
    account = ask(url)
    assert account.entity == ""
    assert account.problem
    assert "\n" not in account.problem
    assert "local" * 8 not in account.problem
    return account.problem


def test_without_a_key_it_is_not_asked(server: WandbServer, home: Path) -> None:
    (home / ".netrc").unlink()
    before = server.count()
    host = urlsplit(server.url).netloc
    assert problem(server.url) == (
        f"there is no key for {host} in ~/.netrc (`wandb login --host={server.url}` adds one)"
    )
    assert server.count() == before


def test_a_netrc_that_cannot_be_read_is_not_called_empty(server: WandbServer, home: Path) -> None:
    (home / ".netrc").write_text("password x machine y\n")
    assert problem(server.url).startswith("~/.netrc cannot be read, line 1: bad toplevel token")


def test_only_a_server_of_ones_own_has_to_be_named() -> None:
    assert login(PUBLIC[0]) == "wandb login"
    assert (
        login("https://wandb.lab", "--relogin") == "wandb login --relogin --host=https://wandb.lab"
    )


def test_a_wrong_key_is_not_accepted(server: WandbServer) -> None:
    server.key = "n" * 40
    again = f"wandb login --relogin --host={server.url}"
    expected = f"{server.url} does not accept the key (`{again}` replaces it)"
    assert problem(server.url) == expected
    server.fail("Viewer", status=403)
    assert problem(server.url) == expected


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (429, "is asked too often (HTTP status 429); try again in a minute"),
        (500, "answers with HTTP status 500"),
        (404, "answers with HTTP status 404"),
    ],
)
def test_an_error_of_the_server_is_named(server: WandbServer, status: int, words: str) -> None:
    server.fail("Viewer", status=status)
    assert problem(server.url) == f"{server.url} {words}"
    assert ask(server.url).problem == ""


def test_a_server_that_is_down_cannot_be_reached(server: WandbServer) -> None:
    server.down()
    assert problem(server.url) == f"{server.url} cannot be reached ([Errno 111] Connection refused)"


def test_a_name_that_nobody_knows_cannot_be_reached(home: Path) -> None:
    log_in(home, "http://nobody.invalid")
    assert "http://nobody.invalid cannot be reached (" in problem("http://nobody.invalid")


def test_a_server_that_takes_too_long_cannot_be_reached(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.2)
    server.slow(2.0, "Viewer")
    assert problem(server.url) == f"{server.url} cannot be reached (timed out)"


@contextmanager
def odd_server(home: Path, status: int, content: object) -> Iterator[str]:
    faults: list[str] = []

    def answer(_: str, __: str, ___: Message, ____: bytes) -> Reply:
        return Reply(status, content)

    listener = Listener(0, answer, faults.append)
    listener.open()
    log_in(home, listener.url)
    try:
        yield listener.url
    finally:
        listener.release()
    assert not faults


@pytest.mark.parametrize(
    "content",
    [
        b"<html>Welcome to the hotel</html>",
        b"",
        b"\xff\xfe",
        [],
        {},
        None,
        "data",
        {"data": None},
        {"data": {}},
        {"data": []},
        {"data": {"viewer": "you"}},
        {"data": {"viewer": [1]}},
    ],
)
def test_what_is_no_wandb_server_is_seen(home: Path, content: object) -> None:
    with odd_server(home, 200, content) as url:
        assert problem(url) == f"{url} does not answer like a W&B server"


def test_a_server_to_which_we_are_nobody_does_not_accept_the_key(home: Path) -> None:
    with odd_server(home, 200, {"data": {"viewer": None}}) as url:
        assert "does not accept the key" in problem(url)


def test_what_does_not_speak_http_cannot_be_reached(home: Path) -> None:
    """Say, a mail server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        log_in(home, url)

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"220 mail.example ready\r\n")
                connection.recv(1 << 16)

        greeter = threading.Thread(target=greet)
        greeter.start()
        assert f"{url} cannot be reached (" in problem(url)
        greeter.join()


# ---- what it holds of a run ------------------------------------------------------------------


def test_the_summary_of_a_run_is_asked_for(server: WandbServer) -> None:
    held = {"bpb": 1.25, "result": json.dumps({"a": "ö"})}
    server.seed("researcher", "p", [Run("", "", "here", summary=held)])
    server.seed("lab", "p", [Run("", "", "there", summary={"bpb": 2.5})])
    mine = Tracker(kind="wandb", project="p", url=server.url)
    assert summary(mine, "here") == held
    assert summary(mine, "there") == {}
    assert summary(Tracker(project="p", entity="lab", url=server.url), "there") == {"bpb": 2.5}
    assert summary(Tracker(project="q", url=server.url), "here") == {}


def test_a_server_that_does_not_say_holds_nothing(server: WandbServer, home: Path) -> None:
    server.seed("lab", "p", [Run("", "", "there", summary={"bpb": 2.5})])
    tracker = Tracker(kind="wandb", project="p", entity="lab", url=server.url)
    assert summary(tracker, "there")
    server.fail("Run", status=500)
    assert summary(tracker, "there") == {}
    (home / ".netrc").unlink()
    assert summary(tracker, "there") == {}
    server.down()
    assert summary(tracker, "there") == {}
