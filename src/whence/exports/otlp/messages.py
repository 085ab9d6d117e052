"""Conversations in the forms that conventions demand.

Comes in: messages in the form in which they were recorded, which is the provider's or the user's.
Goes out: messages with `parts` as the OpenTelemetry GenAI conventions have them, or attributes that
spread a list over indexed names as OpenInference has it. What a form has no word for is kept beside
it, under its own name.

Source: OpenTelemetry GenAI semantic conventions (gen_ai-input-messages.json,
gen_ai-output-messages.json); OpenInference specification (LLM spans).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from whence.exports.otlp.model import flat, json_text
from whence.ingest import messages as read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whence.exports.otlp.model import Options
    from whence.store.rows import GenerationRow

_REASONING = ("reasoning_content", "reasoning")
_PLAIN_KEYS = frozenset({"role", "content"})
_TAKEN = frozenset({"role", "content", "tool_calls", "tool_call_id", *_REASONING})


def sent_as_parts(messages: list[Any]) -> list[Any]:
    """Return messages that were sent, each with a role and parts."""
    return [_with_parts(message, "user") for message in messages]


def answered(output: Any) -> list[Any]:
    """Return the messages of an answer in the form in which they were recorded."""
    if output is None:
        return []
    items: list[Any] = cast("list[Any]", output) if isinstance(output, list) else [output]
    if all(_is_message(item) for item in items):
        return items
    return [{"role": "assistant", "content": output}]


def answered_as_parts(output: Any, reasoning: Any, finish_reason: str | None) -> list[Any]:
    """Return the messages of an answer, each with parts and why it ended.

    Args:
        output: The answer.
        reasoning: The reasoning, where it was recorded apart from the answer.
        finish_reason: Why the model stopped.
    """
    made = [_with_parts(message, "assistant") for message in answered(output)]
    if reasoning is not None and not any(_has_reasoning(message) for message in made):
        part = {"type": "reasoning", "content": _as_text(reasoning)}
        if made:
            made[0] = {**made[0], "parts": [part, *made[0]["parts"]]}
        else:
            made = [{"role": "assistant", "parts": [part]}]
    for message in made:
        message.setdefault("finish_reason", finish_reason or "")
    return made


def is_chat(sent: list[Any]) -> bool:
    """Whether messages that were sent can be told from their parts, if these are known for such."""
    return read.of_parts(sent_as_parts(sent)) == sent


def answer_read(row: GenerationRow, options: Options) -> dict[str, Any]:
    """Return output and reasoning of a call as a reader of the conventions has them.

    An ellipsis stands for what it would make something else of.
    """
    if options.genai:
        answer = answered_as_parts(row.output, row.reasoning, row.finish_reason)
        return {"output": answer or None, "reasoning": read.reasoning(answer)}
    answer = answered(row.output)
    if row.reasoning is not None or not all(map(is_simple, answer)):
        return {"output": ..., "reasoning": ...}
    return {"output": answer or None, "reasoning": None}


def is_simple(message: Any) -> bool:
    """Whether a message is a role and a text, which comes back from indexed names as it was."""
    return (
        isinstance(message, dict)
        and message.keys() == _PLAIN_KEYS  # pyright: ignore[reportUnknownMemberType]
        and isinstance(message["role"], str)
        and isinstance(message["content"], str)
    )


def spread(prefix: str, messages: list[Any]) -> dict[str, Any]:
    """Return messages as attributes `<prefix>.<index>.message.<field>`."""
    made: dict[str, Any] = {}
    for number, message in enumerate(messages):
        start = f"{prefix}.{number}.message"
        if not _is_message(message):
            made[f"{start}.role"] = "user"
            made[f"{start}.content"] = _as_text(message)
            continue
        given = cast("dict[str, Any]", message)
        content = given.get("content")
        for name, value in given.items():
            if name == "tool_calls" and isinstance(value, list):
                made |= _spread_calls(f"{start}.tool_calls", cast("list[Any]", value))
            elif name == "content" and isinstance(content, list):
                made |= _spread_contents(f"{start}.contents", cast("list[Any]", content))
            elif value is not None:
                made[f"{start}.{name}"] = flat(value)
    return made


def _spread_contents(prefix: str, blocks: list[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        start = f"{prefix}.{number}.message_content"
        if not isinstance(block, dict):
            made[f"{start}.type"], made[f"{start}.text"] = "text", _as_text(block)
            continue
        for name, value in cast("dict[str, Any]", block).items():
            made[f"{start}.{name}"] = flat(value)
    return made


def _spread_calls(prefix: str, calls: list[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for number, call in enumerate(calls):
        start = f"{prefix}.{number}.tool_call"
        name, call_id, arguments = _call(call)
        made[f"{start}.function.name"] = name
        made[f"{start}.function.arguments"] = _as_text(arguments)
        if call_id is not None:
            made[f"{start}.id"] = call_id
    return made


def _is_message(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    given = cast("dict[str, Any]", item)
    return isinstance(given.get("role"), str) and (
        "content" in given or "parts" in given or "tool_calls" in given
    )


def _with_parts(message: Any, role: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        return {"role": role, "parts": [_part(message)]}
    given = cast("dict[str, Any]", message)
    if isinstance(given.get("parts"), list):
        return {"role": role, **given}
    if not _is_message(given):
        return {"role": role, "parts": [{"type": "text", "content": json_text(given)}]}
    parts: list[Any] = []
    for name in _REASONING:
        if isinstance(given.get(name), str):
            parts.append({"type": "reasoning", "content": given[name]})
            break
    content = given.get("content")
    if given.get("tool_call_id") is not None:
        parts.append({"type": "tool_call_response", "id": given["tool_call_id"], "result": content})
    elif isinstance(content, list):
        parts += [_part(block) for block in cast("list[Any]", content)]
    elif content is not None:
        parts.append(_part(content))
    calls = given.get("tool_calls")
    for call in cast("list[Any]", calls) if isinstance(calls, list) else []:
        name, call_id, arguments = _call(call)
        parts.append({"type": "tool_call", "id": call_id, "name": name, "arguments": arguments})
    others = {name: value for name, value in given.items() if name not in _TAKEN}
    return {"role": given["role"], "parts": parts, **others}


def _part(block: Any) -> dict[str, Any]:
    if isinstance(block, str):
        return {"type": "text", "content": block}
    if not isinstance(block, dict):
        return {"type": "text", "content": json_text(block)}
    given = cast("dict[str, Any]", block)
    kind = given.get("type")
    if kind in {"text", "input_text", "output_text"} and isinstance(given.get("text"), str):
        return {"type": "text", "content": given["text"]}
    if kind == "thinking" and isinstance(given.get("thinking"), str):
        return {"type": "reasoning", "content": given["thinking"]}
    if isinstance(kind, str):
        return given  # a part of a type of its own, which the convention allows
    return {"type": "text", "content": json_text(given)}


def _call(call: Any) -> tuple[str, Any, Any]:
    """Return name, id and arguments of a tool call in a message."""
    given: Mapping[str, Any] = cast("dict[str, Any]", call) if isinstance(call, dict) else {}
    inner = given.get("function")
    function: Mapping[str, Any] = (
        cast("dict[str, Any]", inner) if isinstance(inner, dict) else given
    )
    name = function.get("name")
    return name if isinstance(name, str) else "", given.get("id"), function.get("arguments")


def _has_reasoning(message: dict[str, Any]) -> bool:
    return any(
        isinstance(part, dict) and cast("dict[str, Any]", part).get("type") == "reasoning"
        for part in cast("list[Any]", message["parts"])
    )


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)
