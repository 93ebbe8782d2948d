"""A small local server that speaks the Messages API as far as the real `anthropic` client asks it.

Who answers is a Scientist: a function from a request's body to an Answer. What the real API would
refuse is answered as it would, and fails the test at the end; what may happen to anybody (a wrong
key, a limit, a broken line) is a Fault, and fails nothing. It knows nothing of streams and batches.
"""

import base64
import hashlib
import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from claude_cache import Cache, Json, prompt_tokens, tokens
from claude_rules import Memory, faults, header_faults
from wandb_listener import Handler, Listener, Reply

KEY = "sk-ant-local-key-of-the-tests"
MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
MESSAGES, COUNT, MODEL = "/v1/messages", "/v1/messages/count_tokens", "/v1/models/"


@dataclass
class Answer:
    """What Claude says, without the ids, which are the server's."""

    content: Sequence[Json]
    stop_reason: str = ""  # "": tool_use if it uses a tool, else end_turn
    thinking: str = ""  # comes first, with a signature
    stop_details: Json | None = None


Scientist = Callable[[Json], Answer]


def says(text: str, thinking: str = "") -> Answer:
    return Answer([{"type": "text", "text": text}], thinking=thinking)


def uses(name: str, thinking: str = "", /, **input: Any) -> Answer:
    return Answer([use(name, **input)], thinking=thinking)


def use(name: str, /, **input: Any) -> Json:
    return {"type": "tool_use", "name": name, "input": input}


def script(*answers: Answer) -> Scientist:
    """These answers, one after the other, whatever is asked."""
    left = iter(answers)
    return lambda body: next(left)


def silent(body: Json) -> Answer:
    raise AssertionError("nobody should have been asked")


@dataclass
class Fault:
    """What goes wrong with the next `times` requests to a path."""

    kind: str  # "status", "drop", "slow", "cut", "refuse" or "garbage"
    path: str = MESSAGES
    times: float = 1
    seconds: float = 0.0
    status: int = 0
    error: Json = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """One request as it came (its key hidden), and how it was answered; status 0: not at all."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int = 0
    answer: Any = None


class Line(Handler):
    """As the listener's, but knows statuses that Python has no name for: 529."""

    def handle_method(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server.answer(self.command, self.path, self.headers, body)
        content = reply.content
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response_only(reply.status)
        ours = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in (ours | reply.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_method  # noqa: N815


class ClaudeServer:
    """Serves while its context is open; on the way out, AssertionError if anything was wrong."""

    def __init__(self, scientist: Scientist = silent, port: int = 0, key: str = KEY) -> None:
        self.scientist = scientist
        self.key = key
        self.rule: Callable[[Request], Fault | None] = lambda request: None
        self.violations: list[str] = []
        self.billed: list[Json] = []  # the usage of each answer, whether it arrived or not
        self._requests: list[Request] = []
        self._faults: list[Fault] = []
        self._cache = Cache()
        self._memory = Memory()
        self._numbers = itertools.count(1)
        self._ahead = 0.0
        self._lock = threading.RLock()
        self._listener = Listener(port, self._answer, self._note)
        self._listener.RequestHandlerClass = Line
        self.url = self._listener.url
        self.port = self._listener.server_address[1]

    def __enter__(self) -> Self:
        self._listener.open()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        self._listener.release()
        if self.violations:
            error.add_note(self.verdict)

    def close(self) -> None:
        """Raises AssertionError if anything was asked that the real API would refuse."""
        self._listener.release()
        if self.violations:
            raise AssertionError(self.verdict)

    @property
    def verdict(self) -> str:
        return "the Messages API would refuse: " + "; ".join(dict.fromkeys(self.violations))

    # ---- what a test looks at

    @property
    def requests(self) -> list[Request]:
        """All of them, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def bodies(self) -> list[Json]:
        """Of the requests for an answer."""
        return [request.body for request in self.requests if request.path == MESSAGES]

    # ---- what a test does to it

    def fail(
        self,
        status: int,
        message: str = "injected",
        *,
        headers: Mapping[str, str] | None = None,
        times: float = 1,
        path: str = MESSAGES,
        code: str = "",
    ) -> None:
        """The next `times` requests are answered so; `code` is the error's own name."""
        error: Json = {"type": ERRORS.get(status, "api_error"), "message": message}
        if code:
            error["details"] = {"error_code": code}
        fault = Fault("status", path, times, status=status, error=error, headers=headers or {})
        self.inject(fault)

    def spend_limit(self, times: float = 1) -> None:
        code = "enforced_spend_limit_reached"
        self.fail(429, "You have reached your API usage limit", times=times, code=code)

    def drop(self, times: float = 1, path: str = MESSAGES) -> None:
        """The prompt is read, and billed; then the connection breaks."""
        self.inject(Fault("drop", path, times))

    def slow(self, seconds: float, times: float = math.inf, path: str = MESSAGES) -> None:
        self.inject(Fault("slow", path, times, seconds=seconds))

    def cut(self, times: float = 1) -> None:
        """The answer reaches max_tokens in the middle of its last block."""
        self.inject(Fault("cut", times=times))

    def refuse(self, times: float = 1) -> None:
        """Claude stops with a refusal."""
        self.inject(Fault("refuse", times=times))

    def garbage(self, times: float = 1, path: str = MESSAGES) -> None:
        """Somebody else answers: a page of text with a good status."""
        self.inject(Fault("garbage", path, times))

    def inject(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()
            self.rule = lambda request: None

    def forward(self, seconds: float) -> None:
        """The cache gets older by so much."""
        self._ahead += seconds

    def down(self) -> None:
        """From now on nobody can connect; whoever is connected is cut off."""
        self._listener.shut()

    def up(self) -> None:
        """On the same port again."""
        self._listener.open()

    # ---- answering

    def _note(self, violation: str) -> None:
        with self._lock:
            self.violations.append(violation)

    def _answer(self, method: str, target: str, headers: Message, body: bytes) -> Reply:
        """Called from many threads at once."""
        named = {name.lower(): value for name, value in headers.items()}
        known = {**named, "authorization": "Bearer …"} if "authorization" in named else named
        request = Request(method, urlsplit(target).path, known, parsed(body))
        with self._lock:
            self._requests.append(request)
        reply = self._reply(request, named)
        request.status, request.answer = reply.status, reply.content
        reply.headers = {"request-id": self._id("req"), **reply.headers}
        return reply

    def _reply(self, request: Request, headers: Mapping[str, str]) -> Reply:
        if wrong := [*header_faults(headers), *self._body_faults(request)]:
            return self._violated(request, wrong)
        fault = self._next_fault(request)
        if fault and fault.kind == "slow":
            time.sleep(fault.seconds)
        elif fault and fault.kind == "garbage":
            return Reply(200, b"<html>Please log in.</html>", {"Content-Type": "text/html"})
        elif fault and fault.kind == "status":
            return self._error(fault.status, fault.error, fault.headers)
        elif fault and fault.kind == "drop":
            self._bill(request, [])
            raise ConnectionAbortedError("injected")
        if headers["authorization"] != f"Bearer {self.key}":
            return self._refused(401, "invalid bearer token")
        return self._serve(request, fault.kind if fault else "")

    def _body_faults(self, request: Request) -> list[str]:
        match request.method, request.path:
            case "POST", ("/v1/messages" | "/v1/messages/count_tokens") as path:
                if request.headers.get("content-type") != "application/json":
                    return ["content-type should be application/json"]
                return list(faults(request.body, self._memory, is_counting=path == COUNT))
            case "GET", path if path.startswith(MODEL):
                return []
        return ["unknown path"]

    def _violated(self, request: Request, wrong: Sequence[str]) -> Reply:
        for fault in wrong:
            self._note(f"{request.method} {request.path}: {fault}")
        unknown = wrong == ["unknown path"]
        return self._refused(404 if unknown else 400, "; ".join(wrong))

    def _serve(self, request: Request, trouble: str) -> Reply:
        model = request.body["model"] if request.body else request.path.removeprefix(MODEL)
        if model not in MODELS:
            return self._refused(404, f"model: {model}")
        if request.path.startswith(MODEL):
            return Reply(200, described(model))
        if request.path == COUNT:
            return Reply(200, {"input_tokens": prompt_tokens(request.body)})
        try:
            answer = self.scientist(request.body)
        except (AssertionError, LookupError, StopIteration, TypeError, ValueError) as error:
            self._note(f"the scientist failed: {error!r}")
            return self._refused(400, "the scientist failed")
        return Reply(200, self._message(request, altered(answer, trouble)))

    def _message(self, request: Request, answer: Answer) -> Json:
        content = [self._block(block) for block in answer.content]
        if answer.thinking:
            content.insert(0, thought(answer.thinking, next(self._numbers)))
        is_tool = any(block["type"] == "tool_use" for block in content)
        reason = answer.stop_reason or ("tool_use" if is_tool else "end_turn")
        with self._lock:
            self._memory.learn(content, reason)
        return {
            "id": self._id("msg"),
            "type": "message",
            "role": "assistant",
            "model": request.body["model"],
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "stop_details": answer.stop_details,
            "container": None,
            "usage": self._bill(request, content),
        }

    def _block(self, block: Json) -> Json:
        if block["type"] == "tool_use":
            return {"id": self._id("toolu"), "caller": {"type": "direct"}, **block}
        return {"citations": None, **block} if block["type"] == "text" else dict(block)

    def _bill(self, request: Request, content: Sequence[Json]) -> Json:
        with self._lock:
            usage = self._cache.take(request.body, time.monotonic() + self._ahead)
            usage["output_tokens"] = sum(map(tokens, content))
            if usage["output_tokens"] > request.body["max_tokens"]:
                self._note("the scientist said more than max_tokens")
            self.billed.append(usage)
        return usage

    def _next_fault(self, request: Request) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.path == request.path:
                    fault.times -= 1
                    return fault
            return self.rule(request)

    def _refused(self, status: int, message: str) -> Reply:
        return self._error(status, {"type": ERRORS[status], "message": message}, {})

    def _error(self, status: int, error: Json, headers: Mapping[str, str]) -> Reply:
        content = {"type": "error", "error": error, "request_id": self._id("req")}
        return Reply(status, content, dict(headers))

    def _id(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers):06d}"


def parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def thought(text: str, number: int) -> Json:
    signature = base64.b64encode(hashlib.sha256(f"{number} {text}".encode()).digest()).decode()
    return {"type": "thinking", "thinking": text, "signature": signature}


def altered(answer: Answer, trouble: str) -> Answer:
    if trouble == "cut":
        return Answer([*answer.content[:-1], halved(answer.content[-1])], "max_tokens")
    if trouble == "refuse":
        details = {"type": "refusal", "category": "frontier_llm", "explanation": "It may help."}
        return Answer([], "refusal", answer.thinking, details)
    return answer


def halved(block: Json) -> Json:
    """The first half of a block: of a tool's input the first half of its fields."""
    if block["type"] == "tool_use":
        fields = list(block["input"].items())
        return {**block, "input": dict(fields[: len(fields) // 2])}
    return {**block, "text": block["text"][: len(block["text"]) // 2]}


def described(model: str) -> Json:
    """As `GET /v1/models/…` does, the fields that tell nothing here left out."""
    return {
        "type": "model",
        "id": model,
        "display_name": model,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }
