"""From a record to a line in the log: the one path every verb takes.

The fast path encodes a record of plain values and writes it. What it cannot do - text that is not Unicode, values over 32 KiB,
redaction, withheld content - is done field by field on the careful path, where long values go to blobs and the fields that have to stay
text keep a preview, their exact value beside them under the key `whole`. Whatever fails here is counted as a lost record of the
run, told of by a gap record, and never raised.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

from whence.capture import guard, state, values
from whence.errors import LinkError
from whence.log import blobs
from whence.log.resend import VALUE_BYTES, Fragment
from whence.log.writer import REFUSED, Writer, split_place
from whence.record import codec
from whence.record.base import Record
from whence.record.values import MARK, is_marker

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
_ENVELOPE = frozenset({"v", "seq", "ts", "run", "span", "id", "stage", "kind"})
_KEPT_ITEMS = 50
_encode = codec.encode_json
_INLINE_BYTES = blobs.INLINE_BYTES
_current = state.current
P = ParamSpec("P")
R = TypeVar("R")


def never_raises(verb: Callable[P, R]) -> Callable[P, R]:
    """Return the verb so that failures of ours end here; a `LinkError`, which answers a wrong call, passes."""

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


def emit(record: Record, now_ns: int) -> None:
    """Write a record whose user values are clean already."""
    current = _current
    try:
        body = _encode(record)
        if len(body) <= _INLINE_BYTES and not current.careful:
            (current.writer or current.open_writer()).append(body, now_ns, record.run)
            return
    except (UnicodeError, TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        body = b""  # the careful path finds out which field it is
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        failed(error, record.run)
        return
    _emit_carefully(record, now_ns)


def _emit_carefully(record: Record, now_ns: int) -> None:
    try:
        body = _encode_carefully(record)
        (_current.writer or _current.open_writer()).append(body, now_ns, record.run)
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        failed(error, record.run)


def emit_shared(kind: type[Record], fields: dict[str, Any], now_ns: int, shared: dict[str, Any]) -> None:
    """Write a record with fields that may repeat what the segment already holds.

    Args:
        kind: The kind of the record.
        fields: Its other fields.
        now_ns: The time of the record.
        shared: Field name to clean value; `messages` is a list whose items are shared one by one.
    """
    current = _current
    try:
        if current.careful:
            emit(kind(**fields, **shared), now_ns)
            return
        writer = current.writer or current.open_writer()
        if not _write_shared(kind, fields, now_ns, shared, writer):
            _write_shared(kind, fields, now_ns, shared, writer)
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        failed(error, fields.get("run", ""))


def _write_shared(
    kind: type[Record], fields: dict[str, Any], now_ns: int, shared: dict[str, Any], writer: Writer
) -> bool:
    """Write the record; False if the writer moved to another segment meanwhile, so that references would dangle."""
    seen = _current.seen
    if writer.serial != seen.serial:
        seen.begin(writer.serial)
    fragments: list[Fragment] = []
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
    record = kind(**fields, **written)
    try:
        body = _encode(record)
    except (UnicodeError, TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        body = _encode_carefully(record, raw=frozenset(shared))
    place = writer.append(body, now_ns, record.run, writer.serial if refers else 0)
    if place == REFUSED:
        seen.begin(writer.serial)
        return False
    if place >= 0 and fragments:
        serial, offset = split_place(place)
        if serial > seen.serial:
            seen.begin(serial)
        if serial == seen.serial:
            seen.remember(offset, fragments)
    return True


def _value_text(value: Any) -> bytes:
    """Return a clean value as JSON, shrunk to blobs where it is long."""
    try:
        text = codec.encode_json(value)
    except (UnicodeError, TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        text = codec.encode_json(values.snapshot(value, put_blob))
    if len(text) > blobs.INLINE_BYTES:
        text = codec.encode_json(_shrink(value))
    return text


def put_blob(content: bytes, encoding: blobs.Encoding, preview: str) -> dict[str, Any]:
    """Store bytes of the current home as a blob and return its marker; a marker without bytes if the disk refuses them."""
    writer = _current.writer or _current.open_writer()
    if not _current.capture_content:
        return {MARK: "withheld", "why": "capture_content is off", "size_bytes": len(content)}
    try:
        return blobs.put(writer.home, content, encoding, preview=preview)
    except OSError as error:
        why = f"{error.strerror or error} while storing a value of {len(content)} bytes"
        writer.count_loss("", why)
        return {MARK: "withheld", "why": why, "size_bytes": len(content), "preview": preview}


def _shrink(value: Any) -> Any:
    """Return a clean value with its long parts in blobs; as one blob if it is still too long."""
    small = values.snapshot(value, put_blob) if not is_marker(value) else value
    text = codec.encode_json(small)
    if len(text) <= blobs.INLINE_BYTES:
        return small
    return put_blob(text, "json", text[: blobs.PREVIEW_CHARS].decode("utf-8", "ignore"))


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
        if name not in _ENVELOPE:
            value = _guarded_content(name, value)
        plain[name] = _kept(name, value, typed_text=field.type is str or field.type == str | None, whole=whole)
    if whole:
        plain["whole"] = whole
    return codec.encode_json(plain)


def _kept(name: str, value: Any, *, typed_text: bool, whole: dict[str, Any]) -> Any:
    if isinstance(value, str) and typed_text:
        kept = values.snapshot(value, put_blob)
        if isinstance(kept, str):
            return kept
        whole[name] = kept
        preview = value[: blobs.PREVIEW_CHARS]
        return preview.encode("utf-8", "backslashreplace").decode()
    if name == "messages":
        return [_shrink(item) for item in cast("list[Any]", value)]
    kept = _shrink(value)
    if isinstance(value, list) and not isinstance(kept, list):  # a list field has to stay a list
        whole[name] = kept
        return [_shrink(item) for item in cast("list[Any]", value)[:_KEPT_ITEMS]]
    return kept


def _guarded_content(name: str, value: Any) -> Any:
    current = _current
    if not current.capture_content and name in CONTENT_FIELDS:
        return _withheld(name, value)
    if current.redact is not None:
        return _redacted(value, name)
    return value


def _withheld(name: str, value: Any) -> Any:
    if name in {"messages", "media"}:
        return [_withheld("", item) for item in cast("list[Any]", value)]
    text = codec.encode_json(values.snapshot(value, lambda content, _encoding, _preview: {"size": len(content)}))
    marker: dict[str, Any] = {MARK: "withheld", "why": "capture_content is off", "size_bytes": len(text)}
    if isinstance(value, dict) and isinstance(cast("dict[str, Any]", value).get("role"), str):
        marker["role"] = value["role"]
    return "" if name in {"prompt_template"} else marker


def _redacted(value: Any, path: str) -> Any:
    """Return `value` with the user's redaction applied to every text in it; keys are left as they are."""
    if isinstance(value, str):
        current = _current
        redact = cast("state.Redact", current.redact)
        try:
            redacted = redact(value, path) if current.redact_takes_path else redact(value)
        except Exception as error:  # noqa: BLE001 - the user's function; its failure must not let the text through
            guard.tell_once("redact", f"the redact function failed, so texts are withheld: {guard.describe(error)}")
            return "[withheld: the redact function failed]"
        return redacted if isinstance(redacted, str) else values.text(redacted)
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        if is_marker(mapping) and mapping[MARK] == "blob":
            return mapping
        return {key: _redacted(item, f"{path}.{key}") for key, item in mapping.items()}
    if isinstance(value, list):
        return [_redacted(item, f"{path}.{i}") for i, item in enumerate(cast("list[Any]", value))]
    return value


def failed(error: Exception, run: str) -> None:
    """Count a record of `run` that a failure of ours kept from being written."""
    why = f"whence failed to record: {guard.describe(error)}"
    guard.tell_once("failed", f"a record was lost; your program goes on. {guard.describe(error)}")
    try:
        (_current.writer or _current.open_writer()).count_loss(run, why)
    except Exception as second:  # noqa: BLE001 - settings may be unusable; there is no writer to count in
        guard.tell_once("settings", f"nothing can be recorded: {guard.describe(second)}")


