"""The Messages API through its own client: one request, one answer or one plain reason why not.

It asks once: whether to ask again is for others to decide. The key is in no message of ours.
"""

import http.client
import json
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autoresearch import strict
from autoresearch.claude.prices import Usage
from autoresearch.errors import ConfigError, UserError
from autoresearch.experiment import Json, plain
from autoresearch.settings import Claude

KEY_NAME = "ANTHROPIC_API_KEY"
KEY_FILE = "~/.config/autoresearch/anthropic.key"
PUBLIC = "https://api.anthropic.com"
VERSION = "2026-10-21"  # of the API
LASTING = (401, 403, 404)  # HTTP status codes that mean the same tomorrow
CONNECT_SECONDS = 5.0
LONGEST = 300  # characters of somebody else's words in a reason of ours

# Causes of a connection error after which no byte of the request can have been answered: classes
# of httpx2, by name, since anthropic alone is ours to import.
NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
UNANSWERED = {408, 499, 502, 504}  # somebody between us and the API gave up: it may have answered

ADVICE = {
    400: "see claude.model and claude.effort",
    401: f"check {KEY_NAME} or {KEY_FILE}",
    402: "see the billing of your account",
    403: "the key may not be used for this: see claude.model",
    404: "check claude.model and claude.url",
}


class KeyMissing(UserError):  # noqa: N818 - it reports a fact
    """No key, or one that others can read."""


class Unanswered(UserError):  # noqa: N818 - it reports a fact
    """A request without an answer: why, in one line."""

    def __init__(
        self,
        reason: str,
        *,
        is_passing: bool = False,
        may_be_billed: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.is_passing = is_passing  # whether it may go better soon
        self.may_be_billed = may_be_billed
        self.wait = wait  # seconds the server wants us to wait


class Client:
    """What a conversation asks; its connections are closed as its context is left. `sdk` is an
    `anthropic.Anthropic` that never retries by itself."""

    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._sdk.close()

    def answer(self, body: Json, seconds: float) -> Json:
        """The message that answers a body, as it came. Raises Unanswered."""
        return self._ask(self._sdk.messages.with_raw_response.create, body, seconds, is_message)

    def count(self, body: Json, seconds: float) -> int:
        """Tokens of a body's prompt, free of charge. Raises Unanswered."""
        asked = {name: value for name, value in body.items() if name != "max_tokens"}
        call = self._sdk.messages.with_raw_response.count_tokens
        tokens: int = self._ask(call, asked, seconds, is_count)["input_tokens"]
        return tokens

    def _ask(
        self, call: Callable[..., Any], body: Json, seconds: float, fits: Callable[[Json], bool]
    ) -> Json:
        import anthropic  # noqa: PLC0415 - takes two seconds

        timeout = anthropic.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
        try:
            response = call(**body, timeout=timeout)
        except anthropic.APIStatusError as error:
            raise self._refusal(error) from None
        except anthropic.APIConnectionError as error:
            raise self._break(error, seconds) from None
        answer = parsed(response.http_response.content)
        if not fits(answer):
            raise Unanswered(
                "the answer should be a message, but is something else; check claude.url",
                may_be_billed=True,
            )
        return answer

    def _refusal(self, error: Any) -> Unanswered:
        """What a status means."""
        status, headers = error.status_code, error.response.headers
        said = self._clean(str(error.api_message or error.type or "without a word"))
        if str(error.error_code or "").endswith("spend_limit_reached"):
            return Unanswered(f"the account's spend limit is reached ({status}): {said}")
        is_passing = status in (408, 409, 429) or status >= 500
        if headers.get("x-should-retry") in ("true", "false"):
            is_passing = headers["x-should-retry"] == "true"
        return Unanswered(
            f"{named(status)} ({status}): {said}" + ("" if is_passing else advice(status)),
            is_passing=is_passing,
            may_be_billed=status in UNANSWERED,
            wait=seconds_of(headers),
        )

    def _break(self, error: Any, seconds: float) -> Unanswered:
        """What a connection that failed means."""
        cause = error.__cause__
        if type(cause).__name__ in NEVER_SENT:
            why = self._clean(str(cause)) or "no connection"
            place = self._sdk.base_url.host
            return Unanswered(f"{place} cannot be reached: {why}", is_passing=True)
        why = "the connection broke before the answer"
        if type(cause).__name__.endswith("Timeout"):
            why = f"no answer within {seconds:.3g} s"
        return Unanswered(why, is_passing=True, may_be_billed=True)

    def _clean(self, words: str) -> str:
        """Somebody else's words on one line, the key taken out."""
        key = self._sdk.api_key
        shown = " ".join(words.replace(key, "…").split()) if key else words
        return plain(shown, LONGEST)


def connect(settings: Claude) -> Client:
    """A client with the user's key. Raises KeyMissing."""
    key = find_key()
    import anthropic  # noqa: PLC0415 - takes two seconds

    return Client(
        anthropic.Anthropic(
            api_key=key,
            base_url=settings.url or None,  # else ANTHROPIC_BASE_URL
            max_retries=0,
            open_telemetry=False,  # no spans, whatever another package has set up
        )
    )


def check_access(settings: Claude) -> None:
    """Raises ConfigError if the API does not take the key or the model. That it cannot be asked
    now, for whatever other reason, is no error: it may pass."""
    base = settings.url or os.environ.get("ANTHROPIC_BASE_URL") or PUBLIC
    request = urllib.request.Request(  # noqa: S310 - http or https, as the settings are checked
        f"{base.rstrip('/')}/v1/models/{settings.model}",
        headers={"Authorization": f"Bearer {find_key()}", "anthropic-version": VERSION},
    )
    try:
        urllib.request.urlopen(request, timeout=CONNECT_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in LASTING:
            why = f"{named(error.code)} ({error.code}){advice(error.code)}"
            raise ConfigError(f"{settings.model} should answer, but {why}") from None
    except (OSError, http.client.HTTPException, ValueError):  # it may pass
        return


def find_key() -> str:
    """The user's key, from the environment or their file. Raises KeyMissing."""
    key = os.environ.get(KEY_NAME, "").strip()
    place = KEY_NAME
    if not key:
        place = KEY_FILE
        key = read_key(Path(KEY_FILE).expanduser())
    if not key.isascii() or not key.isprintable() or " " in key:
        raise KeyMissing(f"{place} should hold one key and nothing else, but holds other signs")
    return key


def read_key(path: Path) -> str:
    """What a key file holds. Raises KeyMissing if others could have read it."""
    try:
        with path.open(encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            key = file.read().strip()
    except FileNotFoundError:
        key = ""
    except (OSError, ValueError) as error:
        raise KeyMissing(f"{path} should hold a key, but cannot be read: {reason(error)}") from None
    if not key:
        raise KeyMissing(
            f"Claude should have a key, but there is none: export {KEY_NAME}=..., or write it "
            f"to {KEY_FILE} (chmod 600)"
        )
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.getuid() or mode & 0o077:
        raise KeyMissing(
            f"{path} should be readable by you alone, but its mode is {mode:03o}; "
            f"chmod 600 {path}, and consider a new key"
        )
    return key


def reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is no text"


# ---- reading answers ---------------------------------------------------------------------------


def named(status: int) -> str:
    match status:
        case 401:
            return "the key was refused"
        case 429:
            return "rate limited"
        case 529:
            return "overloaded"
    return "the server failed" if status >= 500 else "the request was refused"


def advice(status: int) -> str:
    return f"; {ADVICE[status]}" if status in ADVICE else ""


def seconds_of(headers: Any) -> float | None:
    """What retry-after asks for; None: nothing that can be waited for."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 else None


def parsed(content: bytes) -> Json:
    """The object that a body holds, or an empty one."""
    try:
        found = strict.loads(content)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate could not go back
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_message(answer: Json) -> bool:
    """Whether it has what a conversation reads."""
    match answer:
        case {"type": "message", "content": list(content), "stop_reason": str(), "usage": dict()}:
            return all(is_block(block) for block in content) and is_usage(answer["usage"])
    return False


def is_usage(record: Json) -> bool:
    try:
        Usage.from_api(record, "5m")
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def is_block(block: object) -> bool:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        return False
    needed = {"tool_use": ("id", "name"), "text": ("text",)}.get(block["type"], ())
    return all(isinstance(block.get(name), str) for name in needed)


def is_count(answer: Json) -> bool:
    return type(answer.get("input_tokens")) is int
