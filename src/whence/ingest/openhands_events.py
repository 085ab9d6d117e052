"""Events of OpenHands in the one form that `openhands` reads, wherever and however they are kept.

Comes in: events of version 0 (`action`, `observation`, `cause`) or of version 1 (`kind`), from a
list or from a folder that has a file for each. Goes out: events as version 0 has them, and the
metrics that version 1 keeps beside the folder. What has no counterpart is kept under its kind.

Source: OpenHands 0.x `openhands/events/event_store.py`; software-agent-sdk `openhands/sdk/event/`
and `conversation/event_store.py`, `conversation_stats.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import json_files, loose
from whence.ingest.base import Skipped, Source
from whence.ingest.reading import json_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.ingest.loose import Fields

_FILE = re.compile(r"(?:event-(?P<new>\d{1,9})-[^.]+|(?P<old>\d{1,9}))\.json")
_OF_EVENT = frozenset({"id", "timestamp", "source"})
_CACHE, _EVENTS = "event_cache", "events"
_SAID = ("error", "detail", "code")
"""Where events of errors say what went wrong, the best first."""
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_folder_of_events(folder: Path) -> bool:
    """Return whether a folder has a file for each event of a run."""
    first = next(iter(files_in(folder)), None)
    return first is not None and is_event(json_files.peek(Source(first)).keys)


def is_event(names: frozenset[str]) -> bool:
    """Return whether an object with keys of these names is an event."""
    return names >= _OF_EVENT and not names.isdisjoint({"action", "observation", "kind"})


def is_copied(path: Path) -> bool:
    """Return whether a file holds events that stand in files of their own beside it."""
    return path.parent.name == _CACHE and (path.parent.parent / _EVENTS).is_dir()


def files_in(folder: Path) -> list[Path]:
    """Return the files of events in a folder, in the order of the events."""
    found = [
        (int(match["new"] or match["old"]), path.name)
        for path in folder.iterdir()
        if (match := _FILE.fullmatch(path.name)) and path.is_file()
    ]
    return [folder / name for _, name in sorted(found)]


def iter_folder(folder: Path) -> Iterator[Fields | Skipped]:
    """Yield the events of a folder."""
    for path in files_in(folder):
        source = Source(path)
        try:
            content, skipped = json_files.document(source)
        except (IngestError, OSError) as error:
            yield Skipped(source.name, str(error))
            continue
        yield from skipped
        event = loose.mapping(content)
        yield event or Skipped(source.name, "not an object")


def state_beside(folder: Path) -> Fields:
    """Return what version 1 keeps of a run beside its events; nothing if it cannot be read."""
    path = folder.parent / "base_state.json"
    if not path.is_file():
        return {}
    try:
        return loose.mapping(json_files.document(Source(path))[0])
    except (IngestError, OSError):
        return {}


def metrics_of(state: Fields) -> Fields:
    """Return the metrics of all models that a run of version 1 used; nothing if there are none."""
    stats = loose.mapping(loose.mapping(state.get("stats")).get("usage_to_metrics"))
    if not stats:
        return {}
    found = [loose.mapping(one) for one in stats.values()]
    merged: Fields = {
        name: [one for metrics in found for one in loose.sequence(metrics.get(name))]
        for name in ("token_usages", "costs", "response_latencies")
    }
    costs = [c for one in found if (c := loose.amount(one.get("accumulated_cost"))) is not None]
    used = [loose.mapping(one.get("accumulated_token_usage")) for one in found]
    sums: Fields = {}
    for name, count in ((name, value) for one in used for name, value in one.items()):
        if name.endswith("_tokens") and loose.count(count) is not None:
            sums[name] = sums.get(name, 0) + count
    return (
        merged
        | ({"accumulated_cost": sum(costs)} if costs else {})
        | ({"accumulated_token_usage": sums} if sums else {})
    )


def in_old_form(events: list[Fields]) -> list[Fields]:
    """Return events as version 0 has them."""
    if not any("kind" in event for event in events):
        return events
    asked: dict[str, Any] = {}
    answers: dict[str, list[Any]] = {}
    for event in events:
        call = loose.name(event.get("tool_call_id"))
        if event.get("kind") == "ActionEvent" and call is not None:
            asked.setdefault(call, event.get("id"))
            answer = loose.name(event.get("llm_response_id")) or ""
            answers.setdefault(answer, []).append(event.get("tool_call"))
    return [_old(event, asked, answers) for event in events]


def _old(event: Fields, asked: Fields, answers: dict[str, list[Any]]) -> Fields:
    kind = loose.text(event.get("kind"))
    if kind is None:
        return event
    made = {k: event[k] for k in ("id", "timestamp", "source") if k in event}
    if kind == "ActionEvent":
        return made | _action(event, answers)
    if kind in {"MessageEvent", "SystemPromptEvent"}:
        return made | _message(event, answers)
    cause = event.get("action_id", asked.get(loose.name(event.get("tool_call_id")) or ""))
    return made | _observation(kind, event) | ({} if cause is None else {"cause": cause})


def _message(event: Fields, answers: dict[str, list[Any]]) -> Fields:
    message, prompt = loose.mapping(event.get("llm_message")), event.get("system_prompt")
    content = _text([prompt]) if prompt else _text(message.get("content"))
    called = _called(event, message, answers)
    return {"action": "system" if prompt else "message", "args": {"content": content}} | called


def _observation(kind: str, event: Fields) -> Fields:
    seen = loose.mapping(event.get("observation"))
    if kind == "ObservationEvent":
        return {
            "observation": loose.name(event.get("tool_name")) or "observation",
            "content": _text(seen.get("content")),
            "extras": {k: v for k, v in seen.items() if k not in {"content", "kind"}},
        }
    if kind in {"AgentErrorEvent", "ConversationErrorEvent"}:
        said = next((t for k in _SAID if (t := loose.text(event.get(k))) is not None), None)
        return {"observation": "error", "content": said, "extras": {"event": event}}
    rest = {k: v for k, v in event.items() if k not in {"action", "observation", "kind"}}
    return rest | {"observation": _WORD.sub("_", kind.removesuffix("Event")).lower()}


def _action(event: Fields, answers: dict[str, list[Any]]) -> Fields:
    action, call = event.get("action"), loose.mapping(event.get("tool_call"))
    given = loose.mapping(action) or loose.mapping(json_of(call.get("arguments")))
    thought = _text(event.get("thought"))
    arguments = {k: v for k, v in given.items() if k != "kind"}
    name = loose.name(event.get("tool_name")) or "an action"
    message = {
        "role": "assistant",
        "content": event.get("thought"),
        "reasoning_content": event.get("reasoning_content"),
    }
    return {
        "action": name,
        "args": arguments | ({"thought": thought} if thought else {}),
        "message": event.get("summary"),
    } | _called(event, message, answers, name)


def _called(
    event: Fields, message: Fields, answers: dict[str, list[Any]], name: str | None = None
) -> Fields:
    """Return the answer of a model that an event came from, in the form of version 0."""
    key = loose.name(event.get("llm_response_id"))
    if key is None:
        return {}
    calls = answers.get(key)
    said = message | ({"tool_calls": calls} if calls else {})
    answer = {"id": key, "choices": [{"message": {k: v for k, v in said.items() if v}}]}
    tool_call_id = event.get("tool_call_id")
    return {
        "tool_call_metadata": {
            "function_name": name,
            "tool_call_id": tool_call_id,
            "model_response": answer,
        }
    }


def _text(content: Any) -> str | None:
    """Return the texts in parts of a message, a line between them; None if there are none."""
    texts = [loose.text(part.get("text")) for part in loose.mappings(content)]
    return "\n".join(text for text in texts if text) or None
