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
MAX_REPEATED = 1_000_000
"""How many values of a snapshot may be there again since what holds them stands in many places."""

MAX_SHOWN_PARTS = 100_000
"""Of how many values a container is shown whole, where it is shown as Python would."""

_CONTAINERS = (list, tuple, dict, set, frozenset)
_SMALL = 100
"""What is of fewer values is written wherever it stands: its places are as many as what holds it
has items, so only what is larger multiplies."""


class _Walk:
    """What a snapshot has met so far.

    Attributes:
        above: The ids of the values that the present one is in.
        places: How many values were met.
        repeated: How many of them were met before, in larger ones that stand in several places.
        larger: Those, by id, each with its number of values; held, so that no id is given anew.
    """

    __slots__ = ("above", "larger", "places", "repeated")

    def __init__(self) -> None:
        self.above: set[int] = set()
        self.places = 0
        self.repeated = 0
        self.larger: dict[int, tuple[Any, int]] = {}

    def met(self, value: Any, places_before: int) -> None:
        """Keep how many values there are in one, if it is a larger one."""
        if self.places - places_before > _SMALL:
            self.larger[id(value)] = (value, self.places - places_before)

    def too_often(self, value: Any) -> int:
        """Return 0, or the number of values in one that fills too many places with them."""
        if id(value) not in self.larger:
            return 0
        places = self.larger[id(value)][1]
        if self.repeated + places > MAX_REPEATED:
            return places
        self.repeated += places
        return 0


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
        return _repr(value) if type(value) in _CONTAINERS else str.__str__(str(value))
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

    Large and binary parts are in blobs. A part that stands in several places is copied to each, but
    not if that comes to more than `MAX_REPEATED` values.
    """
    return _snapshot(value, put, 0, _Walk())


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


def _snapshot(value: Any, put: Put, depth: int, walk: _Walk) -> Any:
    walk.places += 1
    if value is None or value is True or value is False:
        return value
    if id(value) in walk.above:
        return {MARK: "cycle"}
    walk.above.add(id(value))
    try:
        return _scalar(value, put, depth, walk)
    except RecursionError as error:
        _interrupts.pass_on(error)
        return {MARK: "deep", "repr": f"<{type(value).__name__}: the stack ran out>"}
    except Exception as error:  # noqa: BLE001 - asking a user's object for anything runs the user's code
        _interrupts.pass_on(error)
        return _object(value, guard.describe(error))
    finally:
        walk.above.discard(id(value))


def _scalar(value: Any, put: Put, depth: int, walk: _Walk) -> Any:  # noqa: C901, PLR0911 - one return a form
    if isinstance(value, Enum):
        return _snapshot(value.value, put, depth, walk)
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
        return _snapshot(os.fspath(cast("os.PathLike[str]", value)), put, depth, walk)
    if depth >= MAX_DEPTH:
        return {MARK: "deep", "repr": f"<{type(value).__name__} deeper than {MAX_DEPTH} levels>"}
    places = walk.too_often(value)
    if places:
        told = (
            f"<{type(value).__name__} of {places} values, in too many places to hold them in each>"
        )
        return {MARK: "deep", "repr": told}
    before = walk.places
    made = _container(value, put, depth + 1, walk)
    walk.met(value, before)
    return made


def _container(value: Any, put: Put, depth: int, walk: _Walk) -> Any:  # noqa: PLR0911 - one return a form
    if isinstance(value, Mapping):
        return _mapping(cast("Mapping[Any, Any]", value), put, depth, walk)
    if isinstance(value, (list, tuple, AbstractSet)):
        items = cast("Iterable[Any]", value)
        return [_snapshot(item, put, depth, walk) for item in items]
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return _mapping(fields, put, depth, walk)
    if hasattr(cast("type[Any]", type(value)), "__dataclass_fields__"):
        import dataclasses  # noqa: PLC0415 - whoever has a dataclass has paid for it

        fields = {
            field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)
        }
        return _mapping(fields, put, depth, walk)
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "message": guard.describe(value)}
    dump = getattr(value, "model_dump", None)  # pydantic
    if callable(dump) and not isinstance(value, type):
        return _snapshot(dump(), put, depth, walk)
    if type(value).__module__ == "numpy":
        listed = getattr(value, "tolist", None)  # arrays and scalars
        if callable(listed):
            return _snapshot(listed(), put, depth, walk)
    return _object(value, None)


def _mapping(value: Mapping[Any, Any], put: Put, depth: int, walk: _Walk) -> Any:
    items = list(value.items())
    if MARK not in value and all(isinstance(key, str) and is_encodable(key) for key, _ in items):
        return {str.__str__(key): _snapshot(item, put, depth, walk) for key, item in items}
    pairs = [[_snapshot(k, put, depth, walk), _snapshot(v, put, depth, walk)] for k, v in items]
    return {MARK: "pairs", "value": pairs}


def _object(value: Any, problem: str | None) -> dict[str, Any]:
    kind = cast("type[Any]", type(value))
    try:
        shown = _repr(value)[:MAX_REPR_CHARS]
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


def _repr(value: Any) -> str:
    """Return `repr(value)`, of a container that is too large or too deep for that its beginning."""
    if type(value) in _CONTAINERS and _parts(value, MAX_DEPTH, MAX_SHOWN_PARTS) > MAX_SHOWN_PARTS:
        import reprlib  # noqa: PLC0415 - hardly any program has such a value

        return reprlib.repr(value)
    return str.__str__(repr(value))


def _parts(value: Any, depth: int, most: int) -> int:
    """Return how many values a container holds, each counted wherever it stands.

    Returns:
        A number over `most` if there are more, or if it is deeper than `depth`. What is no
        container of Python's own counts as one: what it shows is its own matter.
    """
    if not depth:
        return most + 1
    parts = 1
    items = cast("Iterable[Any]", value.values() if type(value) is dict else value)
    for item in items:
        parts += _parts(item, depth - 1, most - parts) if type(item) in _CONTAINERS else 1
        if parts > most:
            break
    return parts


def encodable(shown: str) -> str:
    """Return a text for people in which what UTF-8 cannot encode is escaped."""
    return shown if is_encodable(shown) else shown.encode("utf-8", "backslashreplace").decode()


def is_short(value: str) -> bool:
    """Whether a text can stand in a record as it is: Unicode, and too short for a blob."""
    return is_encodable(value) and len(value.encode()) <= blobs.INLINE_BYTES
