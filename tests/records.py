"""A Hypothesis strategy for any record, made from the types of the structs' fields."""

from __future__ import annotations

import types
from functools import cache
from typing import Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from whence.record import codec
from whence.record.event import Foreign

KINDS = {tag: kind for tag, kind in codec.KINDS.items() if kind is not Foreign}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
UNKNOWN = st.dictionaries(TEXTS.map("new {}".format), JSON, min_size=1, max_size=3)
"""Keys that no version has yet."""

_PLAIN = {str: TEXTS, int: WHOLE, float: NUMBERS, bool: st.booleans(), Any: JSON}


def records(kind: type[msgspec.Struct] | None = None) -> st.SearchStrategy[Any]:
    """Return a strategy for records of one kind, or of any."""
    if kind is None:
        return st.sampled_from(list(KINDS.values())).flatmap(_struct)
    return _struct(kind)


@cache
def _struct(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = {f.name: f for f in msgspec.structs.fields(kind) if f.name != "extra"}
    fields.pop("v", None)
    needed = {name: _of(f.type) for name, f in fields.items() if f.required}
    optional = {name: _of(f.type) for name, f in fields.items() if not f.required}
    return st.fixed_dictionaries(needed, optional=optional).map(lambda given: kind(**given))


def _of(kind: Any) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return st.one_of([st.none() if inner is type(None) else _of(inner) for inner in arguments])
    if origin is list:
        return st.lists(_of(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(TEXTS, _of(arguments[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind)
    return _PLAIN[kind]
