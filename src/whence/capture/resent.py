"""Writes records with values that the segment may hold already, such as a resent conversation.

Comes in: the fields of a record, those that may repeat what was said before apart. Goes out: one
line, in which a reference stands in the place of what an earlier line of the segment holds
(`whence.log.resend`). A conversation of plain messages is measured and written by the compiled half
of the writer; everything else is made JSON, field by field, and looked up as that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from whence import _interrupts
from whence.capture import emit, state, values
from whence.log import blobs, lines
from whence.log.writer import REFUSED, UNFIT, Writer, split_place
from whence.record import codec

if TYPE_CHECKING:
    from whence.capture.emit import Shape
    from whence.capture.verbs import Verbs
    from whence.log.resend import Fragment, Seen

_current = state.current
_encode = codec.encode_json


def write_conversation(
    scope: Verbs, how: Shape, now_ns: int, first: Any, fields: dict[str, Any]
) -> Any:
    """Write a record with messages, of which those that the segment holds become references.

    Args:
        scope: Where it belongs.
        how: The shape of its kind.
        now_ns: The time of the record.
        first: The first of the kind's own fields.
        fields: The others by name, as the user gave them, with `messages` among them, which become
            what is written.

    Returns:
        Its id; None if nothing was written, for a value is not plain.
    """
    direct = _current.direct_fields
    messages = fields["messages"]
    if direct is None or type(messages) is not list:
        return None
    writer: Writer = direct.__self__
    texts = writer.texts(cast("list[Any]", messages))
    if texts is None:
        return None
    seen = _seen_by(writer)
    fragments: list[Fragment] = []
    written = seen.texts(texts, fragments, bytes)
    fields["messages"] = [_encode(item) if type(item) is dict else item for item in written]
    placed = direct(how.template, scope.envelope, now_ns, first, fields, seen.serial)
    if type(placed) is not tuple:
        return placed
    record_id, offset = cast("tuple[str, int]", placed)
    if fragments:
        seen.remember(offset, fragments)
    return record_id


def _seen_by(writer: Writer) -> Seen:
    """Return what the current segment of a writer holds already."""
    seen = _current.seen
    if seen is None or seen.serial != writer.serial or seen.writer is not writer:
        seen = _current.seen = _new_seen(writer, writer.serial)
    return seen


def _new_seen(writer: Writer, serial: int) -> Seen:
    from whence.log.resend import Seen  # noqa: PLC0415 - importing whence has to be quick

    return Seen(writer, serial)


def write_shared(
    scope: Verbs, how: Shape, fields: dict[str, Any], now_ns: int, shared: dict[str, Any]
) -> None:
    """Write a record with fields that may repeat what the segment already holds.

    Args:
        scope: Where it belongs.
        how: The shape of its kind.
        fields: Its other fields.
        now_ns: The time of the record.
        shared: Field name to clean value; `messages` is a list whose items are shared one by one.
    """
    current = _current
    try:
        if current.careful:
            emit.emit(emit.record_of(scope, how, fields | shared, now_ns), now_ns)
            return
        writer = current.writer or current.open_writer()
        if not _write_shared(scope, how, fields, now_ns, shared, writer) and not _write_shared(
            scope, how, fields, now_ns, shared, writer
        ):
            # Recorded from a signal or finalizer during a write, or in a race for a new segment.
            _write_shared(scope, how, fields, now_ns, shared, writer, _new_seen(writer, -1))
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(error, scope.run_id)


def _write_shared(  # noqa: PLR0917 - private, and called in one place
    scope: Verbs,
    how: Shape,
    fields: dict[str, Any],
    now_ns: int,
    shared: dict[str, Any],
    writer: Writer,
    seen: Seen | None = None,
) -> bool:
    """Write the record, with references to what the segment holds already.

    Returns:
        False if the writer moved to another segment meanwhile, so that references would dangle.
    """
    if seen is None:
        seen = _seen_by(writer)
    fragments: list[Fragment] = []
    written, refers = _with_references(shared, seen, fragments)
    serial = seen.serial if refers else 0
    run = scope.run_id
    line = how.line(v=how.head, run=scope.envelope, **fields, **written)
    place = writer.write(line, now_ns, run, serial)
    if place == UNFIT:  # the careful path finds out which field it is
        record = emit.record_of(scope, how, fields | written, now_ns)
        raw = frozenset(name for name, value in written.items() if type(value) is not str)
        place = writer.append(emit.carefully(record, raw), now_ns, run, serial)
    if place == REFUSED:
        return False
    if place >= 0 and fragments:
        serial, offset = split_place(place)
        if serial > seen.serial >= 0:  # this record opened a new segment
            seen = _current.seen = _new_seen(writer, serial)
        if serial == seen.serial:
            seen.remember(offset, fragments)
    return True


def _with_references(
    shared: dict[str, Any], seen: Seen, fragments: list[Fragment]
) -> tuple[dict[str, Any], bool]:
    """Return what to write for each field, and whether anything refers to an earlier line."""
    written: dict[str, Any] = {}
    refers = False
    for name, value in shared.items():
        if name == "messages" and type(value) is list:
            texts = [_value_text(message) for message in cast("list[Any]", value)]
            items = written[name] = seen.texts(texts, fragments)
            refers = refers or len(items) != len(texts) or any(type(item) is dict for item in items)
        elif type(value) is str and len(value) < lines.VALUE_BYTES:
            written[name] = value
        else:
            one = written[name] = seen.value((name,), _value_text(value), fragments)
            refers = refers or type(one) is dict
    return written, refers


def _value_text(value: Any) -> bytes:
    """Return a clean value as JSON, shrunk to blobs where it is long."""
    try:
        text = codec.encode_json(value)
    except emit.UNENCODABLE as error:
        _interrupts.pass_on(error)
        text = codec.encode_json(values.settle(value, state.store_blob))
    if len(text) > blobs.INLINE_BYTES:
        text = codec.encode_json(values.shrink(value, state.store_blob))
    return text
