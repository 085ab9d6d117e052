"""The envelope every record shares: when it was made, in which run and span, and under which id.

A record is one line of the log. It is frozen: a change is a new record. `v` and `seq` are given by
the writer of the segment; everything else is set at capture and never again, so that replaying a
log anywhere gives the same rows.
"""

from __future__ import annotations

from typing import Any

import msgspec

FORMAT_VERSION = 1
"""The version this code writes.

Older lines are upgraded when read; newer ones are read as far as they are known.
"""


class Record(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    forbid_unknown_fields=True,  # so that unknown keys are noticed, and then kept, by the codec
    tag_field="kind",
    tag="record",
):
    """One line of the log: the fields that every kind has."""

    v: int = 0
    """Format version of the line; 0 only in a record that no writer has numbered yet."""
    seq: int = 0
    """Place in its segment, from 1, without holes."""
    ts: str
    """When it was recorded: RFC 3339, UTC, nanoseconds."""
    run: str
    """Id of the run it belongs to.

    32 hex digits. Empty only for a gap that no run can be blamed for.
    """
    span: str | None = None
    """Id of the span it was recorded in, 16 hex digits; null at run level."""
    id: str = ""
    """Id of this record, 16 hex digits; empty where the run or span id already names it."""
    stage: str | None = None
    """Name of the nearest enclosing span of kind `stage`."""
    extra: dict[str, Any] | None = msgspec.field(default=None, name="$extra")
    """Keys that a newer or foreign writer put on the line.

    They are kept and written back as they were.
    """
