"""Which options of a decision were taken: what was chosen is found among what could have been.

Comes in: a decision's row. Goes out: the options that were not taken, and what an option is called.
An option has a name, which is text; what was chosen may be any value. An option counts as taken if
it is marked so, if its name is the value as text or as JSON, if the value is a mapping that is
called so by one of its own keys, or if both have the same content. Where several things were
chosen, each may take an option.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from whence.query import text

if TYPE_CHECKING:
    from whence.store import rows as r

_NAMING = ("name", "label", "value", "id")
"""Keys by which a mapping may say what it is called; the first that names an option counts."""
_WORDS = {"True": True, "False": False}
"""Names that capture gives to options that are truth values."""
_NAMELESS = "None"
"""A name that says nothing."""


def not_taken(row: r.DecisionRow) -> list[dict[str, Any]]:
    """Return the options of a decision that were not taken, in order."""
    known = {str(option.get("name")) for option in row.options}
    what: Any = row.what
    chosen: list[Any] = [what, *(cast("list[Any]", what) if isinstance(what, list) else [])]
    names = {name for value in chosen for name in _names_of(value, known)}
    contents = {_canonical(value) for value in chosen if isinstance(value, dict) and value}
    return [
        option
        for option in row.options
        if not (
            option.get("chosen")
            or option.get("name") in names
            or not contents.isdisjoint(_contents_of(option))
        )
    ]


def name_of(option: dict[str, Any], row: r.DecisionRow) -> object:
    """Return what an option of a decision is called, a truth value as the decision's own is."""
    name: object = option.get("name")
    content: object = option.get("attributes")
    if content and name in {_NAMELESS, str(content)}:
        return content
    return _WORDS.get(str(name), name) if isinstance(row.what, bool) else name


def _names_of(value: Any, known: set[str]) -> set[str]:
    """Return the names that an option may have if it is `value`."""
    if isinstance(value, str):
        return {value}
    names = {str(value), _canonical(value)}
    if isinstance(value, list):
        names.add(str(tuple(cast("list[Any]", value))))  # a tuple is recorded as a list
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        called = (str(mapping[key]) for key in _NAMING if key in mapping)
        names |= {name for name in [next((one for one in called if one in known), None)] if name}
    return names


def _contents_of(option: dict[str, Any]) -> set[str]:
    """Return an option as the mapping it was given as, with a name and without one."""
    content = cast("dict[str, Any]", option.get("attributes") or {})
    return {_canonical(content), _canonical({"name": option.get("name"), **content})}


def _canonical(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return text.printable(value)
