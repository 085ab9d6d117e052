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
from whence.capture import guard, state
from whence.errors import LinkError
from whence.log import blobs, lines
from whence.log.writer import UNFIT
from whence.record import codec
from whence.record.base import FORMAT_VERSION, Record

if TYPE_CHECKING:
    from whence.capture.verbs import Verbs

_LINE_FIELDS = frozenset({"v", "seq", "ts", "run"})
_encode = codec.encode_json
UNENCODABLE = (UnicodeError, TypeError, ValueError, RecursionError, msgspec.MsgspecError)
"""What encoding raises for values that JSON cannot hold, or UTF-8."""
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
    """The same for `State.direct` and `State.direct_fields`; None if nothing is compiled."""


def shape(kind: type[Record], *, has_id: bool = True, **forms: str) -> Shape:
    """Return the shape of a kind of record.

    Args:
        kind: The kind.
        has_id: Whether its records have ids of their own.
        **forms: How values are written that have another form than their field, see
            `lines.template`.
    """
    fields: list[Any] = [
        ("v", msgspec.Raw),
        ("seq", int, 0),
        ("ts", str, ""),
        ("run", msgspec.Raw),
    ]
    if has_id:
        fields.append(("id", str))
    for name, _, default in lines.own_fields(kind):
        required = default is msgspec.NODEFAULT
        fields.append((name, Any) if required else (name, Any, default))
    line = msgspec.defstruct(
        f"{kind.__name__}Line", fields, kw_only=True, omit_defaults=True, gc=False
    )
    head = b'%d,"kind":"%b"' % (FORMAT_VERSION, str(kind.__struct_config__.tag).encode())
    template = lines.template(head, kind, has_id=has_id, forms=forms)
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


def write_fields(scope: Verbs, how: Shape, now_ns: int, first: Any, fields: dict[str, Any]) -> Any:
    """Write a record of named values as the user gave them, if all of them are plain.

    Args:
        scope: Where it belongs.
        how: The shape of its kind.
        now_ns: The time of the record.
        first: The first of the kind's own fields.
        fields: The others by name.

    Returns:
        Its id, or True if its kind has none; None if nothing was written.
    """
    direct = _current.direct_fields
    if direct is None:
        return None
    return direct(how.template, scope.envelope, now_ns, first, fields, -1)


def write(scope: Verbs, how: Shape, line: Any, now_ns: int) -> None:
    """Write a record of a scope; the user's values in it are clean already."""
    writer = _current.quick
    if writer is not None and writer.write(line, now_ns, scope.run_id) != UNFIT:
        return
    emit(record_of(scope, how, _own_fields(line), now_ns), now_ns)


def _own_fields(line: Any) -> dict[str, Any]:
    fields = msgspec.structs.asdict(line)
    return {name: value for name, value in fields.items() if name not in _LINE_FIELDS}


def record_of(scope: Verbs, how: Shape, fields: dict[str, Any], now_ns: int) -> Record:
    """Return the record of a scope with these fields of its kind."""
    ts, run = _clock.format_ns(now_ns), scope.run_id
    return how.kind(ts=ts, run=run, span=scope.span_id, stage=scope.stage, **fields)


def run_part(run_id: str) -> bytes:
    """Return what the lines of a run share: its id as JSON text."""
    return b'"%b"' % run_id.encode()


@functools.lru_cache(maxsize=256)
def stage_part(stage: str) -> bytes:
    """Return what the lines of a stage share, as JSON text with a leading comma."""
    if not stage.isascii():
        stage = stage.encode("utf-8", "backslashreplace").decode()
    return b',"stage":' + _encode(stage)


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
        except UNENCODABLE as error:  # the careful path finds out which field it is
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
        body = carefully(record)
        (_current.writer or _current.open_writer()).append(body, now_ns, record.run)
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        failed(error, record.run)


def carefully(record: Record, raw: frozenset[str] = frozenset()) -> bytes:
    """Return the body of a record, see `careful.encode`."""
    from whence.capture import careful  # noqa: PLC0415 - most programs never need it

    return careful.encode(record, raw)


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
        _current.lose_without_writer(run, why)
        guard.tell_once("settings", f"nothing can be recorded: {guard.describe(second)}")
