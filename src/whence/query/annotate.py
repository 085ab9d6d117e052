"""A remark about something in the log, made later: a record of its own that edits nothing.

Comes in: what was found and what is to be said. Goes out: one annotation record at the end of the
log, in a segment of this process. The capturing side is not needed for it: no run is open, and no
setting of the program is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock, _ids
from whence.errors import ConfigError, StoreError
from whence.log.writer import Writer
from whence.query import restore
from whence.record import codec
from whence.record.score import Annotation

if TYPE_CHECKING:
    from whence.log.home import Home
    from whence.query.find import Found


class Remark(msgspec.Struct, frozen=True):
    """What is to be said."""

    flag: str | None = None
    """Why it should be reviewed."""
    status: str | None = None
    """Where the review stands."""
    note: str | None = None
    """Free text, markdown."""
    by: str | None = None
    """Who says so."""
    attributes: dict[str, Any] = {}
    """Whatever else is to be said."""


def write(home: Home, found: Found, remark: Remark) -> str:
    """Return the id of a remark about what was found, after writing it.

    Raises:
        ConfigError: The remark says nothing, or says it in something else than text.
        StoreError: It could not be written.
    """
    said = {name: _text(name, getattr(remark, name)) for name in ("flag", "status", "note", "by")}
    if not any(said[name] for name in ("flag", "status", "note")) and not remark.attributes:
        raise ConfigError("the remark says nothing; give a flag, a status, a note or an attribute")
    now_ns = _clock.wall_ns()
    record = Annotation(
        ts=_clock.format_ns(now_ns),
        run=found.run,
        id=_ids.new_id(),
        target=getattr(found.row, "output_id", None) or found.row.id,
        attributes=_attributes(remark.attributes),
        flag=said["flag"],
        status=said["status"],
        note=said["note"],
        by=said["by"],
    )
    writer = Writer(home, durability="record")
    try:
        place = writer.append(codec.encode_json(record), now_ns, found.run)
    finally:
        writer.close()
    if place < 0:
        raise StoreError(
            f"the remark was not written: {writer.last_reason or 'the log took no record'}"
        )
    return record.id


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {value!r}; a remark is made of text")
    # Half of a surrogate pair has no form in UTF-8, which the log is written in.
    return value.encode("utf-8", "backslashreplace").decode()


def _attributes(attributes: dict[str, Any]) -> dict[str, Any] | None:
    return {str(key): restore.to_json(value) for key, value in attributes.items()} or None
