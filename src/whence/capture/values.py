"""Brings what the user passed into a form that JSON can hold, and never raises.

Comes in: any Python object. Goes out: plain JSON-ready data, with marker values
(`whence.record.values`) for what JSON has no form for, and blobs for what is large or binary.
Nothing that can be kept is lost. `clean` is the fast path: data that is plain already, which is
nearly all of it, is checked and returned as it is.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import msgspec

from whence import _interrupts
from whence.capture import guard
from whence.log import blobs
from whence.log.blobs import Put, line_text
from whence.record import codec, values
from whence.record.values import INT_MAX, INT_MIN, MARK, MAX_DEPTH, is_encodable, is_plain

MAX_REPR_CHARS = 500


def clean(value: Any, put: Put) -> Any:
    """Return `value` itself if it is plain, else its snapshot."""
    return value if is_plain(value) else snapshot(value, put)


def text(value: Any) -> str:
    """Return `value` as text: for names and reasons, which the user should have passed as text."""
    if type(value) is str:
        return value
    try:
        if isinstance(value, Enum) and isinstance(value.value, str):
            return str.__str__(value.value)
        return str.__str__(str(value))
    except Exception as error:  # noqa: BLE001 - the user's __str__ may do anything
        _interrupts.pass_on(error)
        return f"<{type(value).__name__}: {guard.describe(error)}>"


def number(value: Any) -> float | int | None:
    """Return `value` as a finite number, or None for anything that is none (NaN included)."""
    if type(value) is float and value - value == 0:
        return value
    if value is None or value is True or value is False:
        return None
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return value
    try:
        converted = float(value)
    except Exception as error:  # noqa: BLE001 - the user's __float__ may do anything
        _interrupts.pass_on(error)
        return None
    return converted if codec.is_finite_number(converted) else None


def snapshot(value: Any, put: Put) -> Any:
    """Return a JSON-ready copy of `value`, cut at cycles and at `MAX_DEPTH` levels.

    Large and binary parts are in blobs.
    """
    return _snapshot(value, put, 0, set())


def settle(value: Any, put: Put) -> Any:  # noqa: PLR0911 - one return a form
    """Return clean data with its long texts in blobs and texts that UTF-8 cannot encode as markers.

    Markers that stand in it are ours, since `clean` lets no other through, and stay as they are.
    """
    if isinstance(value, str):
        return line_text(str.__str__(value), put)
    if isinstance(value, list):
        return [settle(item, put) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    mapping = cast("dict[str, Any]", value)
    if values.is_marker(mapping):
        if mapping[MARK] != "pairs":
            return mapping
        return {MARK: "pairs", "value": settle(mapping["value"], put)}
    if all(map(is_encodable, mapping)):
        return {key: settle(item, put) for key, item in mapping.items()}
    return {MARK: "pairs", "value": [[settle(k, put), settle(v, put)] for k, v in mapping.items()]}


def shrink(value: Any, put: Put) -> Any:
    """Return a clean value with its long parts in blobs; as one blob if it is still too long."""
    small = settle(value, put)
    text = codec.encode_json(small)
    if len(text) <= blobs.INLINE_BYTES:
        return small
    return put(text, "json", text[: blobs.PREVIEW_CHARS].decode("utf-8", "ignore"))


def _snapshot(value: Any, put: Put, depth: int, above: set[int]) -> Any:
    if value is None or value is True or value is False:
        return value
    if id(value) in above:
        return {MARK: "cycle"}
    above.add(id(value))
    try:
        return _scalar(value, put, depth, above)
    except RecursionError as error:
        _interrupts.pass_on(error)
        return {MARK: "deep", "repr": f"<{type(value).__name__}: the stack ran out>"}
    except Exception as error:  # noqa: BLE001 - asking a user's object for anything runs the user's code
        _interrupts.pass_on(error)
        return _object(value, guard.describe(error))
    finally:
        above.discard(id(value))


def _scalar(value: Any, put: Put, depth: int, above: set[int]) -> Any:  # noqa: PLR0911 - one return a form
    if isinstance(value, Enum):
        return _snapshot(value.value, put, depth, above)
    if isinstance(value, str):
        return line_text(str.__str__(value), put)
    if isinstance(value, int):
        plain = int.__int__(value)
        return plain if INT_MIN <= plain <= INT_MAX else values.of_int(plain)
    if isinstance(value, float):
        plain_float = float.__float__(value)
        return plain_float if codec.is_finite_number(plain_float) else values.of_float(plain_float)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return put(bytes(cast("bytes", value)), "bytes", "")
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, os.PathLike):
        return _snapshot(os.fspath(cast("os.PathLike[str]", value)), put, depth, above)
    if depth >= MAX_DEPTH:
        return {MARK: "deep", "repr": f"<{type(value).__name__} deeper than {MAX_DEPTH} levels>"}
    return _container(value, put, depth + 1, above)


def _container(value: Any, put: Put, depth: int, above: set[int]) -> Any:  # noqa: PLR0911 - one return a form
    if isinstance(value, Mapping):
        return _mapping(cast("Mapping[Any, Any]", value), put, depth, above)
    if isinstance(value, (list, tuple, AbstractSet)):
        items = cast("Iterable[Any]", value)
        return [_snapshot(item, put, depth, above) for item in items]
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return _mapping(fields, put, depth, above)
    if hasattr(cast("type[Any]", type(value)), "__dataclass_fields__"):
        import dataclasses  # noqa: PLC0415 - whoever has a dataclass has paid for it

        fields = {
            field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)
        }
        return _mapping(fields, put, depth, above)
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "message": guard.describe(value)}
    dump = getattr(value, "model_dump", None)  # pydantic
    if callable(dump) and not isinstance(value, type):
        return _snapshot(dump(), put, depth, above)
    if type(value).__module__ == "numpy":
        listed = getattr(value, "tolist", None)  # arrays and scalars
        if callable(listed):
            return _snapshot(listed(), put, depth, above)
    return _object(value, None)


def _mapping(value: Mapping[Any, Any], put: Put, depth: int, above: set[int]) -> Any:
    items = list(value.items())
    if MARK not in value and all(isinstance(key, str) and is_encodable(key) for key, _ in items):
        return {str.__str__(key): _snapshot(item, put, depth, above) for key, item in items}
    pairs = [[_snapshot(k, put, depth, above), _snapshot(v, put, depth, above)] for k, v in items]
    return {MARK: "pairs", "value": pairs}


def _object(value: Any, problem: str | None) -> dict[str, Any]:
    kind = cast("type[Any]", type(value))
    try:
        shown = repr(value)[:MAX_REPR_CHARS]
    except Exception as error:  # noqa: BLE001 - the user's __repr__ may do anything
        _interrupts.pass_on(error)
        shown = f"<{kind.__name__}: {guard.describe(error)}>"
    marker = {
        MARK: "object",
        "type": encodable(f"{kind.__module__}.{kind.__qualname__}"),
        "repr": encodable(shown),
    }
    if problem:
        marker["problem"] = encodable(problem)
    return marker


def encodable(shown: str) -> str:
    """Return a text for people in which what UTF-8 cannot encode is escaped."""
    return shown if is_encodable(shown) else shown.encode("utf-8", "backslashreplace").decode()


def is_short(value: str) -> bool:
    """Whether a text can stand in a record as it is: Unicode, and too short for a blob."""
    return is_encodable(value) and len(value.encode()) <= blobs.INLINE_BYTES
