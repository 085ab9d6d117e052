"""From rows as they were written to rows as they were meant, and back into JSON.

Comes in: rows with marker values. Goes out: the same rows with floats, integers, texts and mappings
that JSON has no form for put back, with the exact value of a text that the log holds a preview of,
and with the long parts of a conversation read from their blobs. A row without a marker, which
nearly every row is, is returned as it is. `to_json` is the way back, for whatever prints JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from whence.errors import StoreError
from whence.record import codec, values
from whence.record.generation import Usage
from whence.record.values import MARK, is_marker
from whence.store.rows import GenerationRow, Row

T = TypeVar("T", bound=Row)

GetBlob = Callable[[str], bytes]
"""Gets the SHA-256 of a blob, returns its bytes."""

_WHOLE = "whole"
_MARK_KEY = f'"{MARK}"'.encode()
_CONVERSATION = frozenset({"messages", "output", "reasoning", "prompt_template"})
"""Fields of a generation that are given whole, since a conversation without its texts says
nothing."""
_FIELD_OF_RECORD = {"output_kind": "kind", "link_kind": "kind"}
"""Record field to row field, where the names differ."""
_CONTAINERS = (dict, list, Usage)


def restored(row: T, get_blob: GetBlob) -> T:
    """Return `row` as it was meant; see the module.

    A blob that is gone or damaged leaves its marker, with its preview, in place.
    """
    changes: dict[str, Any] = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, _CONTAINERS) and value and has_marker(value):
            whole = isinstance(row, GenerationRow) and name in _CONVERSATION
            changes[name] = _put_back(value, get_blob if whole else None)
    extra = getattr(row, "extra", None)
    if extra and isinstance(extra.get(_WHOLE), dict):
        changes |= _wholes(row, extra, get_blob)
    return msgspec.structs.replace(row, **changes) if changes else row


def has_marker(value: Any) -> bool:
    """Whether there may be a marker value anywhere in `value`."""
    return _MARK_KEY in codec.encode_json(value)


def _put_back(value: Any, get_blob: GetBlob | None) -> Any:
    if isinstance(value, Usage):
        return msgspec.structs.replace(
            value, stated=values.restore(value.stated), extra=values.restore(value.extra)
        )
    return values.restore(
        value, None if get_blob is None else lambda marker: _conversation_blob(marker, get_blob)
    )


def _conversation_blob(marker: Mapping[str, Any], get_blob: GetBlob) -> Any:
    return dict(marker) if marker.get("encoding") == "bytes" else blob_value(marker, get_blob)


def blob_value(marker: Mapping[str, Any], get_blob: GetBlob) -> Any:
    """Return what a blob marker stands for; the marker itself if the blob cannot be read."""
    digest = marker.get("sha256")
    if not isinstance(digest, str):
        return dict(marker)
    try:
        return decoded(get_blob(digest), marker, get_blob)
    except (StoreError, OSError, ValueError, msgspec.MsgspecError):
        return dict(marker)


def decoded(content: bytes, marker: Mapping[str, Any], get_blob: GetBlob) -> Any:
    """Return the content of a blob as its marker says: `text`, `json` or bytes.

    Raises:
        ValueError: The content is not of the stated encoding.
    """
    match marker.get("encoding"):
        case "text":
            return content.decode("utf-8", "surrogatepass")
        case "json":
            return values.restore(
                codec.decode_json(content), lambda inner: blob_value(inner, get_blob)
            )
        case _:
            return content


def _wholes(row: Row, extra: dict[str, Any], get_blob: GetBlob) -> dict[str, Any]:
    """Return the fields of which the row has a preview with their exact values, and `extra`."""
    changes: dict[str, Any] = {}
    kept = dict(cast("dict[str, Any]", extra[_WHOLE]))
    for name, marker in list(kept.items()):
        field = _FIELD_OF_RECORD.get(name, name)
        if (
            field not in row.__struct_fields__
            or field in {"id", "run", "extra"}
            or not is_marker(marker)
        ):
            continue
        exact = values.restore(marker, lambda inner: blob_value(inner, get_blob))
        # A foreign line may say anything under this key; only the field's own type will do.
        if type(exact) is type(getattr(row, field)):
            changes[field] = exact
            del kept[name]
    if changes:
        others = {key: value for key, value in extra.items() if key != _WHOLE} | (
            {_WHOLE: kept} if kept else {}
        )
        changes["extra"] = others or None
    return changes


def to_plain(row: msgspec.Struct, *, sparse: bool = True) -> dict[str, Any]:
    """Return a row as JSON-ready data.

    Args:
        row: A restored row.
        sparse: Leave out fields that are null, empty text, or empty containers.
    """
    plain: dict[str, Any] = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if sparse and (value is None or (isinstance(value, (str, list, dict)) and not value)):
            continue
        plain[name] = to_json(value)
    return plain


def to_json(value: Any) -> Any:  # noqa: PLR0911 - one return a form
    """Return `value` with markers for what JSON has no form for; `values.restore` undoes it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if values.is_encodable(value) else values.of_text(value)
    if isinstance(value, int):
        return value if values.INT_MIN <= value <= values.INT_MAX else values.of_int(value)
    if isinstance(value, float):
        return value if value - value == 0 else values.of_float(value)
    if isinstance(value, dict):
        return _mapping(cast("dict[Any, Any]", value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in cast("list[Any]", value)]
    return to_plain(value) if isinstance(value, msgspec.Struct) else str(value)


def _mapping(mapping: dict[Any, Any]) -> Any:
    if is_marker(mapping) or all(
        type(key) is str and key != MARK and values.is_encodable(key) for key in mapping
    ):
        return {key: to_json(item) for key, item in mapping.items()}
    return {
        MARK: "pairs",
        "value": [[to_json(key), to_json(item)] for key, item in mapping.items()],
    }
