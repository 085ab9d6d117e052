"""Which half of the writer makes lines: the compiled one where there is one, or none.

The C module `_lines` makes and writes the line of a record in one call. It is built when whence is
installed where a C compiler is; without it, or with `WHENCE_COMPILED=0` in the environment, the
Python half does the same work for every record, at about one and a half times the cost.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, get_args, get_origin

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

_FORMS = {"str": "t", "float": "n", "int": "i", "bool": "b", "dict": "m"}
_NO_FORMS: dict[str, str] = {}
MESSAGES, MADE = "c", "r"
"""A list of bytes that are JSON already; such bytes."""
SHARED, SHARED_TEXT, SHARED_MAPPING = "V", "T", "M"
"""A value, text or mapping that is written once a segment if it is long."""
NAMED, GIVEN = "a", "A"
"""A mapping of the names that have no field; the same without those that are None."""
UNKNOWN = "x"
_LIST_FORMS = {"str": "l", "Option": "o", "dict": "f"}


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


def template(
    head: bytes,
    kind: type[msgspec.Struct],
    *,
    skip: frozenset[str],
    has_id: bool,
    forms: Mapping[str, str] = _NO_FORMS,
) -> Any:
    """Return the template of a kind of record; None if nothing is compiled.

    Args:
        head: Format version and kind as they stand in a line: `1,"kind":"event"`.
        kind: The kind; its own fields, in their order, are the values that `LineFile.put` takes.
        skip: Fields that are not its own.
        has_id: Whether its records have ids of their own.
        forms: For fields that `LineFile.put_fields` takes in another form than they are declared
            with, that form; for names that are no fields and that it leaves to Python, `UNKNOWN`.

    Raises:
        TypeError: The kind has a field that the compiled half has no form for.
    """
    if _lines is None:
        return None
    fields: list[tuple[str, bytes, str, bool, object]] = []
    for field in msgspec.structs.fields(kind):
        if field.name not in skip:
            key = b',"%b":' % field.encode_name.encode()
            form = forms.get(field.name) or _form(field.type)
            required = field.default is msgspec.NODEFAULT
            fields.append((field.name, key, form, required, field.default))
    known = {field[0] for field in fields}
    fields += [(name, b"", form, False, None) for name, form in forms.items() if name not in known]
    made: Template = _lines.Template(b'{"v":%b,"seq":' % head, has_id, fields)
    return made


def _form(annotation: Any) -> str:
    """Return the letter of how a field is written, from the type it is declared with."""
    if annotation is Any:
        return "v"
    options = [annotation]
    if type(None) in get_args(annotation):
        options = [one for one in get_args(annotation) if one is not type(None)]
    declared = options[0]
    item = get_args(declared)[0] if get_origin(declared) is list else None
    named = (get_origin(item) or item) if item else (get_origin(declared) or declared)
    form = (_LIST_FORMS if item else _FORMS).get(getattr(named, "__name__", ""))
    if form is None or len(options) > 1:
        message = f"a field of type {annotation} has no form in a compiled line"
        raise TypeError(message)
    return form
