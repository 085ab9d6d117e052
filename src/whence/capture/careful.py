"""Writes a record field by field, where the fast path gave up on it as a whole.

Comes in: a record whose user values are clean. Goes out: its body as JSON, in which long values are
references to blobs, texts that are not Unicode are markers, and what is redacted or withheld is
gone. A field that has to stay text keeps a preview, and its exact value stands beside it under the
key `whole`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.capture import redaction, values
from whence.capture.state import store_blob
from whence.log import blobs
from whence.record import codec

if TYPE_CHECKING:
    from whence.record.base import Record

_OUR_FIELDS = frozenset({"v", "seq", "ts", "run", "span", "id", "kind"})
_TEXT_TYPES = (str, str | None, str | dict[str, Any] | None)
_TEXTS_INSIDE = frozenset({"tags", "sample_ids", "options", "fields"})
_OPTION_TEXTS = frozenset({"name", "reason_rejected"})
_KEPT_ITEMS = 50


def encode(record: Record, raw: frozenset[str] = frozenset()) -> bytes:
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
            value = redaction.guarded("name", value)
        elif name not in _OUR_FIELDS:
            value = redaction.guarded(name, value)
        plain[name] = _kept(name, value, typed_text=field.type in _TEXT_TYPES, whole=whole)
    if whole:
        plain["whole"] = whole
    return codec.encode_json(plain)


def _kept(name: str, value: Any, *, typed_text: bool, whole: dict[str, Any]) -> Any:
    if isinstance(value, str) and typed_text:
        kept = values.settle(value, store_blob)
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


def _shrink(value: Any) -> Any:
    return values.shrink(value, store_blob)
