"""What was said in a model call: the messages sent, the answer, the reasoning in it.

Comes in: the attributes of a span, read, and its events. Goes out: lists of messages in the form
in which the source wrote them, one item a message. Conventions have had a message in attributes of
a span (one text of JSON, or spread over indexed names), in events of a span, and in log records;
where several carry the same conversation, the attributes count and the others stay what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.ingest.reading import json_of

if TYPE_CHECKING:
    from whence.ingest.otel import Happening
    from whence.ingest.reading import Reading

_SENT_EVENTS = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
    "gen_ai.content.prompt": "user",
}
_ANSWER_EVENTS = frozenset({"gen_ai.choice", "gen_ai.content.completion"})
_DETAILS_EVENT = "gen_ai.client.inference.operation.details"
_CONTENT = ("gen_ai.event.content", "gen_ai.prompt", "gen_ai.completion", "content", "message")
_ABOUT_MESSAGE = ("id", "name", "tool_calls", "tool_call_id")
"""What a message has beside its content."""
_TOOL_EVENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "gen_ai.tool.message": {"tool_input": ("content", "gen_ai.event.content")},
    "gen_ai.choice": {"tool_output": ("message", "content", "gen_ai.event.content")},
    _DETAILS_EVENT: {
        "tool_input": ("gen_ai.input.messages",),
        "tool_output": ("gen_ai.output.messages",),
    },
}
"""Event of a tool's span to what it says, and the attributes that hold it."""
_REASONING = frozenset({"reasoning", "thinking"})


class Said(msgspec.Struct):
    """What the events of a span say of a model call."""

    sent: list[Any] = []
    """Messages sent."""
    answered: list[Any] = []
    """Messages that came back."""
    finish_reason: str | None = None
    """Why the model stopped."""
    first_chunk_ns: int = 0
    """When the first part of the answer arrived, Unix time; 0 if nobody said."""


def find_sent(read: Reading) -> list[Any]:
    """Return the messages that a span says were sent, instructions first."""
    found = _first_list(read, "messages")
    if not found and "embeddings" in read.lists:
        found = [_field(item, "text") for item in read.lists["embeddings"]]
        found = [text for text in found if text is not None]
    instructions = read.fields.get("instructions")
    if instructions is None:
        return found
    return [{"role": "system", "parts": instructions}, *found]


def find_answered(read: Reading) -> list[Any]:
    """Return the messages that a span says came back."""
    found = _first_list(read, "answers")
    if not found and "embeddings" in read.lists:
        vectors = [_field(item, "vector") for item in read.lists["embeddings"]]
        found = [vector for vector in vectors if vector is not None]
    calls = read.fields.get("answer_calls")
    return [*found, {"role": "assistant", "tool_calls": calls}] if calls else found


def _first_list(read: Reading, name: str) -> list[Any]:
    """Return a conversation; where it is stated in two ways, the other stays an attribute."""
    spread, whole = read.lists.get(name), read.fields.get(name)
    if whole is not None:
        read.put_back(name)
        return cast("list[Any]", whole) if isinstance(whole, list) else [whole]
    return spread or []


def _field(item: Any, name: str) -> Any:
    return cast("dict[str, Any]", item).get(name) if isinstance(item, dict) else None


def reasoning(messages: list[Any]) -> str | None:
    """Return the reasoning texts in an answer, separated by blank lines; None if there are none."""
    texts: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        given = cast("dict[str, Any]", message)
        for parts in (given.get("parts"), given.get("contents"), given.get("content")):
            if isinstance(parts, list):
                texts += [t for part in cast("list[Any]", parts) if (t := _thought(part))]
        for name in ("reasoning_content", "reasoning"):
            if isinstance(text := given.get(name), str) and text:
                texts.append(text)
    return "\n\n".join(texts) or None


def _thought(part: Any) -> str | None:
    if not isinstance(part, dict):
        return None
    given = cast("dict[str, Any]", part)
    if given.get("type") not in _REASONING:
        return None
    for name in ("content", "text", "thinking"):
        if isinstance(text := given.get(name), str) and text:
            return text
    return None


def of_parts(messages: list[Any]) -> list[Any]:
    """Return messages with parts as chat messages: the way back from what the export makes."""
    return [_chat_message(message) for message in messages]


def _chat_message(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    given = cast("dict[str, Any]", message)
    parts: Any = given.get("parts")
    if not isinstance(parts, list) or not all(isinstance(one, dict) for one in parts):  # pyright: ignore[reportUnknownVariableType]
        return given
    made = {name: value for name, value in given.items() if name != "parts"}
    blocks: list[Any] = []
    calls: list[Any] = []
    for part in cast("list[dict[str, Any]]", parts):
        kind = part.get("type")
        if kind == "tool_call_response" and len(cast("list[Any]", parts)) == 1:
            return {**made, "tool_call_id": part.get("id"), "content": part.get("result")}
        if kind == "tool_call":
            about = {"name": part.get("name"), "arguments": part.get("arguments")}
            calls.append({"id": part.get("id"), "type": "function", "function": about})
        elif kind == "reasoning" and not blocks:
            made["reasoning_content"] = part.get("content")
        elif kind == "text":
            blocks.append({"type": "text", "text": part.get("content")})
        else:
            blocks.append(part)
    one = len(blocks) == 1 and blocks[0].get("type") == "text"
    made["content"] = blocks[0]["text"] if one else blocks or None
    if calls:
        made["tool_calls"] = calls
    return made


def take_event(said: Said, event: Happening, *, sent: bool, answered: bool) -> bool:
    """Take over what an event says of the conversation.

    Args:
        said: What events said so far.
        event: The event.
        sent: Whether messages that were sent are wanted.
        answered: Whether messages that came back are wanted.

    Returns:
        Whether it said something that was wanted.
    """
    if event.name == _DETAILS_EVENT:
        return _take_details(said, event.attributes, sent=sent, answered=answered)
    role = _SENT_EVENTS.get(event.name)
    if role is not None:
        if sent and (message := message_of(event.attributes, role)) is not None:
            said.sent = [*said.sent, message]
            return True
        return False
    if not answered or event.name not in _ANSWER_EVENTS:
        return False
    message = message_of(event.attributes, "assistant")
    if message is None:
        return False
    said.answered = [*said.answered, message]
    reason = event.attributes.get("finish_reason")
    if isinstance(message, dict):
        reason = reason or cast("dict[str, Any]", message).get("finish_reason")
    if isinstance(reason, str):
        said.finish_reason = reason
    return True


def _take_details(said: Said, given: dict[str, Any], *, sent: bool, answered: bool) -> bool:
    """Take over the messages of an event that holds a whole conversation, or a part of it."""
    system, asked, told = (
        json_of(given.get(f"gen_ai.{name}"))
        for name in ("system_instructions", "input.messages", "output.messages")
    )
    if ((system or asked) and not sent) or (told and not answered):
        return False
    if system:
        said.sent = [{"role": "system", "parts": system}, *said.sent]
    said.sent = [*said.sent, *_listed(asked)]
    said.answered = [*said.answered, *_listed(told)]
    return bool(system or asked or told)


def _listed(value: Any) -> list[Any]:
    if not value:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def message_of(attributes: dict[str, Any], role: str) -> Any:
    """Return the message that an event carries; None if it carries none."""
    for name in _CONTENT:
        content = json_of(attributes.get(name))
        if content is None:
            continue
        if isinstance(content, dict):
            inner = cast("dict[str, Any]", content)
            message = inner.get("message")
            if isinstance(message, dict):
                others = {k: v for k, v in inner.items() if k != "message"}
                inner = {**cast("dict[str, Any]", message), **others}
            return {"role": role, **inner}
        if name in {"gen_ai.prompt", "gen_ai.completion"} and isinstance(content, list):
            return cast("list[Any]", content)
        about = {key: attributes[key] for key in _ABOUT_MESSAGE if key in attributes}
        return {"role": role, **about, "content": content}
    return None


def tool_parts(events: list[Happening]) -> tuple[dict[str, Any], list[Happening]]:
    """Return what went into a tool and what came out by its span's events, and the other events.

    Strands says it so: in the message of a tool and the choice that follows, or in the messages of
    an event of details.
    """
    found: dict[str, Any] = {}
    rest: list[Happening] = []
    for event in events:
        said = {
            field: value
            for field, names in _TOOL_EVENTS.get(event.name, {}).items()
            if (value := _content(event.attributes, names)) is not None
        }
        if said and found.keys().isdisjoint(said):
            found |= said
        else:
            rest.append(event)
    return found, rest


def _content(given: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return what a message of a tool holds: of one part what is in it."""
    told: Any = next((json_of(given[name]) for name in names if given.get(name) is not None), None)
    part = _only(_field(_only(told), "parts"))
    held = (_field(part, name) for name in ("arguments", "response", "result"))
    return next((one for one in held if one is not None), told)


def _only(items: Any) -> Any:
    """Return the one item of a list; None for anything else."""
    listed = cast("list[Any]", items) if isinstance(items, list) else []
    return listed[0] if len(listed) == 1 else None
