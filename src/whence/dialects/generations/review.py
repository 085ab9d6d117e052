"""Where the review of each artifact stands, and the remarks that move it.

Comes in: an open reader and ids. Goes out: the state of things, and for each step of a review one
annotation, which edits nothing. How a state comes about: an artifact is recorded with one; each
later remark with a status replaces it; a flag asks for a review again. So the remarks of
`whence annotate` and of other parts of whence count as well, and everything that can be annotated
has a state, not only artifacts of this dialect.
"""

from __future__ import annotations

import heapq
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from whence.dialects.generations.traces import (
    APPROVED,
    PENDING_REVIEW,
    QUALITY_STATUSES,
    REJECTED,
)
from whence.dialects.shared import asking
from whence.dialects.shared.plain import as_dict, as_text, as_texts
from whence.errors import ConfigError
from whence.store.predicate import And, FieldRef, IsNull, Not, Or

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from whence.query.reader import Reader
    from whence.store.predicate import Predicate
    from whence.store.rows import AnnotationRow, OutputRow

_RECORDED_STATUS = "attributes.generation_trace.quality_status"
_AT_ONCE = 200
_IS_FLAG = And((Not(IsNull(FieldRef("flag"))), IsNull(FieldRef("status"))))


class State(msgspec.Struct, frozen=True):
    """Where the review of one thing stands."""

    id: str
    """The thing's id, as remarks name it: of an output the user's own."""
    status: str | None
    """One of `QUALITY_STATUSES`, or a word of whoever annotated it; null if nobody said."""
    issues: list[str]
    """What is wrong with it."""
    since_ns: int | None
    """When it came to stand so, Unix nanoseconds."""
    by: str | None = None
    """Who said so; null for what was recorded with it."""
    note: str | None = None
    """What was said with it."""
    is_recorded: bool = False
    """Whether nobody has said anything since it was recorded."""


class Issue(msgspec.Struct, frozen=True):
    """One thing that a search for a status found."""

    id: str
    """Its id: of an output the user's own."""
    kind: str
    """What sort of thing it is."""
    title: str
    """What a person would call it."""
    run: str
    """Id of its run."""
    created_ns: int | None
    """When it was made, Unix nanoseconds."""
    state: State
    """Where its review stands."""
    trace: dict[str, Any]
    """Its trace without the long texts; empty for what has none."""


def check_status(status: str) -> str:
    """Return `status` if it is one of `QUALITY_STATUSES`.

    Raises:
        ConfigError: It is none.
    """
    if status not in QUALITY_STATUSES:
        raise ConfigError(
            f"{status!r} is no quality status; it has to be one of {', '.join(QUALITY_STATUSES)}"
        )
    return status


def set_status(
    reader: Reader,
    any_id: str,
    status: str,
    *,
    issues: Sequence[str] = (),
    note: str | None = None,
    by: str | None = None,
) -> str:
    """Return the id of the remark that says where the review of a thing stands from now on.

    Raises:
        ConfigError: It is no quality status.
        NotFoundError: Nothing has that id.
        StoreError: It could not be written.
    """
    return reader.annotate(
        any_id,
        status=check_status(status),
        note=note,
        by=by,
        issues=[str(issue) for issue in issues],
    )


def approve(reader: Reader, any_id: str, *, note: str | None = None, by: str | None = None) -> str:
    """Return the id of the remark that approves a thing; its issues are settled."""
    return set_status(reader, any_id, APPROVED, note=note, by=by)


def reject(
    reader: Reader,
    any_id: str,
    *,
    issues: Sequence[str] = (),
    note: str | None = None,
    by: str | None = None,
) -> str:
    """Return the id of the remark that rejects a thing, for the reasons given."""
    return set_status(reader, any_id, REJECTED, issues=issues, note=note, by=by)


def request_review(
    reader: Reader,
    any_id: str,
    *,
    issues: Sequence[str] = (),
    note: str | None = None,
    by: str | None = None,
) -> str:
    """Return the id of the remark that asks somebody to look at a thing."""
    return set_status(reader, any_id, PENDING_REVIEW, issues=issues, note=note, by=by)


def add_note(reader: Reader, any_id: str, note: str, *, by: str | None = None) -> str:
    """Return the id of a remark that says something and leaves the state as it is."""
    return reader.annotate(any_id, note=note, by=by)


def state_of(output: OutputRow | None, target: str, remarks: Iterable[AnnotationRow]) -> State:
    """Return where the review of a thing stands.

    Args:
        output: The output, if the thing is one: it says how it was recorded, and only remarks after
            it are about it, since an output may be made again under its old id.
        target: The thing's id.
        remarks: Remarks on it, in any order.
    """
    status, issues, since_ns = None, list[str](), None
    if output is not None:
        trace = trace_of(output)
        status = as_text(trace.get("quality_status"))
        issues = as_texts(trace.get("quality_issues"))
        since_ns = None if status is None else output.ts_ns
    state = State(target, status, issues, since_ns, is_recorded=True)
    begin_ns = 0 if output is None else output.ts_ns
    for remark in sorted(remarks, key=lambda row: (row.ts_ns, row.id)):
        if remark.ts_ns >= begin_ns:
            state = _after(state, remark)
    return state


def _after(state: State, remark: AnnotationRow) -> State:
    if remark.status is not None:
        given = as_texts(remark.attributes.get("issues"))
        kept = [] if remark.status == APPROVED else state.issues
        issues, status = given or kept, remark.status
    elif remark.flag is not None:
        issues, status = [remark.flag], PENDING_REVIEW
    else:
        return state
    return State(state.id, status, issues, remark.ts_ns, remark.by, remark.note)


def trace_of(output: OutputRow) -> Mapping[str, Any]:
    """Return the trace an output was recorded with; empty if it was recorded without."""
    return as_dict(output.attributes.get("generation_trace"))


def find_issues(
    reader: Reader,
    quality_status: str = PENDING_REVIEW,
    *,
    kind: str | None = None,
    limit: int | None = 50,
) -> list[Issue]:
    """Return the things whose review stands at `quality_status`, those that came to it last first.

    Args:
        reader: An open reader.
        quality_status: One of `QUALITY_STATUSES`.
        kind: Only outputs of that kind.
        limit: Most things to return; None for all.

    Raises:
        ConfigError: It is no quality status.
    """
    return list(islice(iter_issues(reader, check_status(quality_status), kind=kind), limit))


def iter_issues(reader: Reader, quality_status: str, *, kind: str | None = None) -> Iterator[Issue]:
    """Yield the things whose review stands at `quality_status`, nearly the latest first.

    Things are looked at in the order in which they were last said to stand there; of each, what was
    said since decides.
    """
    said: Predicate = asking.equals("status", quality_status)
    if quality_status == PENDING_REVIEW:
        said = Or((said, _IS_FLAG))
    remarks = ((row.ts_ns, row.target) for row in asking.iter_rows(reader, "annotations", said))
    outputs = (
        (row.ts_ns, row.output_id)
        for row in asking.iter_rows(
            reader, "outputs", asking.equals(_RECORDED_STATUS, quality_status)
        )
    )
    candidates = heapq.merge(remarks, outputs, reverse=True, key=lambda found: found[0])
    seen: set[str] = set()
    while chosen := [target for _, target in islice(candidates, _AT_ONCE)]:
        fresh = [target for target in dict.fromkeys(chosen) if target not in seen]
        seen.update(fresh)
        for issue in look_up(reader, fresh):
            if issue.state.status == quality_status and kind in {None, issue.kind}:
                yield issue


def look_up(reader: Reader, targets: Sequence[str]) -> list[Issue]:
    """Return what is known of things by the ids that remarks name, in the same order.

    What is no longer in the store is left out.
    """
    outputs: dict[str, OutputRow] = {}
    for row in asking.rows_with(reader, "outputs", "output_id", targets):
        known = outputs.get(row.output_id)
        if known is None or row.ts_ns > known.ts_ns:
            outputs[row.output_id] = row
    remarks: dict[str, list[AnnotationRow]] = {}
    for row in asking.rows_with(reader, "annotations", "target", targets):
        remarks.setdefault(row.target, []).append(row)
    others = [target for target in targets if target not in outputs]
    runs = {row.id: row for row in asking.rows_with(reader, "runs", "id", others)} if others else {}
    found: list[Issue] = []
    for target in targets:
        about = remarks.get(target, [])
        output, run = outputs.get(target), runs.get(target)
        state = state_of(output, target, about)
        if output is not None:
            trace = dict(trace_of(output))
            issue = Issue(
                target, output.kind, output.summary, output.run, output.ts_ns, state, trace
            )
        elif run is not None:
            issue = Issue(target, "run", run.name, run.id, run.started_ns, state, {})
        elif about:
            issue = Issue(target, "record", "", about[0].run, None, state, {})
        else:
            continue
        found.append(issue)
    return found
