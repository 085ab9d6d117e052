"""Hypothesis strategies that several property tests share: predicates, and what they are made of.

Texts, keys and numbers come from small pools half of the time, so that rows drawn from the same
pools meet the predicates often enough for a comparison of two stores to mean something.
"""

from __future__ import annotations

from functools import cache

import msgspec
from hypothesis import strategies as st

from whence.store.fields import Field, fields_of
from whence.store.predicate import (
    ALWAYS,
    And,
    Compare,
    FieldRef,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    Related,
)
from whence.store.rows import TABLES

POOL_TEXTS = (
    "",
    "a",
    "A",
    "draft",
    "Draft",
    "Ärger",
    "ärger",
    "\u212a",  # the Kelvin sign, which full case folding would turn into k
    'say "hi"',
    "it's",
    "back\\slash",
    "100%",
    "_",
    "two\nlines",
    "\ufffd",
    "\U0001f600",
    "null",
    "true",
    "1",
    "0.5",
)
POOL_KEYS = (
    "tenant",
    "a",
    "in",
    "null",
    "0",
    "",
    "odd key",
    "a.b",
    "$.a",
    '"',
    "it's",
    "\\",
    "naïve",
    "*",
)
POOL_NUMBERS = (0, 1, -1, 2, 0.5, 1.0, -0.0, 1e-7, 1e300)
POOL_TIMES_NS = (0, 1_793_527_200_000_000_000, 1_793_527_200_000_000_001)

EXACT = 2**53
"""Up to here a float holds every integer; numbers stay within, as a store may compare floats."""

TEXTS = st.sampled_from(POOL_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
KEYS = st.sampled_from(POOL_KEYS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
INTEGERS = st.sampled_from((0, 1, -1, 2, 10)) | st.integers(-(2**63), 2**63 - 1)
NUMBERS = (
    st.sampled_from(POOL_NUMBERS)
    | st.integers(-EXACT, EXACT)
    | st.floats(allow_nan=False, allow_infinity=False)
)
TIMES_NS = st.sampled_from(POOL_TIMES_NS) | st.integers(-(2**63), 2**63 - 1)

_ORDER = ("=", "!=", "<", "<=", ">", ">=")


@cache
def predicates(table: str, depth: int = 3) -> st.SearchStrategy[Predicate]:
    """Return a strategy for predicates on rows of `table` that a filter can say, `depth` deep."""
    leaves = st.sampled_from(_places(table)).flatmap(_comparisons)
    if depth <= 1:
        return leaves
    inner = st.deferred(lambda: predicates(table, depth - 1))
    terms = (st.just([]) | st.lists(inner, min_size=2, max_size=3)).map(tuple)
    others = st.sampled_from([name for name in TABLES if name != "runs"])
    related = others.flatmap(lambda other: _related(other, depth - 1))
    return leaves | leaves | terms.map(And) | terms.map(Or) | inner.map(Not) | related


def _related(table: str, depth: int) -> st.SearchStrategy[Predicate]:
    inner = predicates(table, depth) | st.just(ALWAYS)
    return (
        st.builds(Related, st.just(table), inner)
        | st.builds(Related, st.just(table), inner.map(Not), st.just("="), st.just(0))
        | st.builds(Related, st.just(table), inner, st.sampled_from(_ORDER), st.integers(-1, 4))
    )


class _Place(msgspec.Struct, frozen=True):
    """A field that a predicate may name."""

    field: Field
    of_run: bool
    has_keys: bool


def _places(table: str) -> list[_Place]:
    homes = [(table, False)] if table == "runs" else [(table, False), ("runs", True)]
    return [
        _Place(field, of_run, has_keys=field.type == "json" and not _is_list(home, field.name))
        for home, of_run in homes
        for field in fields_of(home).values()
    ]


def _is_list(table: str, name: str) -> bool:
    fields = msgspec.structs.fields(TABLES[table])
    return any(field.name == name and field.default_factory is list for field in fields)


def _comparisons(place: _Place) -> st.SearchStrategy[Predicate]:
    path = st.lists(KEYS, max_size=3).map(tuple) if place.has_keys else st.just(())
    ref = st.builds(FieldRef, st.just(place.field.name), path, st.just(place.of_run))
    return ref.flatmap(lambda known: _tests(known, place.field))


def _tests(ref: FieldRef, field: Field) -> st.SearchStrategy[Predicate]:
    def compare(values: st.SearchStrategy[object], *operators: str) -> st.SearchStrategy[Predicate]:
        return st.builds(Compare, st.just(ref), st.sampled_from(operators), values)

    def listed(values: st.SearchStrategy[object]) -> st.SearchStrategy[Predicate]:
        return st.builds(In, st.just(ref), st.lists(values, max_size=3).map(tuple))

    null = st.just(IsNull(ref))
    match field.type:
        case "text":
            return compare(TEXTS, *_ORDER, "contains") | listed(TEXTS) | null
        case "integer" | "number":
            numbers = NUMBERS if field.type == "number" else INTEGERS | NUMBERS
            numbers = TIMES_NS if field.is_time else numbers
            return compare(numbers, *_ORDER) | listed(numbers) | null
        case "boolean":
            return compare(st.booleans(), "=", "!=") | null
        case "tags":
            return compare(TEXTS, "=", "!=", "contains") | listed(TEXTS)
        case "json":
            scalars = TEXTS | NUMBERS | st.booleans()
            return (
                compare(scalars, "=", "!=")
                | compare(TEXTS | NUMBERS, *_ORDER)
                | compare(TEXTS, "contains")
                | listed(scalars)
                | null
            )
