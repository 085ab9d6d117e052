"""What may be kept of the user's content: all of it, what redaction leaves, or its size alone.

Comes in: a clean value and the name of its field. Goes out: the same value with every text
redacted, or a marker that says how large it was where `capture_content` is off. Words and ids of
ours are left alone, since a run would fall apart without them. A redaction that fails lets nothing
through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from whence import _interrupts
from whence.capture import guard, values
from whence.capture.state import HELD, Redact, current, store_blob
from whence.record import codec
from whence.record.link import LINK_KINDS
from whence.record.span import SPAN_KINDS
from whence.record.values import MARK, is_marker, restore

if TYPE_CHECKING:
    from collections.abc import Collection

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
_REFERENCES = frozenset({"parent", "parent_run", "source", "target", "decision"})
_HEX = frozenset("0123456789abcdef")
_WORDS: dict[str, Collection[str]] = {
    "status": {"ok", "error", "cancelled", "complete", "failed"},
    "span_kind": SPAN_KINDS,
    "link_kind": LINK_KINDS,
    "level": {"debug", "info", "warning", "error"},
    "cost_source": {"declared", "computed"},
}


def guarded(name: str, value: Any) -> Any:
    """Return what may be kept of the value of a field."""
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
    redact = cast("Redact", current.redact)
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
    return _redacted_blob(marker, path) if HELD in marker else marker


def _redacted_blob(marker: dict[str, Any], path: str) -> Any:
    held: bytes = marker[HELD]
    if marker["encoding"] == "text":
        return _redacted_text(held.decode("utf-8", "surrogatepass"), path)
    text = held.decode("utf-8", "surrogateescape")  # a secret may stand in bytes too
    redacted = _redacted_text(text, path)
    if redacted == text:
        return store_blob(held, "bytes", "")
    try:
        return store_blob(redacted.encode("utf-8", "surrogateescape"), "bytes", "")
    except UnicodeEncodeError:
        return store_blob(redacted.encode("utf-8", "backslashreplace"), "bytes", "")
