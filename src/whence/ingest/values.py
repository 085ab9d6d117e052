"""Brings values of a foreign source into a form that a line of the log can hold.

Comes in: whatever JSON, protobuf or YAML gave: texts, numbers, bytes, lists, mappings. Goes out:
JSON-ready data with the marker values of `whence.record.values` for what JSON has no form for, and
blobs for what is long or binary. A source's own mapping that looks like a marker is written so that
it cannot pass for one. Nothing here raises for the content of a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from whence.log import blobs
from whence.log.blobs import Put, line_text
from whence.record import codec, values
from whence.record.values import INT_MAX, INT_MIN, MARK, MAX_DEPTH, is_encodable

_KEPT_ITEMS = 50


def settled(value: Any, put: Put) -> Any:
    """Return `value` with every part of it in a form that a line can hold."""
    return _settled(value, put, 0)


def shrunk(value: Any, put: Put) -> Any:
    """Return `value` settled; as one blob if it is too long for a line even so."""
    small = settled(value, put)
    text = codec.encode_json(small)
    if len(text) <= blobs.INLINE_BYTES:
        return small
    return put(text, "json", text[: blobs.PREVIEW_CHARS].decode("utf-8", "ignore"))


def shrunk_list(value: list[Any], put: Put) -> tuple[list[Any], Any]:
    """Return a list that fits a line, and the whole one's marker where that is not all of it."""
    whole = shrunk(value, put)
    if isinstance(whole, list):
        return cast("list[Any]", whole), None
    return [shrunk(item, put) for item in value[:_KEPT_ITEMS]], whole


def preview(value: str) -> str:
    """Return the beginning of a text in a form that any line can hold."""
    return value[: blobs.PREVIEW_CHARS].encode("utf-8", "backslashreplace").decode()


def _settled(value: Any, put: Put, depth: int) -> Any:  # noqa: PLR0911 - one return a form
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return line_text(value, put)
    if isinstance(value, int):
        return value if INT_MIN <= value <= INT_MAX else values.of_int(value)
    if isinstance(value, float):
        return value if codec.is_finite_number(value) else values.of_float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return put(bytes(cast("bytes", value)), "bytes", "")
    if depth >= MAX_DEPTH:
        return {MARK: "deep", "repr": f"<{type(value).__name__} deeper than {MAX_DEPTH} levels>"}
    if isinstance(value, Mapping):
        mapping = cast("Mapping[Any, Any]", value)
        if MARK not in mapping and all(type(k) is str and is_encodable(k) for k in mapping):
            return {k: _settled(item, put, depth + 1) for k, item in mapping.items()}
        pairs = [
            [_settled(k, put, depth + 1), _settled(v, put, depth + 1)] for k, v in mapping.items()
        ]
        return {MARK: "pairs", "value": pairs}
    if isinstance(value, (list, tuple)):
        return [_settled(item, put, depth + 1) for item in cast("list[Any]", value)]
    return line_text(str(value), put)  # dates and decimals of YAML; nothing else is ever read
