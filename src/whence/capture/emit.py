"""From a record to a line in the log: the one path every verb takes.

The fast path encodes a record of plain values and writes it: in one call from the values as the
user gave them where that is compiled (`whence.log.lines`), else from the struct of a line. What it
cannot do - text that is not Unicode, values over 32 KiB, redaction, withheld content - is done
field by field in `whence.capture.careful`. Whatever fails here is counted as a lost record of the
run, told of by a gap record, and never raised.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import msgspec

from whence import _clock, _interrupts
from whence.capture import guard, state, values
from whence.errors import LinkError
from whence.log import blobs, lines
from whence.log.resend import VALUE_BYTES, Fragment, Seen
from whence.log.writer import REFUSED, UNFIT, Writer, split_place
from whence.record import codec
from whence.record.base import FORMAT_VERSION, Record

if TYPE_CHECKING:
    from whence.capture.verbs import Verbs

_LINE_FIELDS = frozenset({"v", "seq", "ts", "run"})
_ENVELOPE = frozenset({"v", "seq", "ts", "run", "span", "id", "stage", "kind"})
_SHARED_FIELDS = _ENVELOPE | {"extra"}
_encode = codec.encode_json
_UNENCODABLE = (UnicodeError, TypeError, ValueError, RecursionError, msgspec.MsgspecError)
_INLINE_BYTES = blobs.INLINE_BYTES
_current = state.current
P = ParamSpec("P")
R = TypeVar("R")


def never_raises(verb: Callable[P, R]) -> Callable[P, R]:
    """Return the verb so that failures of ours end here.

    A `LinkError`, which answers a wrong call, passes; so does what a signal handler raised.
    """

    @functools.wraps(verb)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return verb(*args, **kwargs)
        except LinkError:
            raise
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            failed(error, getattr(args[0], "run_id", "") if args else "")
            return cast("R", "")

    return guarded


class Shape(msgspec.Struct, frozen=True):
    """How the records of one kind are written fast."""

    kind: type[Record]
    """The kind of record."""
    head: msgspec.Raw
    """The format version and the kind, for the field `v` of a line."""
    line: Callable[..., Any]
    """Makes a line: `v` (the head), `run` (the envelope of a scope), and the kind's own fields."""
    template: Any
    """The same for `State.direct`, which takes the kind's own fields in their order; or None."""


def shape(kind: type[Record], *, has_id: bool = True, direct: bool = True) -> Shape:
    """Return the shape of a kind of record.

    Args:
        kind: The kind.
        has_id: Whether its records have ids of their own.
        direct: Whether its records may be written with `State.direct`.
    """
    fields: list[Any] = [
        ("v", msgspec.Raw),
        ("seq", int, 0),
        ("ts", str, ""),
        ("run", msgspec.Raw),
    ]
    if has_id:
        fields.append(("id", str))
    for field in msgspec.structs.fields(kind):
        if field.name not in _SHARED_FIELDS:
            required = field.default is msgspec.NODEFAULT
            fields.append((field.name, Any) if required else (field.name, Any, field.default))
    line = msgspec.defstruct(
        f"{kind.__name__}Line", fields, kw_only=True, omit_defaults=True, gc=False
    )
    head = b'%d,"kind":"%b"' % (FORMAT_VERSION, str(kind.__struct_config__.tag).encode())
    template = lines.template(head, kind, skip=_SHARED_FIELDS, has_id=has_id) if direct else None
    return Shape(kind, msgspec.Raw(head), line, template)


def write_plain(scope: Verbs, how: Shape, now_ns: int, *values: Any) -> Any:
    """Write a record of values as the user gave them, if all of them are plain.

    Args:
        scope: Where it belongs.
        how: The shape of its kind.
        now_ns: The time of the record.
        *values: The kind's own fields in their order; the last ones may be left out.

    Returns:
        Its id, or True if its kind has none; None if nothing was written.
    """
    direct = _current.direct
    return None if direct is None else direct(how.template, scope.envelope, now_ns, *values)


def write(scope: Verbs, how: Shape, line: Any, now_ns: int) -> None:
    """Write a record of a scope; the user's values in it are clean already."""
    writer = _current.quick
    if writer is not None and writer.write(line, now_ns, scope.run_id) != UNFIT:
        return
    emit(_record(scope, how, _own_fields(line), now_ns), now_ns)


def _own_fields(line: Any) -> dict[str, Any]:
    fields = msgspec.structs.asdict(line)
    return {name: value for name, value in fields.items() if name not in _LINE_FIELDS}


def _record(scope: Verbs, how: Shape, fields: dict[str, Any], now_ns: int) -> Record:
    ts, run = _clock.format_ns(now_ns), scope.run_id
    return how.kind(ts=ts, run=run, span=scope.span_id, stage=scope.stage, **fields)


def run_part(run_id: str) -> bytes:
    """Return what the lines of a run share: its id as JSON text."""
    return b'"%b"' % run_id.encode()


def stage_part(stage: str) -> bytes:
    """Return what the lines of a stage share, as JSON text with a leading comma."""
    return b',"stage":' + _encode(stage.encode("utf-8", "backslashreplace").decode())


def envelope(run: bytes, span_id: str, stage: bytes) -> msgspec.Raw:
    """Return what the lines of a span share: the value of `run`, and the fields behind it."""
    return msgspec.Raw(b'%b,"span":"%b"%b' % (run, span_id.encode(), stage))


def emit(record: Record, now_ns: int) -> None:
    """Write a record whose user values are clean already."""
    current = _current
    body = None
    if not current.careful:
        try:
            body = _encode(record)
        except _UNENCODABLE as error:  # the careful path finds out which field it is
            _interrupts.pass_on(error)
    if body is None or len(body) > _INLINE_BYTES:
        _emit_carefully(record, now_ns)
        return
    try:
        (current.writer or current.open_writer()).append(body, now_ns, record.run)
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        failed(error, record.run)


def _emit_carefully(record: Record, now_ns: int) -> None:
    try:
        body = _carefully(record)
        (_current.writer or _current.open_writer()).append(body, now_ns, record.run)
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        failed(error, record.run)


def _carefully(record: Record, raw: frozenset[str] = frozenset()) -> bytes:
    from whence.capture import careful  # noqa: PLC0415 - most programs never need it

    return careful.encode(record, raw)


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
            emit(_record(scope, how, fields | shared, now_ns), now_ns)
            return
        writer = current.writer or current.open_writer()
        if not _write_shared(scope, how, fields, now_ns, shared, writer) and not _write_shared(
            scope, how, fields, now_ns, shared, writer
        ):
            # Recorded from a signal or finalizer during a write, or in a race for a new segment.
            _write_shared(scope, how, fields, now_ns, shared, writer, Seen(writer, -1))
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        failed(error, scope.run_id)


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
        seen = _current.seen
        if seen.serial != writer.serial or seen.writer is not writer:
            seen = _current.seen = Seen(writer, writer.serial)
    fragments: list[Fragment] = []
    written, refers = _with_references(shared, seen, fragments)
    serial = seen.serial if refers else 0
    run = scope.run_id
    line = how.line(v=how.head, run=scope.envelope, **fields, **written)
    place = writer.write(line, now_ns, run, serial)
    if place == UNFIT:  # the careful path finds out which field it is
        record = _record(scope, how, fields | written, now_ns)
        raw = frozenset(name for name, value in written.items() if type(value) is not str)
        place = writer.append(_carefully(record, raw), now_ns, run, serial)
    if place == REFUSED:
        return False
    if place >= 0 and fragments:
        serial, offset = split_place(place)
        if serial > seen.serial >= 0:  # this record opened a new segment
            seen = _current.seen = Seen(writer, serial)
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
            items = written[name] = seen.messages(texts, fragments)
            refers = refers or len(items) != len(texts) or any(type(item) is dict for item in items)
        elif type(value) is str and len(value) < VALUE_BYTES:
            written[name] = value
        else:
            one = written[name] = seen.value((name,), _value_text(value), fragments)
            refers = refers or type(one) is dict
    return written, refers


def _value_text(value: Any) -> bytes:
    """Return a clean value as JSON, shrunk to blobs where it is long."""
    try:
        text = codec.encode_json(value)
    except _UNENCODABLE as error:
        _interrupts.pass_on(error)
        text = codec.encode_json(values.settle(value, state.store_blob))
    if len(text) > blobs.INLINE_BYTES:
        text = codec.encode_json(values.shrink(value, state.store_blob))
    return text


def failed(error: Exception, run: str) -> None:
    """Count a record of `run` that a failure of ours kept from being written.

    Raises:
        Exception: It is no failure, but what a signal handler of the program's raised.
    """
    _interrupts.pass_on(error)
    # The message of an error may hold what was to be redacted.
    described = guard.describe(error) if _current.redact is None else type(error).__name__
    why = f"whence failed to record: {described}"
    guard.tell_once("failed", f"a record was lost; your program goes on. {described}")
    try:
        (_current.writer or _current.open_writer()).count_loss(run, why)
    except Exception as second:  # noqa: BLE001 - settings may be unusable; there is no writer to count in
        guard.tell_once("settings", f"nothing can be recorded: {guard.describe(second)}")
