"""Which half of the writer makes lines: the compiled one where there is one, or none.

The C module `_lines` makes and writes the line of a record in one call. It is built when whence is
installed where a C compiler is; without it, or with `WHENCE_COMPILED=0` in the environment, the
Python half does the same work for every record, at about one and a half times the cost.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import msgspec

from whence.record.values import is_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whence.log._lines import Template

_lines = None
if os.environ.get("WHENCE_COMPILED") != "0":
    with contextlib.suppress(ImportError):
        from whence.log import _lines

COMPILED = _lines is not None
"""Whether the compiled half is used."""

_FORMS = {
    "str": "t",
    "float": "n",
    "int": "i",
    "bool": "b",
    "Any": "v",
    "dict[]": "m",
    "list[str]": "l",
    "list[Option]": "o",
    "list[dict[str, Any]]": "f",
}
_CONSTANTS = (str, float, int, bool, type(None))
_NO_FORMS: dict[str, str] = {}
MESSAGES, MADE = "c", "r"
"""A list of bytes that are JSON already; such bytes."""
SHARED, SHARED_TEXT, SHARED_MAPPING = "V", "T", "M"
"""A value, text or mapping that is written once a segment if it is long."""
NAMED, GIVEN = "a", "A"
"""A mapping of the names that have no field; the same without those that are None."""
UNKNOWN = "x"


VALUE_BYTES = 1024
"""A single value shorter than this is cheaper to repeat than to look up and refer to."""


class PlainFile:
    """The end of the file that lines are appended to, where nothing is compiled."""

    __slots__ = (
        "_busy",
        "_fd",
        "_full_at",
        "_second",
        "_second_ns",
        "_seq",
        "_size",
        "_turn_after_ns",
        "_unsettled",
        "serial",
    )

    _busy: bool
    _fd: int
    _full_at: int
    _second: str
    _second_ns: int
    _seq: int
    _size: int
    _turn_after_ns: int
    _unsettled: bool
    serial: int

    def __init__(self, line_bytes: int) -> None:
        del line_bytes

    def put(self, template: Any, envelope: Any, now_ns: int, /, *values: Any) -> str | bool | None:
        """Decline a record: the Python half writes it."""
        del template, envelope, now_ns, values

    def put_fields(  # noqa: PLR0917 - what `put` takes
        self,
        template: Any,
        envelope: Any,
        now_ns: int,
        first: Any,
        fields: dict[str, Any],
        serial: int,
        /,
    ) -> str | bool | tuple[str | bool, int] | None:
        """Decline a record: the Python half writes it."""
        del template, envelope, now_ns, first, fields, serial

    def texts(self, values: list[Any], /) -> list[bytes] | None:
        """Decline to make JSON of values."""
        del values


def _are_plain(values: tuple[Any, ...], /) -> bool:
    """Whether each of a tuple of values is plain, see `record.values.is_plain`."""
    return all(map(is_plain, values))


are_plain = _are_plain if TYPE_CHECKING or _lines is None else _lines.are_plain
LineFile = PlainFile if TYPE_CHECKING or _lines is None else _lines.LineFile


def own_fields(kind: type[msgspec.Struct]) -> list[tuple[str, str, object]]:
    """Return name, type as written, and default of the fields that a kind adds to its base.

    The type's own tables are read: `msgspec.structs.fields` takes a fifth of a millisecond for each
    kind, since it evaluates every annotation, and there are many kinds to be imported.

    Raises:
        TypeError: A default is made anew each time, or the module evaluates its annotations.
    """
    declared = kind.__annotations__
    defaults = dict(
        zip(reversed(kind.__struct_fields__), reversed(kind.__struct_defaults__), strict=False)
    )
    found = [(name, text, defaults.get(name, msgspec.NODEFAULT)) for name, text in declared.items()]
    if not all(
        type(text) is str and (default is msgspec.NODEFAULT or isinstance(default, _CONSTANTS))
        for _, text, default in found
    ):
        raise TypeError(f"the fields of {kind.__name__} cannot be read without evaluating them")
    return found


def template(
    head: bytes, kind: type[msgspec.Struct], *, has_id: bool, forms: Mapping[str, str] = _NO_FORMS
) -> Any:
    """Return the template of a kind of record; None if nothing is compiled.

    Args:
        head: Format version and kind as they stand in a line: `1,"kind":"event"`.
        kind: The kind; its own fields, in their order, are the values that `LineFile.put` takes.
        has_id: Whether its records have ids of their own.
        forms: For fields that `LineFile.put_fields` takes in another form than they are declared
            with, that form; for names that are no fields and that it leaves to Python, `UNKNOWN`.

    Raises:
        TypeError: The kind has a field that the compiled half has no form for.
    """
    if _lines is None:
        return None
    fields: list[tuple[str, bytes, str, bool, object]] = [
        (
            name,
            b',"%b":' % name.encode(),
            forms.get(name) or _form(declared),
            default is msgspec.NODEFAULT,
            default,
        )
        for name, declared, default in own_fields(kind)
    ]
    known = {field[0] for field in fields}
    fields += [(name, b"", form, False, None) for name, form in forms.items() if name not in known]
    made: Template = _lines.Template(b'{"v":%b,"seq":' % head, has_id, fields)
    return made


def _form(declared: str) -> str:
    """Return the letter of how a field is written, from the type it is declared with."""
    required = declared.removesuffix(" | None")
    form = _FORMS.get(required) or _FORMS.get(required.partition("[")[0] + "[]")
    if form is None:
        raise TypeError(f"a field of type {declared} has no form in a compiled line")
    return form
