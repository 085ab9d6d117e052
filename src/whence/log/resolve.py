"""Puts back what a record refers to: the other half of `resend`.

Comes in: a record that may hold `same` markers, and a way to get an earlier line of its segment.
Goes out: the record with every value whole. A reference that leads nowhere, or not to the text it
was made for, stays a marker and is reported, so that a damaged segment shows as damaged and not as
shortened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, cast

import msgspec

from whence.record import codec
from whence.record.codec import AnyRecord
from whence.record.generation import Generation
from whence.record.run import RunStarted, Update
from whence.record.span import SpanStarted
from whence.record.values import is_marker

FIELDS = ("input", "output", "environment", "prompt_template", "parameters", "messages")
"""The record fields in which capture may put a reference."""

REFERRING = (Generation, RunStarted, SpanStarted, Update)
"""The kinds in which capture may put a reference."""
_NO_PROBLEMS: list[str] = []
REMEMBERED = 512
"""How many lines' messages a resolver keeps: a conversation refers to its latest turns."""

Fetch = Callable[[int], AnyRecord | None]
"""Returns the record on the line at an offset of the same segment, unresolved."""


class Resolver:
    """Resolves the records of one segment, remembering what later lines are likely to refer to."""

    def __init__(self, fetch: Fetch) -> None:
        self._read = fetch
        self._records: dict[int, AnyRecord | None] = {}
        self._lists: dict[int, list[Any]] = {}

    def resolve(self, offset: int, record: AnyRecord) -> tuple[AnyRecord, list[str]]:
        """Return the record with its references replaced, and a sentence for each that was not."""
        if not isinstance(record, REFERRING):
            return record, _NO_PROBLEMS
        changed: dict[str, Any] = {}
        problems: list[str] = []
        for name in FIELDS:
            value = getattr(record, name, None)
            if is_marker(value, "same"):
                changed[name] = _value(value, self._fetch, problems)
            elif name == "messages" and type(value) is list and value:
                messages = cast("list[Any]", value)
                if any(is_marker(m, "same") for m in messages):
                    messages = _messages(messages, self._fetch, problems, self._lists)
                    changed[name] = messages
                _remember(self._lists, offset, messages)
        if not changed:
            return record, problems
        return msgspec.structs.replace(record, **changed), problems

    def _fetch(self, offset: int) -> AnyRecord | None:
        if offset not in self._records:
            _remember(self._records, offset, self._read(offset))
        return self._records[offset]


def _remember(kept: dict[int, Any], offset: int, value: Any) -> None:
    kept[offset] = value
    if len(kept) > REMEMBERED:
        del kept[next(iter(kept))]


def _value(marker: dict[str, Any], fetch: Fetch, problems: list[str]) -> Any:
    """Follow a reference to a value.

    A value is referred to where it stands whole, so there is one step.

    Returns:
        The value; the marker where it leads nowhere.
    """
    target = fetch(marker.get("line", -1))
    path = marker.get("path")
    value: Any = target
    for key in cast("list[Any]", path) if isinstance(path, list) else ["?"]:
        if isinstance(value, dict):
            value = cast("dict[Any, Any]", value).get(key)
        else:
            value = getattr(value, str(key), None)
    if value is None or not _matches(codec.encode_json(value), marker):
        problems.append(f"a value refers to byte {marker.get('line')}, which does not hold it")
        return marker
    return value


def _messages(
    items: list[Any], fetch: Fetch, problems: list[str], known: dict[int, list[Any]]
) -> list[Any]:
    """Follow references into the message lists of earlier lines.

    Each turn refers to the one before, so a chain is as long as the conversation: it is walked with
    a stack, oldest line first, and each line is expanded once.

    Returns:
        The messages, every one whole that could be found.
    """
    memo = {line: known[line] for line in _lines_of(items) if line in known}
    pending = _lines_of(items)
    raw: dict[int, list[Any]] = {}
    while pending:
        line = pending[-1]
        if line in memo:
            pending.pop()
            continue
        if line not in raw:
            target = fetch(line)
            raw[line] = cast("list[Any]", getattr(target, "messages", None) or [])
        inner = _lines_of(raw[line])
        memo.update({n: known[n] for n in inner if n in known})
        missing = [n for n in inner if n not in memo and n < line]
        if missing:
            pending.extend(missing)
            continue
        memo[line] = _expand(raw[line], memo, problems)
        pending.pop()
    return _expand(items, memo, problems)


def _lines_of(items: list[Any]) -> list[int]:
    return [
        item["line"]
        for item in items
        if is_marker(item, "same") and isinstance(item.get("line"), int)
    ]


def _expand(items: list[Any], memo: dict[int, list[Any]], problems: list[str]) -> list[Any]:
    expanded: list[Any] = []
    for item in items:
        if not is_marker(item, "same"):
            expanded.append(item)
            continue
        first, count = item.get("from", 0), item.get("count", 0)
        stretch = memo.get(item.get("line", -1), [])[first : first + count]
        if len(stretch) != count or not _matches(b",".join(map(codec.encode_json, stretch)), item):
            problems.append(
                f"{count} messages refer to byte {item.get('line')}, which does not hold them"
            )
            expanded.append(item)
        else:
            expanded.extend(stretch)
    return expanded


def _matches(text: bytes, marker: dict[str, Any]) -> bool:
    return hashlib.sha256(text).hexdigest() == marker.get("sha256")
