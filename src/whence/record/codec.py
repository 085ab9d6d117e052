"""Records to bytes and back, losing nothing that a line holds.

`encode` gives one line of JSON without the line break; `decode` reads one. The fast path decodes
straight into the struct of the line's kind. A line that does not fit - an older format, keys or a
kind that this version does not know - takes the slow path: it is upgraded, its unknown keys are set
aside in `extra`, and `encode` writes them back where they were.
"""

from __future__ import annotations

import functools
import math
from typing import Any, TypeAlias, cast

import msgspec

from whence.errors import RecordError
from whence.record import values
from whence.record.base import FORMAT_VERSION, Record
from whence.record.decision import Decision, Factor, Option
from whence.record.event import Event, Foreign, Gap
from whence.record.generation import Generation, ToolCall, Transformation, Usage
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Annotation, Output, Score
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted

AnyRecord: TypeAlias = (
    RunStarted
    | RunEnded
    | SpanStarted
    | SpanEnded
    | Update
    | Decision
    | Factor
    | Source
    | Generation
    | ToolCall
    | Transformation
    | Score
    | Output
    | Link
    | Event
    | Annotation
    | Gap
    | Foreign
)
"""Every kind of record, as one tagged union: the key `kind` tells them apart."""

KINDS: dict[str, type[Record]] = {
    cast("str", kind.__struct_config__.tag): kind for kind in cast("Any", AnyRecord).__args__
}
"""The word in `kind` to its struct."""

_plain = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
encode_json = _encoder.encode
"""Encode any JSON-ready value.

A record comes out without `v` and `seq`, which the writer of the segment puts in front.
"""
decode_json = _plain.decode
"""Decode any JSON text into plain Python data."""


def encode(record: Record) -> bytes:
    """Return the record as one line of JSON, without the line break, its unknown keys in place."""
    if isinstance(record, Foreign):
        return _encoder.encode(record.extra)
    plain = cast("dict[str, Any]", msgspec.to_builtins(record))
    _unfold(plain)
    for option in plain.get("options") or ():
        _unfold(option)
    if isinstance(record, Generation) and record.usage is not None:
        _unfold(plain["usage"])
    head = {"v": plain.pop("v", FORMAT_VERSION), "seq": plain.pop("seq", 0)}
    return _encoder.encode(head | plain)


@functools.cache
def _decoder() -> msgspec.json.Decoder[AnyRecord]:
    """Return the decoder of all kinds, made when the first record is read: writing needs none."""
    return msgspec.json.Decoder(AnyRecord)


def decode(line: bytes) -> AnyRecord:
    """Return the record on one line of a log.

    Raises:
        RecordError: The line is not JSON, not an object, or lacks what a record of its kind must
            have.
    """
    try:
        record = _decoder().decode(line)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return _decode_slowly(line)
    if record.v != FORMAT_VERSION or type(record) is Foreign:
        return _decode_slowly(line)
    return record


def _decode_slowly(line: bytes) -> AnyRecord:
    try:
        plain = _plain.decode(line)
    except RecursionError as error:
        message = "the line is nested too deep to be read; it was not written by whence"
        raise RecordError(message) from error
    except (msgspec.DecodeError, ValueError) as error:
        message = f"the line is not JSON ({error}): {_shown(line)}"
        raise RecordError(message) from error
    if not isinstance(plain, dict):
        message = f"the line is not a JSON object: {_shown(line)}"
        raise RecordError(message)
    return from_plain(cast("dict[str, Any]", plain))


def from_plain(plain: dict[str, Any]) -> AnyRecord:
    """Return the record that a decoded JSON object stands for.

    A record of an older format is upgraded.

    Raises:
        RecordError: It lacks what a record of its kind must have, or a field has the wrong type.
    """
    if "kind" not in plain or not isinstance(plain["kind"], str):
        shown = _shown(_encoder.encode(plain))
        message = f"the line has no `kind`, so it is not a whence record: {shown}"
        raise RecordError(message)
    from whence.record import upgrade  # noqa: PLC0415 - for readers of old lines, not for capture

    try:
        plain = upgrade.to_current(plain)
        kind = KINDS.get(plain["kind"])
        if kind is None or kind is Foreign:
            return _foreign(plain)
        return cast("AnyRecord", msgspec.convert(_fold_record(kind, plain), kind, strict=False))
    except (msgspec.ValidationError, OverflowError, ValueError, OSError) as error:
        message = f"a {plain['kind'][:80]!r} record does not fit its kind: {error}"
        raise RecordError(message) from error


def _foreign(plain: dict[str, Any]) -> Foreign:
    known = {
        name: plain[name]
        for name in ("v", "seq", "ts", "run", "span", "id", "stage")
        if name in plain
    }
    return msgspec.convert(
        {**known, "foreign_kind": plain["kind"], "$extra": plain, "kind": "foreign"}, Foreign
    )


def _fold_record(kind: type[Record], plain: dict[str, Any]) -> dict[str, Any]:
    folded = _fold(kind, plain)
    if kind is Decision and isinstance(folded.get("options"), list):
        folded["options"] = [
            _fold(Option, cast("dict[str, Any]", o)) if isinstance(o, dict) else o
            for o in cast("list[Any]", folded["options"])
        ]
    if kind is Generation and isinstance(folded.get("usage"), dict):
        folded["usage"] = _fold(Usage, folded["usage"])
    return folded


def _fold(kind: type[msgspec.Struct], plain: dict[str, Any]) -> dict[str, Any]:
    known = {"kind", *(f.encode_name for f in msgspec.structs.fields(kind))} - {"$extra"}
    extra = {key: value for key, value in plain.items() if key not in known}
    folded = {key: value for key, value in plain.items() if key in known}
    if extra:
        folded["$extra"] = extra
    return folded


def _unfold(plain: dict[str, Any]) -> None:
    extra = plain.pop("$extra", None)
    if extra:
        plain.update((key, value) for key, value in extra.items() if key not in plain)


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("utf-8", "replace")) + ("..." if len(line) > 80 else "")  # noqa: PLR2004


def is_finite_number(value: object) -> bool:
    """Whether `value` is a number that JSON can hold exactly.

    A finite float or a 64-bit integer, not a boolean.

    Returns:
        True for a finite float or a 64-bit integer.
    """
    if isinstance(value, float):
        return math.isfinite(value)
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and values.INT_MIN <= value <= values.INT_MAX
    )
