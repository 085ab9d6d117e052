"""Values as the log keeps them, for what a dialect writes beside the log.

Comes in: the row of a record that was just recorded. Goes out: the same row with the user's
redaction applied to its texts and its content withheld, where `whence.configure` asks for either.
Without this a file that is written beside the log would hold what the log must not.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

from whence.capture import guard, values
from whence.capture.redaction import CONTENT_FIELDS
from whence.capture.state import current
from whence.record.values import MARK
from whence.store.rows import Row

T = TypeVar("T", bound=Row)

_OURS = frozenset(
    {"id", "run", "span", "ts_ns", "started_ns", "ended_ns", "status", "level", "parent_run"}
)
"""Fields that hold ids, times and words of ours."""
_WITHHELD = "[withheld: the redact function failed]"


def guarded(row: T) -> T:
    """Return a row as it may be shown outside the log."""
    if not current.careful:
        return row
    changes: dict[str, Any] = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if name in _OURS or not value or isinstance(value, (int, float)):
            continue
        if not current.capture_content and name in CONTENT_FIELDS:
            changes[name] = {MARK: "withheld", "why": "capture_content is off"}
        else:
            changes[name] = redacted(value, name)
    return msgspec.structs.replace(row, **changes) if changes else row


def redacted(value: Any, path: str) -> Any:
    """Return a value with the user's redaction applied to every text in it, keys left as they are.

    Args:
        value: JSON-ready data.
        path: Where it stands, for functions that ask.
    """
    if current.redact is None:
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        return {key: redacted(item, f"{path}.{key}") for key, item in mapping.items()}
    if isinstance(value, list):
        listed = cast("list[Any]", value)
        return [redacted(item, f"{path}.{place}") for place, item in enumerate(listed)]
    return value


def _text(value: str, path: str) -> str:
    redact = current.redact
    if redact is None:
        return value
    try:
        said = redact(value, path) if current.redact_takes_path else redact(value)
    except Exception as error:  # noqa: BLE001 - the user's function; its failure must not let the text through
        guard.tell_once(
            "redact", f"the redact function failed, so texts are withheld: {type(error).__name__}"
        )
        return _WITHHELD
    return said if type(said) is str else values.text(said)
