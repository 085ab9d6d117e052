"""Ids that follow from what a source calls its things, so that a second import finds them again.

A derived id is a keyed-by-nothing BLAKE2b digest of the parts: the same parts give the same id on
every machine and in every version, so the way it is made must never change.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from whence.record.run import RunEnded, RunStarted
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from whence.record.base import Record

_RUN_BYTES = 16
_RECORD_BYTES = 8
_HEX = frozenset("0123456789abcdef")
RUN_STARTED = "R"
RUN_ENDED = "X"
SPAN_STARTED = "S"
SPAN_ENDED = "E"


def run_id(*parts: str) -> str:
    """Return the 32 hex digits of a run that the source knows by `parts`."""
    return _digest(parts, _RUN_BYTES)


def record_id(*parts: str) -> str:
    """Return the 16 hex digits of a span or record that the source knows by `parts`."""
    return _digest(parts, _RECORD_BYTES)


def _digest(parts: tuple[str, ...], size: int) -> str:
    digest = hashlib.blake2b(digest_size=size)
    for part in parts:  # each with its length, so that no two lists of parts read alike
        text = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(text), text))
    return digest.hexdigest()


def is_run_id(text: str) -> bool:
    """Whether `text` has the form of a run id: 32 lower-case hex digits, not all 0."""
    return len(text) == 2 * _RUN_BYTES and _HEX.issuperset(text) and text.strip("0") != ""


def is_record_id(text: str) -> bool:
    """Whether `text` has the form of a span or record id: 16 lower-case hex digits, not all 0."""
    return len(text) == 2 * _RECORD_BYTES and _HEX.issuperset(text) and text.strip("0") != ""


def key_of(record: Record) -> str:
    """Return what tells a record from all others of its run, or an empty text if nothing does."""
    kind = type(record)
    if kind is SpanStarted:
        return SPAN_STARTED + (record.span or "")
    if kind is SpanEnded:
        return SPAN_ENDED + (record.span or "")
    if kind is RunStarted:
        return RUN_STARTED + record.id  # what was concluded does not keep the run's own word out
    if kind is RunEnded:
        return RUN_ENDED + record.ts + record.id
    return record.id
