"""Turns a usage object with attributes into the mapping it stands for.

Client libraries hand out such objects, and so do tests and adapters. Comes in: any object. Goes
out: its fields as plain data, or the object itself where it has none. The values are not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

_MOST_LEVELS = 4
_MOST_FIELDS = 1000
"""What has more is no usage, but an object of another kind that was given for one."""
_WHOLE = (str, bytes, bytearray, int, float, type)


def as_mapping(stated: Any) -> Any:
    """Return an object with attributes as a mapping of them; anything else as it is.

    It never raises: an object that cannot be asked, or has far more fields than any usage, is
    returned unchanged.
    """
    if type(stated) is dict or stated is None:
        return cast("Any", stated)
    try:
        return _plain(stated, 0, _Fields())
    except Exception:  # noqa: BLE001 - asking a user's object for anything runs the user's code
        return stated


class _Fields:
    """Counts the fields that were read."""

    def __init__(self) -> None:
        self._count = 0

    def count(self, more: int) -> None:
        self._count += more
        if self._count > _MOST_FIELDS:
            raise ValueError(f"more than {_MOST_FIELDS} fields")


def _plain(value: Any, depth: int, fields: _Fields) -> Any:
    if depth > _MOST_LEVELS or value is None or isinstance(value, _WHOLE):
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        fields.count(len(items))
        return {key: _plain(item, depth + 1, fields) for key, item in items}
    if type(value) is list or type(value) is tuple:
        fields.count(len(cast("list[Any]", value)))
        return [_plain(item, depth + 1, fields) for item in cast("list[Any]", value)]
    for method in ("model_dump", "to_dict", "_asdict", "dict"):
        dump = getattr(value, method, None)
        if callable(dump):
            dumped = dump()
            if isinstance(dumped, Mapping):
                return _plain(dumped, depth + 1, fields)
    names = _names_of(value)
    fields.count(len(names))
    return (
        {name: _plain(getattr(value, name), depth + 1, fields) for name in names}
        if names
        else value
    )


def _names_of(value: Any) -> list[str]:
    """Return the names of an object's public fields; of its properties, where it has no fields."""
    listed = list(getattr(value, "__dict__", ()))
    for base in cast("type[Any]", type(value)).__mro__:
        slots = base.__dict__.get("__slots__", ())
        listed += [slots] if isinstance(slots, str) else list(slots)
    names = [name for name in listed if not name.startswith("_") and hasattr(value, name)]
    if names:
        return names
    public = (name for name in dir(value) if not name.startswith("_"))
    return [name for name in public if not callable(getattr(value, name))]
