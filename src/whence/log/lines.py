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
    from whence.log._lines import Template

_lines = None
if os.environ.get("WHENCE_COMPILED") != "0":
    with contextlib.suppress(ImportError):
        from whence.log import _lines

COMPILED = _lines is not None
"""Whether the compiled half is used."""

_FORMS = {"str": "t", "float": "n", "int": "i", "bool": "b", "dict": "m"}
_LIST_FORMS = {"str": "l", "Option": "o", "dict": "f"}


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

    def __init__(self, line_bytes: int) -> None:
        del line_bytes

    def put(self, template: Any, envelope: Any, now_ns: int, /, *values: Any) -> str | bool | None:
        """Decline a record: the Python half writes it."""
        del template, envelope, now_ns, values


def _are_plain(values: tuple[Any, ...], /) -> bool:
    """Whether each of a tuple of values is plain, see `record.values.is_plain`."""
    return all(map(is_plain, values))


are_plain = _are_plain if TYPE_CHECKING or _lines is None else _lines.are_plain
LineFile = PlainFile if TYPE_CHECKING or _lines is None else _lines.LineFile


def template(head: bytes, kind: type[msgspec.Struct], *, skip: frozenset[str], has_id: bool) -> Any:
    """Return the template of a kind of record for `LineFile.put`; None if nothing is compiled.

    Args:
        head: Format version and kind as they stand in a line: `1,"kind":"event"`.
        kind: The kind; its own fields, in their order, are the values that `put` takes.
        skip: Fields that are not its own.
        has_id: Whether its records have ids of their own.

    Raises:
        TypeError: The kind has a field that the compiled half has no form for.
    """
    if _lines is None:
        return None
    fields: list[tuple[bytes, str, bool, object]] = [
        (
            b',"%b":' % field.encode_name.encode(),
            _form(field.type),
            field.default is msgspec.NODEFAULT,
            field.default,
        )
        for field in msgspec.structs.fields(kind)
        if field.name not in skip
    ]
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
