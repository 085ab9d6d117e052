"""The words with which whence's own OTLP export says what no convention has a name for.

Comes in: attributes of a span, an event or a link. Goes out: what they say about records, value by
value. Anybody can send attributes of these names, so nothing is taken that does not fit the field
it is for: `Stated` leaves such a value where it is, and `record` gives nothing at all. Which words
stand for what: docs/reference/otlp.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.ingest import keys
from whence.record import codec, values
from whence.record.decision import Option

if TYPE_CHECKING:
    from whence.record.base import Record

RECORD = "whence.record"
"""What a span stands for that is none: `run`, or a `call` that was recorded in another span."""
SPAN_KIND = "whence.span.kind"
"""The attribute that tells a span of an export from any other."""
ATTRIBUTE = "whence.attribute."
"""What the user said, where the export uses the name itself or an attribute cannot hold it."""
PARAMETER = "whence.parameter."
"""A parameter of a model call, where its name is another field's or an attribute cannot hold it."""
FORM = "whence.generation.form"
"""In which form the messages of a call were, where it is not the convention's: `chat`."""
CHAT = "chat"
LISTED = "whence.attributes"
"""Names that look like the export's own and are the user's."""
PLACE = "whence.span"
"""On an event or link: the span it was recorded in, if that is another; empty for the run."""
ENVIRONMENT = "whence.environment"
"""Of a resource: the environment of the run."""

_PREFIXES = ("whence.", "gen_ai.", "llm.", "retrieval.documents.")
_NAMES = frozenset(
    {
        "openinference.span.kind",
        "agent.name",
        "tool.name",
        "input.value",
        "input.mime_type",
        "output.value",
        "output.mime_type",
        "embedding.model_name",
        "error.type",
        "session.id",
        "user.id",
        "tag.tags",
    }
)
_JSON_STARTS = ("{", "[", '"')
_NULL = "null"
_MOST = 2**63
_MS = 1_000_000
_ENVELOPE = frozenset({"v", "seq", "ts", "run", "span", "id", "stage", "extra"})
_ROW_NAMES = {"output_kind": "kind", "link_kind": "kind", "duration_ns": "duration_ms"}
"""Fields that rows, and so the export, call otherwise."""

Check = Callable[[Any], bool]


def is_ours(name: str) -> bool:
    """Whether the export gives attributes of a span such a name."""
    return name.startswith(_PREFIXES) or name in _NAMES


def is_verbatim(text: str) -> bool:
    """Whether `meant` takes a text as it is, rather than as JSON."""
    return text != _NULL and not text.startswith(_JSON_STARTS)


def meant(value: Any) -> Any:
    """Return the value that the export wrote as `value`; a damaged one as it is."""
    if not isinstance(value, str) or is_verbatim(value):
        return value
    try:
        return values.restore(msgspec.json.decode(value))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return value


def restored(value: Any) -> Any:
    """Return data with what JSON has no form for put back; as it is if it is nested too deep."""
    try:
        return values.restore(value)
    except RecursionError:
        return value


def is_text(value: Any) -> bool:
    """Whether a value is a text."""
    return isinstance(value, str)


def is_number(value: Any) -> bool:
    """Whether a value is a number that a record can hold."""
    return codec.is_finite_number(value)


def is_whole(value: Any) -> bool:
    """Whether a value is an integer of 64 bits."""
    return type(value) is int and values.INT_MIN <= value <= values.INT_MAX


def is_truth(value: Any) -> bool:
    """Whether a value is true or false."""
    return isinstance(value, bool)


def is_mapping(value: Any) -> bool:
    """Whether a value is a mapping."""
    return isinstance(value, dict)


def is_texts(value: Any) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(one, str) for one in cast("list[Any]", value))


def is_mappings(value: Any) -> bool:
    """Whether a value is a list of mappings."""
    return isinstance(value, list) and all(map(is_mapping, cast("list[Any]", value)))


def is_time(value: Any) -> bool:
    """Whether a value is a time in Unix nanoseconds."""
    return type(value) is int and 0 <= value < _MOST


def is_ms(value: Any) -> bool:
    """Whether a value is a length in milliseconds."""
    return is_number(value) and abs(value) * _MS < _MOST


def is_id(value: Any) -> bool:
    """Whether a value is the id of a span or record."""
    return isinstance(value, str) and keys.is_record_id(value)


def anything(value: Any) -> bool:  # noqa: ARG001 - a check like the others
    """Whether a value is one."""
    return True


_CHECKS: dict[Any, Check] = {
    str: is_text,
    str | None: is_text,
    float | None: is_number,
    int: is_whole,
    int | None: is_whole,
    bool: is_truth,
    bool | None: is_truth,
    dict[str, Any] | None: is_mapping,
    list[str] | None: is_texts,
    list[dict[str, Any]] | None: is_mappings,
}


class Stated:
    """Attributes of which one after the other is taken, so that those that say nothing are left.

    Args:
        given: The attributes.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        listed = meant(given.get(LISTED))
        self._listed = frozenset(cast("list[str]", listed) if is_texts(listed) else ())
        self._taken = {LISTED} if self._listed else set[str]()
        self._given = given
        """All of them; those that are listed are the user's, whatever they are called."""

    def get(self, name: str, check: Check, absent: Any = msgspec.UNSET) -> Any:
        """Return the value of an attribute.

        Args:
            name: Its name.
            check: What it has to be.
            absent: What to return if there is none.

        Returns:
            The value; None if the export said that there is none; UNSET, and the attribute is left,
            if it is not what it has to be.
        """
        if name not in self._given or name in self._listed:
            return absent
        value = meant(self._given[name])
        if value is not None and not check(value):
            return msgspec.UNSET
        self._taken.add(name)
        return value

    def text(self, name: str) -> Any:
        """Return a text as it was written; None if there is none, UNSET if it is something else."""
        value = None if name in self._listed else self._given.get(name)
        if value is not None and not isinstance(value, str):
            return msgspec.UNSET
        self._taken.add(name)
        return value

    def take(self, *names: str) -> None:
        """Note that attributes have been read."""
        self._taken.update(names)

    def parameters(self) -> dict[str, Any]:
        """Return parameters of a model call that their own name would not have given back."""
        given = self._given.keys() - self._listed
        names = [name for name in given if name.startswith(PARAMETER)]
        self._taken.update(names)
        return {name.removeprefix(PARAMETER): meant(self._given[name]) for name in names}

    def of_user(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes that are the user's, to be asked for when all others were taken.

        Args:
            others: What a span is said to be apart from its attributes, such as `otel.scope.name`.
        """
        listed = self._listed
        made: dict[str, Any] = {name: others[name] for name in others if name in listed}
        for name, value in self._given.items():
            if name.startswith(ATTRIBUTE):
                made[name.removeprefix(ATTRIBUTE)] = meant(value)
            elif name in listed or (
                name not in self._taken and (not is_ours(name) or name.startswith("whence."))
            ):
                made.setdefault(name, value)
        return made

    def of_conventions(self) -> dict[str, Any]:
        """Return what the conventions' names say."""
        return {
            name: value
            for name, value in self._given.items()
            if is_ours(name) and not name.startswith("whence.") and name not in self._listed
        }


def length_ns(duration_ms: Any) -> int | None:
    """Return milliseconds, which passed `is_ms`, as nanoseconds."""
    return None if duration_ms is None else round(duration_ms * _MS)


@functools.cache
def _fields_of(kind: type[Record]) -> tuple[tuple[str, str, Any, bool], ...]:
    """Return the fields of a kind: name, name in the export, type, and whether it must be there."""
    return tuple(
        (
            field.name,
            _ROW_NAMES.get(field.name, field.name),
            field.type,
            field.default is msgspec.NODEFAULT,
        )
        for field in msgspec.structs.fields(kind)
        if field.name not in _ENVELOPE
    )


def record(
    kind: type[Record], prefix: str, given: Mapping[str, Any], place: dict[str, Any]
) -> Record | None:
    """Return the record that attributes state; None if they are not exactly that.

    Args:
        kind: Which kind.
        prefix: What stands in front of the names of its fields.
        given: The attributes: the fields, `id`, `stage`, and `whence.span`.
        place: `ts`, `run`, and the `span` it was recorded in unless the attributes name another.
    """
    stage, span = given.get(f"{prefix}stage"), given.get(PLACE, place["span"] or "")
    if not (is_text(span) and (not span or keys.is_record_id(span))):
        return None
    made: dict[str, Any] = {**place, "span": span or None, "id": given.get(f"{prefix}id")}
    made["stage"] = stage
    left = given.keys() - {f"{prefix}id", f"{prefix}stage", PLACE}
    if not is_id(made["id"]) or not (stage is None or is_text(stage)):
        return None
    for name, shown, declared, is_needed in _fields_of(kind):
        full = prefix + shown
        if full not in given:
            if is_needed:
                return None
            continue
        left.discard(full)
        value = _value(given[full], name, declared)
        if value is msgspec.UNSET:
            return None
        made[name] = value
    return None if left else kind(**made)


def _value(raw: Any, name: str, declared: Any) -> Any:
    """Return the value of a field; UNSET if it is none for it."""
    if declared in (str, str | None):
        return raw if isinstance(raw, str) else msgspec.UNSET
    value = meant(raw)
    if declared is Any:
        return value
    if name.endswith("_ns"):
        return length_ns(value) if is_ms(value) else msgspec.UNSET
    if declared == (list[Option] | None):
        return _options(value)
    check = _CHECKS.get(declared)
    return value if check is not None and check(value) else msgspec.UNSET


def _options(value: Any) -> Any:
    if not isinstance(value, list):
        return msgspec.UNSET
    made: list[Option] = []
    for one in cast("list[Any]", value):
        try:
            option = msgspec.convert(one, Option)
        except (msgspec.ValidationError, OverflowError):
            return msgspec.UNSET
        if any(number - number != 0 for number in (option.probability or 0, option.score or 0)):
            return msgspec.UNSET
        made.append(option)
    return made
