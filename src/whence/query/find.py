"""What an id means: an id goes in, the run it belongs to and the thing itself come out.

Accepted are run ids, external ids, the user's own ids of outputs, ids of spans and records, and the
first digits of a run id when only one run begins with them. Nothing is guessed: what is not found
is an error that names what is close.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from whence.errors import NotFoundError
from whence.query import text
from whence.query.literals import write_value
from whence.store.base import Measure, Order, Store
from whence.store.predicate import ALWAYS, And, Compare, FieldRef, IsNull, Not
from whence.store.rows import TABLES, Row, RunRow

MIN_PREFIX = 6
"""Fewest digits of a run id that stand for it."""
_PREFIX = re.compile(rf"[0-9a-f]{{{MIN_PREFIX},31}}")
_FEW_DIGITS = re.compile(rf"[0-9a-f]{{1,{MIN_PREFIX - 1}}}")
_SHOWN = 8
_LOOKED_AT = 500
"""How many recent ids are looked at for one that was meant."""


class Found(msgspec.Struct, frozen=True):
    """What an id stands for."""

    run: str
    """Id of the run it belongs to."""
    table: str
    """Table of the thing; `runs` for the run itself."""
    row: Row
    """The thing."""
    rows: Mapping[str, Sequence[Row]]
    """All rows of the run by table, in order of time, as they were written."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id that the thing goes by."""
        own = (getattr(self.row, name, None) for name in ("id", "external_id", "output_id"))
        return tuple(dict.fromkeys(name for name in own if name))


class Others(msgspec.Struct, frozen=True):
    """Runs that an id stands for too, beside the one that was meant."""

    any_id: str
    """The id."""
    is_output: bool
    """Whether it is the user's id of outputs; else it is the external id of runs."""
    runs: int
    """How many other runs have it."""

    def sentence(self, options: str = "") -> str:
        """Return what to tell of them: how many there are, and what lists them.

        Args:
            options: Options that the command needs, such as ` --home PATH`.
        """
        what = "has an output of this id" if self.is_output else "has this external id"
        said = what if self.runs == 1 else what.replace("has", "have", 1)
        value = write_value(self.any_id)
        where = f"any(outputs, output_id = {value})" if self.is_output else f"external_id = {value}"
        return (
            f"{text.counted(self.runs, 'other run')} {said} too, this is the latest: "
            f"whence runs {shlex.quote(where)}{options}"
        )


def others(store: Store, any_id: str, run_id: str) -> Others | None:
    """Return which other runs have an id of the user's; None if no other has.

    Args:
        store: The store.
        any_id: What was asked for.
        run_id: The run that it was taken to mean.
    """
    for table, field in (("runs", "external_id"), ("outputs", "output_id")):
        where = Compare(FieldRef(field), "=", any_id)
        groups = store.aggregate(table, where, ["run"], [Measure("rows", "count")])
        runs = {group["run"] for group in groups}
        if run_id in runs:
            rest = len(runs) - 1
            return Others(any_id, table == "outputs", rest) if rest else None
    return None


def find(store: Store, any_id: str) -> Found:
    """Return what `any_id` stands for, with the rows of its run.

    Raises:
        NotFoundError: Nothing has that id, or it is the beginning of several run ids.
    """
    run_id = find_run(store, any_id)
    rows = store.run_rows(run_id)
    if not rows.get("runs"):
        raise NotFoundError(
            f"the run of {text.printable(any_id, 80)!r} is not in this store any more; "
            "was it removed by retention?"
        )
    return thing(any_id, run_id, rows)


def find_run(store: Store, any_id: str) -> str:
    """Return the id of the run that `any_id` stands for or belongs to.

    Raises:
        NotFoundError: Nothing has that id, or it is the beginning of several run ids.
    """
    if not isinstance(any_id, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise NotFoundError(f"nothing has the id {any_id!r}; an id is a text")
    if not any_id:
        raise NotFoundError("the id is empty; give a run id, an external id or an output id")
    found = store.find_run(any_id)
    if found is not None:
        return found
    lowered = any_id.lower()
    if _PREFIX.fullmatch(lowered):
        # `g` follows the last hexadecimal digit, so this is a range, which every store knows.
        where = And(
            (Compare(FieldRef("id"), ">=", lowered), Compare(FieldRef("id"), "<", f"{lowered}g"))
        )
        runs = cast("list[RunRow]", store.select("runs", where, Order("started_ns"), _SHOWN + 1))
        if len(runs) == 1:
            return runs[0].id
        if runs:
            names = "\n".join(
                f"  {run.id}  {text.printable(run.name, 60)}" for run in runs[:_SHOWN]
            )
            more = "\n  and more" if len(runs) > _SHOWN else ""
            raise NotFoundError(
                f"several runs begin with {any_id!r}; give more digits:\n{names}{more}"
            )
    raise NotFoundError(_unknown(store, any_id))


def thing(any_id: str, run_id: str, rows: Mapping[str, Sequence[Row]]) -> Found:
    """Return what an id stands for among the rows of its run; the run itself if no row has it."""
    run = rows["runs"][0]
    if any_id in {run_id, getattr(run, "external_id", None)}:
        return Found(run_id, "runs", run, rows)
    for name in ("output_id", "id"):
        for table in TABLES:
            # The last one: an output that was written again stands for its id from then on.
            for row in reversed(rows.get(table, ())):
                if getattr(row, name, None) == any_id:
                    return Found(run_id, table, row, rows)
    return Found(run_id, "runs", run, rows)


def _unknown(store: Store, any_id: str) -> str:
    known: dict[str, None] = {}
    for table, name in (
        ("runs", "external_id"),
        ("outputs", "output_id"),
        ("runs", "id"),
        ("runs", "name"),
    ):
        where = Not(IsNull(FieldRef(name))) if name == "external_id" else ALWAYS
        order = Order("started_ns" if table == "runs" else "ts_ns")
        known |= dict.fromkeys(
            str(getattr(row, name)) for row in store.select(table, where, order, _LOOKED_AT)
        )
    close = difflib.get_close_matches(
        any_id[:200], [name for name in known if name], n=3, cutoff=0.6
    )
    shown = text.printable(any_id, 80)
    digits = any_id.lower()
    if known and _FEW_DIGITS.fullmatch(digits):
        begun = any(name.startswith(digits) for name in known)
        return (
            f"nothing has the id {shown!r}, and {len(digits)} digits are too few to stand for "
            f"{'a run whose id begins so' if begun else 'a run'}; give {MIN_PREFIX} or more"
        )
    if not known:
        return f"nothing has the id {shown!r}: this home has no runs yet"
    if close:
        return f"nothing has the id {shown!r}; did you mean {_listed(close)}?"
    return (
        f"nothing has the id {shown!r}; give a run, external, output, span or record id "
        "(`whence runs` lists runs)"
    )


def _listed(names: list[Any]) -> str:
    return " or ".join(repr(text.printable(name, 80)) for name in names)
