"""What a line of `actions.jsonl` has to be like, from the JSON Schema that every folder carries.

Comes in: the details of an action, with values of any kind. Goes out: the same details, in which
the keys that the schema knows have values of the type that it demands. Nothing is dropped: a value
that cannot be brought into its type stands beside it, under the key with `_stated` behind it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from whence.query import text
from whence.record.values import INT_MAX, INT_MIN

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent / "provenance_folder"
"""The files that every provenance folder has, as they are in this package."""
SCHEMA = "metadata-schema.json"


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of a line."""
    return json.loads((FOLDER / SCHEMA).read_bytes())


@cache
def _types() -> dict[str, str]:
    known: dict[str, dict[str, Any]] = schema()["properties"]["details"]["properties"]
    return {key: rule["type"] for key, rule in known.items()}


def fitted(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return details that satisfy the schema, without those that are None."""
    made: dict[str, Any] = {}
    types = _types()
    for key, value in details.items():
        if value is None:
            continue
        wanted = types.get(key)
        fitting = value if wanted is None else _FIT[wanted](value)
        if fitting is None:
            made[f"{key}_stated"] = value
        else:
            made[key] = fitting
    return made


def plain_text(value: Any) -> str:
    """Return a value as text that UTF-8 can hold."""
    shown = value if isinstance(value, str) else text.printable(value)
    if shown.isascii():
        return shown
    return shown.encode("utf-8", "backslashreplace").decode()


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and INT_MIN <= value <= INT_MAX else None


def _texts(value: Any) -> list[str]:
    items = cast("list[Any]", value) if isinstance(value, (list, tuple)) else [value]
    return [plain_text(item) for item in items]


_FIT: dict[str, Any] = {"string": plain_text, "integer": _whole, "array": _texts}
