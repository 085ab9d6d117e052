"""How values that JSON cannot hold are written, and how they are read back.

`is_plain` tells what JSON holds as it is from what needs a form; it is asked of every value that is
recorded, so it is written for speed.

A *marker value* is an object with the key `$whence`, which names its form. Capture makes markers,
readers undo them:

- `{"$whence": "float", "value": "nan"}`: not-a-number and infinities
- `{"$whence": "int", "value": "9223372036854775808"}`: integers beyond 64 bits with sign
- `{"$whence": "text", "value": "..", "base64": ".."}`: text with lone surrogates: a readable form,
  and its exact bytes
- `{"$whence": "pairs", "value": [[key, value], ..]}`: a mapping with keys that are not text, or
  that uses our key
- `{"$whence": "object", "type": "..", "repr": ".."}`: an object of the user's that no rule covers
- `{"$whence": "cycle"}`: a container inside itself
- `{"$whence": "deep", "repr": ".."}`: what lies deeper than the depth limit, or would have to be
  repeated too often
- `{"$whence": "blob", "sha256": "..", ..}`: kept in a file of its own; see `whence.log.blobs`
- `{"$whence": "same", "at": [..], "sha256": ".."}`: written before in this segment; see
  `whence.log.resolve`
- `{"$whence": "withheld", "why": ".."}`: content that was not to be kept: only its size and type
  are

A user's own mapping that has the key `$whence` is written as `pairs`, so no value can pass for a
marker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard, cast

from whence import _interrupts

MARK = "$whence"

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
MAX_DEPTH = 100
"""How deeply a value may nest."""
MAX_PARTS = 2_000_000
"""How many lists and mappings a plain value may hold, wherever they stand; 8 items count as one."""
_DECIMAL_BITS = 13_000

Blob = Callable[[Mapping[str, Any]], Any]
"""Gets a blob marker, returns what stands in its place."""


def is_plain(value: Any) -> bool:
    """Whether JSON holds `value` as it is, in at most `MAX_DEPTH` levels and `MAX_PARTS` parts.

    Text that UTF-8 cannot encode is found later, when it is encoded.

    Returns:
        True if it can be written as it is.
    """
    if type(value) is str:
        return True
    try:
        return _plain_parts(value, MAX_DEPTH, MAX_PARTS) > 0
    except (RecursionError, RuntimeError) as error:
        _interrupts.pass_on(error)
        return False  # the stack is nearly used up, or another thread changes the value


def _plain_parts(value: Any, depth: int, most: int) -> int:  # noqa: C901, PLR0911, PLR0912 - one branch a field or form
    """Return how many parts a value has, itself included; 0 if it is not plain or more than `most`.

    What stands in several places counts in each: a few lists that hold each other twice over are
    more than any memory holds.
    """
    kind = type(value)  # pyright: ignore[reportUnknownVariableType] - a cast would cost a call for every value
    if kind is str or kind is bool or value is None:
        return 1
    if kind is int:
        return INT_MIN <= value <= INT_MAX
    if kind is float:
        return value - value == 0  # false for NaN and infinities
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return 0
        if MARK in value or not depth:  # last: keys that are no text may not want to be compared
            return 0
        items = value.values()
    elif kind is list and depth:
        items = value
    else:
        return 0
    parts = 1 + (len(value) >> 3)
    if parts > most:
        return 0
    for item in items:  # the scalars once more: a call for each would cost more than the look
        kind: Any = type(item)  # pyright: ignore[reportUnknownVariableType]
        if kind is str or item is None or kind is bool:
            continue
        if kind is int:
            if not INT_MIN <= item <= INT_MAX:
                return 0
        elif kind is float:
            if item - item != 0:
                return 0
        else:
            inside = _plain_parts(item, depth - 1, most - parts)
            if not inside:
                return 0
            parts += inside
    return parts


def is_encodable(value: str) -> bool:
    """Whether UTF-8 can hold a text, which it cannot if there are lone surrogates in it."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_marker(value: object, form: str | None = None) -> TypeGuard[dict[str, Any]]:
    """Whether `value` is a marker value, of the given form if one is named."""
    if not isinstance(value, dict):
        return False
    mark = cast("dict[str, Any]", value).get(MARK)
    return mark is not None and (form is None or mark == form)


def of_float(value: float) -> dict[str, Any]:
    """Return the marker of a float that JSON has no number for."""
    return {MARK: "float", "value": "nan" if value != value else "inf" if value > 0 else "-inf"}  # noqa: PLR0124


def of_int(value: int) -> dict[str, Any]:
    """Return the marker of an integer beyond 64 bits.

    Hexadecimal from 4,000 digits on, because CPython refuses longer decimal conversions.
    """
    return {MARK: "int", "value": str(value) if value.bit_length() < _DECIMAL_BITS else hex(value)}


def of_text(value: str) -> dict[str, Any]:
    """Return the marker of a text that UTF-8 cannot encode."""
    import base64  # noqa: PLC0415 - hardly any text needs it, and capture should not pay for it

    return {
        MARK: "text",
        "value": value.encode("utf-8", "backslashreplace").decode(),
        "base64": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode(),
    }


def restore(value: Any, blob: Blob | None = None) -> Any:
    """Return `value` with every marker that has a Python equivalent turned back into it.

    Args:
        value: Decoded JSON.
        blob: What to do with blob markers; None leaves them as they are.

    `object`, `cycle`, `deep` and `withheld` markers stay, since what they stand for is gone.
    """
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        if MARK in mapping:
            return _restore_marker(mapping, blob)
        return {key: restore(item, blob) for key, item in mapping.items()}
    if isinstance(value, list):
        return [restore(item, blob) for item in cast("list[Any]", value)]
    return value


def _restore_marker(marker: dict[str, Any], blob: Blob | None) -> Any:  # noqa: PLR0911 - one return a form
    form = marker[MARK]
    if form == "blob":
        return marker if blob is None else blob(marker)
    try:
        match form, marker.get("value"):
            case "float", str(text):
                return float(text)
            case "int", str(text):
                return int(text, 16) if "0x" in text[:3] else int(text)
            case "text", str():
                return _exact_text(marker["base64"])
            case "pairs", list():
                pairs = cast("list[Any]", marker["value"])
                return {_key(key, blob): restore(item, blob) for key, item in pairs}
            case _:
                return marker
    except (KeyError, TypeError, ValueError):  # a foreign writer's marker, or a damaged one
        return marker


def _exact_text(encoded: str) -> str:
    import base64  # noqa: PLC0415 - as in `of_text`

    return base64.b64decode(encoded).decode("utf-8", "surrogatepass")


def _key(key: Any, blob: Blob | None) -> Any:
    """Return a key of a mapping: a list stands for the tuple that it was."""
    restored = restore(key, blob)
    return _hashable(cast("list[Any]", restored)) if isinstance(restored, list) else restored


def _hashable(items: list[Any]) -> tuple[Any, ...]:
    return tuple(
        _hashable(cast("list[Any]", item)) if isinstance(item, list) else item for item in items
    )
