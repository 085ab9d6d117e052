"""How one record becomes one row, for every record that is a row by itself.

Comes in: a point record and where it stands. Goes out: its row. A field of the row is the field of
the record that has its name; what nobody said is left to the row's default, so that a list or
mapping is empty rather than null; a field `_ms` is the record's `_ns` in milliseconds. The few that
follow from something else are named in one table.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.record import usage as usage_of
from whence.record.decision import Decision, Factor
from whence.record.event import Event, Gap
from whence.record.generation import Generation, ToolCall, Transformation
from whence.record.link import Link
from whence.record.score import Annotation, Output, Score
from whence.record.source import Source
from whence.store import rows as r

if TYPE_CHECKING:
    from whence.record.base import Record

Make = Callable[[Any, dict[str, Any]], r.Row]
"""Gets a record and the fields that every point row has, returns its row."""


def milliseconds(nanoseconds: int | None) -> float | None:
    """Return a length in milliseconds; None for an unknown one."""
    return None if nanoseconds is None else nanoseconds / 1_000_000


def error_type(error: dict[str, Any] | None) -> str | None:
    """Return the class or code of a recorded error."""
    if not error:
        return None
    kind = error.get("type")
    return kind if isinstance(kind, str) else "error"


Derived = Callable[[Any], Any]
"""Gets a record, returns a field of its row that has no namesake in it."""


def _options(record: Decision) -> list[Any]:
    return [msgspec.to_builtins(option) for option in record.options or ()]


def _template(record: Generation) -> str | None:
    # A long template is a marker in the record; its row has none then.
    return template if isinstance(template := record.prompt_template, str) else None


def _of_usage(name: str) -> Derived:
    def read(record: Generation) -> int | None:
        return None if record.usage is None else getattr(record.usage, name)

    return read


def _since_ns(record: Gap) -> int | None:
    return _clock.parse_ns(record.since) if record.since else None


def _input_tokens(record: Generation) -> int | None:
    return usage_of.input_tokens(record.usage)


def _output_tokens(record: Generation) -> int | None:
    return usage_of.output_tokens(record.usage)


def _usage_note(record: Generation) -> str | None:
    return usage_of.note_on(record.usage)


def _error_type(record: Generation | ToolCall) -> str | None:
    return error_type(record.error)


def _in_ms(name: str) -> Derived:
    def read(record: Any) -> float | None:
        return milliseconds(getattr(record, name))

    return read


_COMMON = frozenset(r.PointRow.__struct_fields__)
_DERIVED: dict[type[Record], dict[str, Derived]] = {
    Decision: {"options": _options},
    Generation: {
        "prompt_template": _template,
        "input_tokens": _input_tokens,
        "output_tokens": _output_tokens,
        "reasoning_tokens": _of_usage("reasoning"),
        "cache_read_tokens": _of_usage("cache_read"),
        "usage_note": _usage_note,
        "error_type": _error_type,
    },
    ToolCall: {"error_type": _error_type},
    Output: {"kind": attrgetter("output_kind")},
    Link: {"kind": attrgetter("link_kind")},
    Gap: {"since_ns": _since_ns},
}
"""How fields follow from a record that has none of their name."""


def _maker(record_type: type[Record], row_type: type[r.Row]) -> Make:
    """Return a function that makes a row from a record."""
    given = set(record_type.__struct_fields__)
    own = [name for name in row_type.__struct_fields__ if name not in _COMMON]
    derived = dict(_DERIVED.get(record_type, {}))
    for name in own:
        in_ns = f"{name.removesuffix('_ms')}_ns"
        if name not in given and name not in derived and in_ns in given:
            derived[name] = _in_ms(in_ns)
    copied = [name for name in own if name not in derived]
    values_of = attrgetter(*copied)
    derivations = list(derived.items())

    def make(record: Any, common: dict[str, Any]) -> r.Row:
        values = zip(copied, values_of(record), strict=True)
        fields = {name: value for name, value in values if value is not None}
        for name, of in derivations:
            value = of(record)
            if value is not None:
                fields[name] = value
        return row_type(**common, **fields)

    return make


_KINDS: dict[str, type[Record]] = {
    "decisions": Decision,
    "factors": Factor,
    "sources": Source,
    "generations": Generation,
    "tool_calls": ToolCall,
    "transformations": Transformation,
    "scores": Score,
    "outputs": Output,
    "links": Link,
    "events": Event,
    "annotations": Annotation,
    "gaps": Gap,
}
MAKERS: dict[type[Record], tuple[str, Make]] = {
    kind: (table, _maker(kind, r.TABLES[table])) for table, kind in _KINDS.items()
}
"""Record type to its table and to what makes a row of it."""

POINT_TABLES = tuple(_KINDS)
"""The tables whose rows stem from one record each."""
