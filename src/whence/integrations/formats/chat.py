"""Chat Completions, the form that OpenAI made and most other providers copy.

Source: OpenAI API reference, "Chat Completions"; the fields `reasoning` and `reasoning_content` are
those of Cerebras, OpenRouter, DeepSeek and their like, `cost` in the usage is OpenRouter's,
`content_filter_results` Azure's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from whence.integrations.formats import base
from whence.integrations.formats.base import Fields, Json, mapping, mappings, text

_NOT_PARAMETERS = frozenset({"model", "messages", "prompt", "input", "seed"})


def asked(body: Json) -> Fields:
    """Return what a request says."""
    found: list[dict[str, Any]] = []
    messages = body.get("messages")
    return {
        "messages": base.with_bytes(messages, found),
        "parameters": base.rest(body, _NOT_PARAMETERS),
        "seed": body.get("seed"),
        "media": found or None,
    }


def answered(body: Json) -> Fields:
    """Return what an answer says."""
    choices = mappings(body.get("choices"))
    messages = [mapping(choice.get("message")) for choice in choices]
    found: list[dict[str, Any]] = []
    outputs = [_said(message, found) for message in messages]
    calls = [call for message in messages for call in mappings(message.get("tool_calls"))]
    usage = body.get("usage")
    return {
        "response_id": text(body.get("id")),
        "response_model": text(body.get("model")),
        "finish_reason": base.joined([choice.get("finish_reason") for choice in choices]),
        "output": outputs[0] if len(outputs) == 1 else outputs or None,
        "reasoning": _reasoning(messages),
        "usage": usage,
        "cost_usd": base.cost_usd(usage),
        "media": found or None,
        "policy": _policy(body, choices, messages),
        "tool_calls": [_named(call) for call in calls] or None,
        "citations": _citations(body, messages),
        "service_tier": text(body.get("service_tier")),
        "system_fingerprint": text(body.get("system_fingerprint")),
    }


def _said(message: Json, found: list[dict[str, Any]]) -> Any:
    """Return the text of a message, or the whole of it if it is more than a text."""
    said = base.without_empty(message)
    said.pop("role", None)
    for key in ("annotations", "reasoning", "reasoning_content", "reasoning_details"):
        said.pop(key, None)
    if not said:
        return None
    if said.keys() == {"content"}:
        return base.with_bytes(said["content"], found, "out")
    return base.with_bytes(said, found, "out")


def _reasoning(messages: list[Json]) -> Any:
    said = [text(m.get("reasoning")) or text(m.get("reasoning_content")) for m in messages]
    told = [one for one in said if one]
    return told[0] if len(told) == 1 else told or None


def _policy(body: Json, choices: list[Json], messages: list[Json]) -> dict[str, Any] | None:
    """Return refusals, moderation results and what content filters said."""
    filters = [mapping(choice.get("content_filter_results")) for choice in choices]
    refusals = [text(message.get("refusal")) for message in messages]
    said = base.without_empty(
        {
            "refusal": base.joined(refusals),
            "moderation": body.get("moderation"),
            "prompt_filter_results": body.get("prompt_filter_results"),
            "content_filter_results": [dict(one) for one in filters if one],
        }
    )
    return said or None


def _citations(body: Json, messages: list[Json]) -> list[Any] | None:
    """Return what an answer rests on: notes on its text, or Perplexity's list beside it."""
    noted = [note for message in messages for note in mappings(message.get("annotations"))]
    beside = base.items(body.get("search_results")) or base.items(body.get("citations"))
    return [*noted, *beside] or None


def _named(call: Json) -> dict[str, Any]:
    called = mapping(call.get("function")) or mapping(call.get("custom"))
    return base.without_empty({"id": call.get("id"), "name": called.get("name")})


class Chunks:
    """Gathers the chunks of a streamed completion."""

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self.finished = False

    def add(self, event: Json) -> None:
        """Take one chunk."""
        for key, value in event.items():
            if key == "choices":
                for choice in mappings(value):
                    self._add_choice(choice)
            elif value is not None and key != "object":
                self._said[key] = value
            if key == "x_groq" and isinstance(mapping(value).get("usage"), Mapping):
                self._said.setdefault("usage", mapping(value)["usage"])

    def _add_choice(self, choice: Json) -> None:
        known = self._choices.setdefault(base.place(choice.get("index")), {"message": {}})
        for key, value in choice.items():
            if key == "delta":
                merge(known["message"], mapping(value))
            elif key == "text":  # the older completions
                merge(known["message"], {"content": value})
            elif key == "message":  # some send the whole of it with the last chunk
                known["message"] = dict(mapping(value)) or known["message"]
            elif value is not None and key not in {"index", "logprobs"}:
                known[key] = value
        if choice.get("finish_reason"):
            self.finished = True
        # Moonshot states the usage beside the last choice.
        if isinstance(choice.get("usage"), Mapping) and "usage" not in self._said:
            self._said["usage"] = choice["usage"]

    def body(self) -> dict[str, Any]:
        """Return the completion so far."""
        if not self._said and not self._choices:
            return {}
        made = [_settled(choice) for _, choice in sorted(self._choices.items(), key=_index)]
        return {**self._said, "choices": made}


def _index(item: tuple[Any, Any]) -> int:
    return item[0] if isinstance(item[0], int) else 0


def _settled(choice: dict[str, Any]) -> dict[str, Any]:
    """Return a choice with the pieces of its texts joined."""
    return {**choice, "message": joined_pieces(choice["message"])}


def merge(known: dict[str, Any], delta: Json) -> None:
    """Add a delta to what came before; texts are kept as lists of pieces until they are joined.

    Joining at each chunk would take time that grows with the square of the answer's length.
    """
    for key, value in delta.items():
        if value is None:
            continue
        before = known.get(key)
        if key in {"index", "type", "id", "role", "name"} and not isinstance(before, Pieces):
            if before is None or value:
                known[key] = value
        elif isinstance(value, str):
            if isinstance(before, Pieces):
                before.append(value)
            else:
                known[key] = Pieces([value])
        elif isinstance(value, Mapping):
            inner = known.setdefault(key, {})
            if type(inner) is dict:
                merge(cast("dict[str, Any]", inner), cast("Json", value))
        elif isinstance(value, list) and all(
            isinstance(item, Mapping) for item in cast("list[Any]", value)
        ):
            _merge_items(known, key, mappings(value))
        else:
            known[key] = value


def _merge_items(known: dict[str, Any], key: str, items: list[Json]) -> None:
    """Merge items that name their place in the list; append those that do not."""
    listed = known.setdefault(key, [])
    if not isinstance(listed, list):
        return
    places = cast("list[dict[str, Any]]", listed)
    for item in items:
        place = item.get("index")
        found = next((one for one in places if place is not None and one["index"] == place), None)
        if found is None:
            found = {"index": place}
            places.append(found)
        merge(found, {name: value for name, value in item.items() if name != "index"})


class Pieces(list[str]):
    """The pieces of a text that is still arriving."""


def joined_pieces(value: Any) -> Any:
    """Return a copy in which the pieces of each text are joined, and places are left out."""
    if isinstance(value, Pieces):
        return "".join(value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: joined_pieces(item) for key, item in items if key != "index"}
    if isinstance(value, list):
        return [joined_pieces(item) for item in cast("list[Any]", value)]
    return value


def _asked_completion(body: Json) -> Fields:
    prompt = body.get("prompt")
    prompts = cast("list[Any]", prompt) if isinstance(prompt, list) else [prompt]
    said = [{"role": "user", "content": one} for one in prompts if one is not None]
    return {**asked(body), "messages": said or None}


def _answered_completion(body: Json) -> Fields:
    choices = [
        {**choice, "message": choice.get("message") or {"content": choice.get("text")}}
        for choice in mappings(body.get("choices"))
    ]
    return answered({**body, "choices": choices})


CHAT = base.Form("chat", asked, answered, Chunks)
COMPLETION = base.Form("completion", _asked_completion, _answered_completion, Chunks)
