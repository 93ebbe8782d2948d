"""What the Messages API refuses of a request, one line each; and what nobody here has asked it yet.

`faults` is pure: what earlier answers looked like comes in as a Memory.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from claude_cache import Json, blocks, serialised

VERSION = "2026-10-21"
EFFORTS = ("low", "medium", "high", "xhigh", "max")
GONE = ("temperature", "top_p", "top_k")
COUNTED = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}
KNOWN = COUNTED | {"max_tokens", "metadata", "stream"}
LARGEST = 128_000  # max_tokens
TOOL = {"name", "description", "input_schema", "cache_control", "strict", "type"}
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
BREAKPOINTS = 4

# The fields of each kind of block, by the role that may send it.
BLOCKS = {
    "user": {
        "text": ({"text"}, {"citations"}),
        "tool_result": ({"tool_use_id"}, {"content", "is_error"}),
    },
    "assistant": {
        "text": ({"text"}, {"citations"}),
        "thinking": ({"thinking", "signature"}, set[str]()),
        "redacted_thinking": ({"data"}, set[str]()),
        "tool_use": ({"id", "name", "input"}, {"caller"}),
    },
    "system": {"text": ({"text"}, {"citations"})},
}
THINKING = ("thinking", "redacted_thinking")


@dataclass
class Memory:
    """What the API can tell of its own answers when they come back."""

    thoughts: dict[str, str] = field(default_factory=dict)  # by signature
    companions: dict[str, list[str]] = field(default_factory=dict)  # signatures before a tool's id
    paused: set[str] = field(default_factory=set)  # contents that a pause_turn ended with

    def learn(self, content: Sequence[Json], stop_reason: str) -> None:
        signatures = [block["signature"] for block in content if block["type"] == "thinking"]
        for block in content:
            if block["type"] == "thinking":
                self.thoughts[block["signature"]] = block["thinking"]
            if block["type"] == "tool_use":
                self.companions[block["id"]] = signatures
        if stop_reason == "pause_turn":
            self.paused.add(serialised(content[-1:]))


def header_faults(headers: Mapping[str, str]) -> Iterator[str]:
    """`headers` by their names in small letters."""
    if not headers.get("authorization", "").startswith("Bearer "):
        yield "the key should come as 'Authorization: Bearer KEY'"
    if "x-api-key" in headers:
        yield "x-api-key beside Authorization"
    if headers.get("anthropic-version") != VERSION:
        yield f"anthropic-version should be {VERSION}, not {headers.get('anthropic-version')}"


def faults(body: object, memory: Memory, is_counting: bool = False) -> Iterator[str]:
    """Everything the API would not take of a body; `is_counting`: it is for count_tokens."""
    if not isinstance(body, dict):
        yield "the body should be a JSON object"
        return
    known = COUNTED if is_counting else KNOWN
    for name in sorted(set(body) - known):
        gone = " (since 2026-10-21)" if name in GONE else ""
        yield f"{name}: extra inputs are not permitted{gone}"
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "model: should be a name"
    if not is_counting:
        yield from length_faults(body)
    yield from setting_faults(body)
    yield from tool_faults(body)
    yield from system_faults(body)
    yield from message_faults(body, memory)
    yield from cache_faults(body)


def length_faults(body: Json) -> Iterator[str]:
    most = body.get("max_tokens")
    if type(most) is not int or not 1 <= most <= LARGEST:
        yield f"max_tokens: should be a whole number from 1 to {LARGEST}, not {most!r}"
    if body.get("stream", False) is not False:
        yield "stream: not spoken here"


def setting_faults(body: Json) -> Iterator[str]:
    match body.get("thinking", {"type": "adaptive"}):
        case {"type": "adaptive" | "disabled" | "between_tools", **rest} if not rest:
            pass
        case {"type": "adaptive", "display": "summarized" | "omitted", **rest} if not rest:
            pass
        case {"type": "enabled", "budget_tokens": int(n), **rest} if not rest and (
            1024 <= n < body.get("max_tokens", LARGEST)
        ):
            pass
        case shape:
            yield f"thinking: unknown shape {shape!r}"
    match body.get("output_config", {}):
        case {"effort": effort, **rest} if effort in EFFORTS and not rest:
            pass
        case {**shape} if not shape:
            pass
        case shape:
            yield f"output_config: unknown shape {shape!r}"
    match body.get("tool_choice", {"type": "auto"}):
        case {"type": "auto" | "any" | "none", **rest} if not rest:
            pass
        case {"type": "tool", "name": str(), **rest} if not rest:
            pass
        case shape:
            yield f"tool_choice: unknown shape {shape!r}"
    match body.get("metadata", {}):
        case {**rest} if set(rest) <= {"user_id"}:
            pass
        case shape:
            yield f"metadata: unknown shape {shape!r}"


# ---- tools -----------------------------------------------------------------------------------


def tool_faults(body: Json) -> Iterator[str]:
    tools = body.get("tools", [])
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        yield "tools: should be a list of objects"
        return
    names = [tool.get("name") for tool in tools]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"tools: tool names must be unique, but {name!r} comes twice"
    for n, tool in enumerate(tools):
        where = f"tools.{n}"
        if extra := sorted(set(tool) - TOOL):
            yield f"{where}.{extra[0]}: extra inputs are not permitted"
        if not isinstance(tool.get("name"), str) or not TOOL_NAME.fullmatch(tool["name"]):
            yield f"{where}.name: should match {TOOL_NAME.pattern}, not {tool.get('name')!r}"
        if not isinstance(tool.get("description", ""), str):
            yield f"{where}.description: should be text"
        if tool.get("type", "custom") not in ("custom", None):
            yield f"{where}.type: unknown {tool['type']!r}"
        schema = tool.get("input_schema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            yield f"{where}.input_schema: should be a schema of type object"
        else:
            yield from schema_faults(schema, f"{where}.input_schema")


def schema_faults(schema: object, where: str) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"{where}: should be a schema, not {schema!r}"
        return
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in TYPES:
            yield f"{where}.type: unknown {kind!r}"
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        yield f"{where}.properties: should be an object"
        return
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        yield f"{where}.required: should be a list of names"
    if not schema.get("enum", [0]):
        yield f"{where}.enum: should not be empty"
    for name, inner in properties.items():
        yield from schema_faults(inner, f"{where}.properties.{name}")
    for name in ("items", "additionalProperties"):
        yield from schema_faults(schema.get(name, True), f"{where}.{name}")


# ---- blocks ----------------------------------------------------------------------------------


def system_faults(body: Json) -> Iterator[str]:
    yield from content_faults(body.get("system", "-"), "system", "system")


def content_faults(content: object, role: str, where: str) -> Iterator[str]:
    """Of text, or a list of blocks that this role may send."""
    if not isinstance(content, str | list) or not content:
        yield f"{where}: should not be empty" if not content else f"{where}: should be blocks"
        return
    for n, block in enumerate(blocks(content)):
        yield from block_faults(block, role, f"{where}.{n}")


def block_faults(block: object, role: str, where: str) -> Iterator[str]:
    kinds = BLOCKS[role]
    if not isinstance(block, dict) or block.get("type") not in kinds:
        yield f"{where}: should be one of {', '.join(kinds)}, not {block!r:.80}"
        return
    needed, possible = kinds[block["type"]]
    names = set(block) - {"type", "cache_control"}
    for name in sorted(needed - names):
        yield f"{where}.{name}: field required"
    for name in sorted(names - needed - possible):
        yield f"{where}.{name}: extra inputs are not permitted"
    if not needed <= names:
        return
    match block:
        case {"type": "text"} if not isinstance(block["text"], str) or not block["text"].strip():
            yield f"{where}: text content blocks must contain non-whitespace text"
        case {"type": "tool_use"} if not isinstance(block["input"], dict):
            yield f"{where}.input: should be an object"
        case {"type": "tool_use"} if not TOOL_ID.fullmatch(str(block["id"])):
            yield f"{where}.id: should match {TOOL_ID.pattern}"
        case {"type": "tool_result"}:
            yield from result_faults(block, where)


def result_faults(block: Json, where: str) -> Iterator[str]:
    if not isinstance(block.get("is_error", False), bool):
        yield f"{where}.is_error: should be true or false"
    if block.get("content"):
        yield from content_faults(block["content"], "system", f"{where}.content")
    elif block.get("is_error"):
        yield f"{where}: content cannot be empty if is_error is true"


# ---- messages --------------------------------------------------------------------------------


def message_faults(body: Json, memory: Memory) -> Iterator[str]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "messages: at least one message is required"
        return
    for n, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant") or set(message) != {"role", "content"}:
            yield f"messages.{n}: should have a role, user or assistant, and content"
            return
        found = list(content_faults(message["content"], role, f"messages.{n}.content"))
        yield from found
        if found:
            return
    roles = [message["role"] for message in messages]
    if roles[0] != "user" or any(a == b for a, b in pairwise(roles)):
        yield f"messages: roles should alternate and begin with user, but are {' '.join(roles)}"
    last = blocks(messages[-1]["content"])
    if roles[-1] == "assistant" and serialised(last[-1:]) not in memory.paused:
        yield "messages: this model does not support prefill: the last should be the user's"
    yield from pairing_faults(messages)
    yield from name_faults(messages, body.get("tools") or [], memory)
    for message in messages:
        if message["role"] == "assistant":
            yield from thought_faults(blocks(message["content"]), memory)


def pairing_faults(messages: Sequence[Json]) -> Iterator[str]:
    """Each tool_use is answered at the head of the next message, and nothing else is."""
    asked: list[str] = []
    seen: set[str] = set()
    for n, message in enumerate(messages):
        content = blocks(message["content"])
        kinds = [block["type"] for block in content]
        given = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
        if missing := [id for id in asked if id not in given]:
            yield f"messages.{n}: tool_use ids without tool_result: {', '.join(missing)}"
        if odd := [id for id in given if id not in asked or given.count(id) > 1]:
            yield f"messages.{n}: tool_result without its tool_use: {', '.join(odd)}"
        if "tool_result" in kinds[len(given) :]:
            yield f"messages.{n}: tool_result blocks should come first"
        asked = [block["id"] for block in content if block["type"] == "tool_use"]
        if twice := [id for id in asked if id in seen or asked.count(id) > 1]:
            yield f"messages.{n}: tool_use ids must be unique: {', '.join(sorted(set(twice)))}"
        seen |= set(asked)
    if asked:
        yield f"messages: tool_use ids without tool_result: {', '.join(asked)}"


def name_faults(messages: Sequence[Json], tools: Sequence[Any], memory: Memory) -> Iterator[str]:
    """A name that Claude made up itself may come back; nobody else may make one up."""
    declared = {tool.get("name") for tool in tools if isinstance(tool, dict)}
    for message in messages:
        for block in blocks(message["content"]):
            is_known = block["type"] != "tool_use" or block["name"] in declared
            if not is_known and block["id"] not in memory.companions:
                yield f"messages: tool_use of {block['name']!r}, which is not declared"


def thought_faults(content: Sequence[Json], memory: Memory) -> Iterator[str]:
    """Thoughts come back unchanged and before the tools they led to."""
    if content[-1]["type"] in THINKING:
        yield "messages: the final block in an assistant message cannot be thinking"
    signatures: list[str] = []
    for block in content:
        if block["type"] == "thinking":
            signatures.append(block["signature"])
            if memory.thoughts.get(block["signature"]) != block["thinking"]:
                yield "messages: thinking blocks cannot be modified: signature does not fit"
        if block["type"] == "tool_use":
            wanted = memory.companions.get(block["id"], [])
            if [s for s in signatures if s in wanted] != wanted:
                yield f"messages: expected thinking before tool_use {block['id']}"


# ---- breakpoints -----------------------------------------------------------------------------


def cache_faults(body: Json) -> Iterator[str]:
    marked = [block for block in cacheable(body) if block.get("cache_control") is not None]
    if len(marked) > BREAKPOINTS:
        yield f"cache_control: at most {BREAKPOINTS} blocks, but {len(marked)} were marked"
    lives: list[str] = []
    for block in marked:
        match block["cache_control"]:
            case {"type": "ephemeral", **rest} if rest.get("ttl", "5m") in ("5m", "1h") and (
                set(rest) <= {"ttl"}
            ):
                lives.append(str(rest.get("ttl", "5m")))
            case shape:
                yield f"cache_control: unknown shape {shape!r}"
        if block.get("type") in THINKING:
            yield "cache_control: extra inputs are not permitted on thinking"
    if lives != sorted(lives):  # "1h" < "5m"
        yield "cache_control: a ttl of 1h must not come after one of 5m"


def cacheable(body: Json) -> Iterator[Json]:
    """Every block that could be marked, whatever else is wrong with the body."""
    messages = [m for m in body.get("messages") or () if isinstance(m, dict)]
    for found in (body.get("tools"), body.get("system"), *(m.get("content") for m in messages)):
        if isinstance(found, list):
            yield from (block for block in found if isinstance(block, dict))
