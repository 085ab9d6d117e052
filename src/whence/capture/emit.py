"""From a record to a line in the log: the one path every verb takes.

The fast path encodes a record of plain values and writes it: in one call from the values as the
user gave them where that is compiled (`whence.log.lines`), else from the struct of a line. What it
cannot do - text that is not Unicode, values over 32 KiB, redaction, withheld content - is done
field by field on the careful path, where long values go to blobs and the fields that have to stay
text keep a preview, their exact value beside them under the key `whole`. Whatever fails here is
counted as a lost record of the run, told of by a gap record, and never raised.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
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
from whence.record.link import LINK_KINDS
from whence.record.span import SPAN_KINDS
from whence.record.values import MARK, is_marker, restore

if TYPE_CHECKING:
    from whence.capture.verbs import Verbs

CONTENT_FIELDS = frozenset(
    {
        "input",
        "output",
        "messages",
        "prompt_template",
        "reasoning",
        "value",
        "media",
        "input_sample",
        "output_sample",
    }
)
"""Record fields that `capture_content=False` keeps out of the log."""
_LINE_FIELDS = frozenset({"v", "seq", "ts", "run"})
_ENVELOPE = frozenset({"v", "seq", "ts", "run", "span", "id", "stage", "kind"})
_SHARED_FIELDS = _ENVELOPE | {"extra"}
_TEXT_TYPES = (str, str | None, str | dict[str, Any] | None)
_TEXTS_INSIDE = frozenset({"tags", "sample_ids", "options", "fields"})
_OPTION_TEXTS = frozenset({"name", "reason_rejected"})
_REFERENCES = frozenset({"parent", "parent_run", "source", "target", "decision"})
_HEX = frozenset("0123456789abcdef")
_WORDS: dict[str, Collection[str]] = {
    "status": {"ok", "error", "cancelled", "complete", "failed"},
    "span_kind": SPAN_KINDS,
    "link_kind": LINK_KINDS,
    "level": {"debug", "info", "warning", "error"},
    "cost_source": {"declared", "computed"},
}
_HELD = "held"
_KEPT_ITEMS = 50
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
    """The same for `State.put`, which takes the kind's own fields in their order; or None."""


def shape(kind: type[Record], *, has_id: bool = True, direct: bool = True) -> Shape:
    """Return the shape of a kind of record.

    Args:
        kind: The kind.
        has_id: Whether its records have ids of their own.
        direct: Whether its records may be written with `State.put`.
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
    put = _current.put
    return None if put is None else put(how.template, scope.envelope, now_ns, *values)


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
        body = _encode_carefully(record)
        (_current.writer or _current.open_writer()).append(body, now_ns, record.run)
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        failed(error, record.run)


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
        place = writer.append(_encode_carefully(record, raw), now_ns, run, serial)
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
        text = codec.encode_json(values.settle(value, _store))
    if len(text) > blobs.INLINE_BYTES:
        text = codec.encode_json(_shrink(value))
    return text


def put_blob(content: bytes, encoding: blobs.Encoding, preview: str) -> dict[str, Any]:
    """Return the marker of bytes that a user's value holds, stored as a blob of the current home.

    Where texts are redacted first, the marker holds the bytes until that is done.
    """
    if not _current.capture_content:
        return {MARK: "withheld", "why": "capture_content is off", "size_bytes": len(content)}
    if _current.redact is not None:
        return {MARK: "blob", "encoding": encoding, _HELD: content}
    return _store(content, encoding, preview)


def _store(content: bytes, encoding: blobs.Encoding, preview: str) -> dict[str, Any]:
    """Store bytes as a blob.

    Returns:
        The marker; one without bytes if the disk refuses them.
    """
    writer = _current.writer or _current.open_writer()
    try:
        return blobs.put(
            writer.home, content, encoding, preview=preview, sync=writer.durability != "process"
        )
    except OSError as error:
        _interrupts.pass_on(error)
        why = f"{error.strerror or error} while storing a value of {len(content)} bytes"
        writer.count_loss("", why)
        return {MARK: "withheld", "why": why, "size_bytes": len(content), "preview": preview}


def _shrink(value: Any) -> Any:
    """Return a clean value with its long parts in blobs; as one blob if it is still too long."""
    small = values.settle(value, _store)
    text = codec.encode_json(small)
    if len(text) <= blobs.INLINE_BYTES:
        return small
    return _store(text, "json", text[: blobs.PREVIEW_CHARS].decode("utf-8", "ignore"))


def _encode_carefully(record: Record, raw: frozenset[str] = frozenset()) -> bytes:
    """Return the body of a record, each field brought into a form that can be kept.

    Args:
        record: The record.
        raw: Fields that hold JSON text already.
    """
    plain: dict[str, Any] = {"kind": record.__struct_config__.tag}
    whole: dict[str, Any] = {}
    for field in msgspec.structs.fields(record):
        name = field.name
        value = getattr(record, name)
        if name == "extra" or (value == field.default and type(value) is type(field.default)):
            continue
        if name in raw:
            plain[name] = value
            continue
        if isinstance(value, (msgspec.Struct, list)):
            value = msgspec.to_builtins(value, builtin_types=(bytes,))
        if name == "stage":  # the name of a span, in another place
            value = _guarded_content("name", value)
        elif name not in _ENVELOPE:
            value = _guarded_content(name, value)
        plain[name] = _kept(name, value, typed_text=field.type in _TEXT_TYPES, whole=whole)
    if whole:
        plain["whole"] = whole
    return codec.encode_json(plain)


def _kept(name: str, value: Any, *, typed_text: bool, whole: dict[str, Any]) -> Any:
    if isinstance(value, str) and typed_text:
        kept = values.settle(value, _store)
        if not isinstance(kept, str):
            whole[name], kept = kept, _preview(value)
        return kept
    if name == "messages":
        return [_shrink(item) for item in cast("list[Any]", value)]
    if name in _TEXTS_INSIDE:
        return _kept_texts(name, value, whole)
    if name == "usage":
        return {key: _shrink(item) for key, item in cast("dict[str, Any]", value).items()}
    kept: Any = _shrink(value)
    if isinstance(value, list) and not isinstance(kept, list):  # a list field has to stay a list
        whole[name] = kept
        return [_shrink(item) for item in cast("list[Any]", value)[:_KEPT_ITEMS]]
    return cast("Any", kept)


def _kept_texts(name: str, value: Any, whole: dict[str, Any]) -> Any:
    """Return a list of texts or options, or a mapping to texts, with text where it has to be."""
    if isinstance(value, dict):
        fitting: Any = {key: _fitting(item) for key, item in cast("dict[str, Any]", value).items()}
    else:
        fitting = [_fitting(item) for item in cast("list[Any]", value)]
    if fitting != value:
        kept = whole[name] = _shrink(value)
        if isinstance(fitting, list) and not isinstance(kept, list):
            return cast("list[Any]", fitting)[:_KEPT_ITEMS]
    return cast("Any", fitting)


def _fitting(item: Any) -> Any:
    if isinstance(item, str):
        return item if isinstance(values.settle(item, _nowhere), str) else _preview(item)
    if isinstance(item, dict):
        option = cast("dict[str, Any]", item)
        return {
            key: _fitting(v) if key in _OPTION_TEXTS else _shrink(v) for key, v in option.items()
        }
    return item


def _nowhere(_content: bytes, _encoding: blobs.Encoding, _preview: str) -> dict[str, Any]:
    return {}


def _preview(value: str) -> str:
    return value[: blobs.PREVIEW_CHARS].encode("utf-8", "backslashreplace").decode()


def _guarded_content(name: str, value: Any) -> Any:
    current = _current
    if not current.capture_content and name in CONTENT_FIELDS:
        return _withheld(name, value)
    if current.redact is None or _is_our_word(name, value):
        return value
    return _redacted(value, name)


def _is_our_word(name: str, value: Any) -> bool:
    """Whether a text is a word or id of ours, which the run would fall apart without."""
    if not isinstance(value, str):
        return False
    if name in _REFERENCES:
        return len(value) in {16, 32} and _HEX.issuperset(value)
    return value in _WORDS.get(name, ())


def _withheld(name: str, value: Any) -> Any:
    if name in {"messages", "media"}:
        return [_withheld("", item) for item in cast("list[Any]", value)]
    text = codec.encode_json(
        values.snapshot(value, lambda content, _encoding, _preview: {"size": len(content)})
    )
    marker: dict[str, Any] = {
        MARK: "withheld",
        "why": "capture_content is off",
        "size_bytes": len(text),
    }
    if isinstance(value, dict) and isinstance(cast("dict[str, Any]", value).get("role"), str):
        marker["role"] = value["role"]
    return "" if name == "prompt_template" else marker


def _redacted(value: Any, path: str) -> Any:
    """Return `value` with the user's redaction applied to every text in it.

    Keys are left as they are.
    """
    if isinstance(value, str):
        return _redacted_text(value, path)
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        if is_marker(mapping):
            return _redacted_marker(mapping, path)
        return {key: _redacted(item, f"{path}.{key}") for key, item in mapping.items()}
    if isinstance(value, list):
        return [_redacted(item, f"{path}.{i}") for i, item in enumerate(cast("list[Any]", value))]
    return value


def _redacted_text(text: str, path: str) -> str:
    current = _current
    redact = cast("state.Redact", current.redact)
    try:
        redacted = redact(text, path) if current.redact_takes_path else redact(text)
    except Exception as error:  # noqa: BLE001 - the user's function; its failure must not let the text through
        _interrupts.pass_on(error)
        guard.tell_once(
            "redact", f"the redact function failed, so texts are withheld: {type(error).__name__}"
        )
        return "[withheld: the redact function failed]"
    return redacted if type(redacted) is str else values.text(redacted)


def _redacted_marker(marker: dict[str, Any], path: str) -> Any:
    """Return what a marker stands for with its texts redacted, still to be settled."""
    form = marker[MARK]
    if form == "text":
        return _redacted_text(cast("str", restore(marker)), path)
    if form == "pairs":
        return {MARK: form, "value": _redacted(marker["value"], path)}
    if form == "object":
        shown = {
            key: _redacted_text(marker[key], path) for key in ("repr", "problem") if key in marker
        }
        return marker | {key: values.encodable(text) for key, text in shown.items()}
    return _redacted_blob(marker, path) if _HELD in marker else marker


def _redacted_blob(marker: dict[str, Any], path: str) -> Any:
    held: bytes = marker[_HELD]
    if marker["encoding"] == "text":
        return _redacted_text(held.decode("utf-8", "surrogatepass"), path)
    text = held.decode("utf-8", "surrogateescape")  # a secret may stand in bytes too
    redacted = _redacted_text(text, path)
    if redacted == text:
        return _store(held, "bytes", "")
    try:
        return _store(redacted.encode("utf-8", "surrogateescape"), "bytes", "")
    except UnicodeEncodeError:
        return _store(redacted.encode("utf-8", "backslashreplace"), "bytes", "")


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
