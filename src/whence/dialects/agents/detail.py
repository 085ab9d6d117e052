"""How much of a value is kept: `minimal` its type, `standard` a sample, `full` all of it.

Comes in: whatever a tool answered or an agent returned. Goes out: what is to be recorded of it.
Nothing here records.

Source: document 3 (hybrid sessions); the sizes of samples are those of its original tracker.
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

from whence.capture import values
from whence.errors import ConfigError

DetailLevel = Literal["minimal", "standard", "full"]
SAMPLE_ITEMS = 3
SAMPLE_KEYS = 5
SUMMARY_KEYS = 10
SUMMARY_CHARS = 100
REPR_CHARS = 200


def check_level(level: str) -> DetailLevel:
    """Return the level if it is one.

    Raises:
        ConfigError: It is none.
    """
    if level not in get_args(DetailLevel):
        known = ", ".join(get_args(DetailLevel))
        raise ConfigError(f"the detail level is {level!r}; it has to be one of {known}")
    return cast("DetailLevel", level)


def kept(value: Any, level: DetailLevel) -> Any:
    """Return what is kept of a tool's answer or of data that was transformed."""
    if value is None or level == "full":
        return value
    if level == "minimal":
        return {"type": _kind_of(value)}
    return sample(value)


def sample(value: Any) -> Any:
    """Return the first three items of a list, the first five keys of a mapping, else the value."""
    if isinstance(value, dict):
        mapping = cast("dict[Any, Any]", value)
        return {key: mapping[key] for key in list(mapping)[:SAMPLE_KEYS]}
    if isinstance(value, (list, tuple)):
        listed: list[Any] = list(cast("list[Any]", value)[:SAMPLE_ITEMS])
        return listed
    return value


def schema_of(value: Any) -> dict[str, Any]:
    """Return the shape of a value: types by key, or type and number of items, or its type."""
    if isinstance(value, dict):
        mapping = cast("dict[Any, Any]", value)
        return {str(key): _kind_of(mapping[key]) for key in list(mapping)[:SAMPLE_KEYS]}
    listed: list[Any] = []
    if isinstance(value, list):
        listed = cast("list[Any]", value)
    if listed:
        return {"type": "list", "element_type": _kind_of(listed[0]), "count": len(listed)}
    return {"type": _kind_of(value)}


def _kind_of(value: Any) -> str:
    return type(value).__name__


def size_of(value: Any) -> int | None:
    """Return how many items a collection has; None for anything else."""
    collections = (dict, list, tuple, set, frozenset)
    return len(cast("list[Any]", value)) if isinstance(value, collections) else None


def result_summary(result: Any, level: DetailLevel) -> Any:
    """Return what is kept of what an agent returned.

    Of a mapping its first ten keys, with texts cut to 100 characters; of anything else its type and
    the beginning of its text. A minimal one has the type alone, a full one is the result.
    """
    if result is None or level == "full":
        return result
    if level == "minimal":
        return {"type": _kind_of(result)}
    if isinstance(result, dict):
        mapping = cast("dict[Any, Any]", result)
        return {
            key: item[:SUMMARY_CHARS] if isinstance(item := mapping[key], str) else item
            for key in list(mapping)[:SUMMARY_KEYS]
        }
    return {"type": _kind_of(result), "repr": values.text(result)[:REPR_CHARS]}
