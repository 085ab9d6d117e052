"""The whole trace of a thing, put together again from the log.

Comes in: an open reader and any id. Goes out: the trace as it was recorded, with prompts and
reasoning from the model calls, the state of its review and every remark on it. Of a thing that was
not recorded by this dialect - an output, a run, a model call - the trace is made of its model
calls, as far as they say anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.dialects.generations import answers, review
from whence.dialects.generations.review import State
from whence.dialects.generations.traces import DIALECT, ArtifactTrace, LLMResponse, UnitTrace
from whence.dialects.shared import asking
from whence.dialects.shared.plain import as_dict, as_list, as_text, as_texts
from whence.query import restore
from whence.store.predicate import ALWAYS, And, Predicate
from whence.store.rows import AnnotationRow, GenerationRow, OutputRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from whence.query.reader import Reader

_AT_ONCE = 200


class StoredTrace(msgspec.Struct, frozen=True):
    """The trace of one thing as the log has it."""

    id: str
    """The thing's id: of an output the user's own."""
    kind: str
    """What sort of thing it is: the kind of the output, or the table it is in, without its `s`."""
    title: str
    """What a person would call it."""
    run: str
    """Id of its run."""
    created_ns: int
    """When it was made, Unix nanoseconds."""
    trace: dict[str, Any]
    """The trace in the form of document 4 (generation trace).

    Texts that were let go are null, shortened ones are as short as they were made.
    """
    units: list[dict[str, Any]]
    """The units in it; the trace itself where one answer made the thing."""
    state: State
    """Where its review stands."""
    remarks: list[AnnotationRow]
    """Every remark on it, the oldest first."""
    generations: list[GenerationRow | None]
    """The model call of each unit; null where it is gone."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready data."""
        return {
            "id": self.id,
            "kind": self.kind,
            "title": self.title,
            "run": self.run,
            "created_ns": self.created_ns,
            "quality_status": self.state.status,
            "quality_issues": self.state.issues,
            "trace": restore.to_json(self.trace),
            "remarks": [restore.to_plain(row) for row in self.remarks],
        }


def get_trace(reader: Reader, any_id: str) -> StoredTrace:
    """Return the trace of a thing.

    Args:
        reader: An open reader.
        any_id: Your own id of the thing, or a run, external, span or record id.

    Raises:
        NotFoundError: Nothing has that id.
    """
    why = reader.why(any_id)
    subject: Any = why.subject
    output = cast("OutputRow", subject) if why.table == "outputs" else None
    if output is not None and review.trace_of(output):
        return _looked_up(reader, [output])[0]
    target = subject.id if output is None else output.output_id
    remarks = _remarks(reader, [target]).get(target, [])
    calls = [cast("GenerationRow", subject)] if why.table == "generations" else why.generations
    trace = derived(calls)
    name = getattr(subject, "summary", None) or getattr(subject, "name", None) or ""
    created_ns = getattr(subject, "ts_ns", None) or getattr(subject, "started_ns", None) or 0
    return StoredTrace(
        id=target,
        kind=why.table.removesuffix("s") if output is None else output.kind,
        title=str(name),
        run=subject.run,
        created_ns=created_ns,
        trace=trace,
        units=trace["units"],
        state=review.state_of(output, target, remarks),
        remarks=remarks,
        generations=[*calls],
    )


def iter_traces(
    reader: Reader, where: Predicate = ALWAYS, *, oldest_first: bool = False
) -> Iterator[StoredTrace]:
    """Yield the trace of each artifact of this dialect that satisfies `where`, the latest first.

    Of artifacts that were made again under the same id, the first one met.
    """
    ours = And((asking.equals("attributes.dialect", DIALECT), where))
    seen: set[str] = set()
    chosen: list[OutputRow] = []
    for row in asking.iter_rows(reader, "outputs", ours, oldest_first=oldest_first):
        if row.output_id in seen:
            continue
        seen.add(row.output_id)
        chosen.append(row)
        if len(chosen) == _AT_ONCE:
            yield from _looked_up(reader, chosen)
            chosen = []
    yield from _looked_up(reader, chosen)


def _looked_up(reader: Reader, outputs: Sequence[OutputRow]) -> list[StoredTrace]:
    """Return the traces of outputs, with what a few questions say of all of them."""
    remarks = _remarks(reader, [output.output_id for output in outputs])
    ids = [one for output in outputs for one in generation_ids(output) if one]
    calls = {row.id: row for row in asking.rows_with(reader, "generations", "id", ids)}
    return [_recorded(output, remarks.get(output.output_id, []), calls) for output in outputs]


def _remarks(reader: Reader, targets: Sequence[str]) -> dict[str, list[AnnotationRow]]:
    """Return the remarks on each thing, the oldest first."""
    found: dict[str, list[AnnotationRow]] = {}
    rows = asking.rows_with(reader, "annotations", "target", targets)
    for row in sorted(rows, key=lambda row: (row.ts_ns, row.id)):
        found.setdefault(row.target, []).append(row)
    return found


def _recorded(
    output: OutputRow, remarks: list[AnnotationRow], calls: Mapping[str, GenerationRow]
) -> StoredTrace:
    trace = filled(output, calls)
    return StoredTrace(
        id=output.output_id,
        kind=output.kind,
        title=output.summary,
        run=output.run,
        created_ns=output.ts_ns,
        trace=trace,
        units=units_of(output, trace),
        state=review.state_of(output, output.output_id, remarks),
        remarks=remarks,
        generations=[calls.get(one) for one in generation_ids(output)],
    )


def units_of(output: OutputRow, trace: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the units of a trace; the trace itself where one answer made the thing."""
    key = _units_key(output)
    return as_list(trace[key]) if key in trace else [trace]


def generation_ids(output: OutputRow) -> list[str]:
    """Return the ids of the model calls that made an output, one for each unit."""
    return as_texts(output.attributes.get("generations"))


def filled(output: OutputRow, calls: Mapping[str, GenerationRow]) -> dict[str, Any]:
    """Return the trace an output was recorded with, its texts taken from the model calls."""
    trace = dict(review.trace_of(output))
    own = as_dict(output.attributes.get("prompts"))
    key, ids = _units_key(output), generation_ids(output)
    if key not in trace:
        return _with_texts(trace, calls.get(ids[0]) if ids else None, {}, "")
    units = as_list(trace[key])
    ids += [""] * (len(units) - len(ids))
    trace[key] = [
        _with_texts(as_dict(unit), calls.get(one), own, str(place))
        for place, (unit, one) in enumerate(zip(units, ids, strict=False))
    ]
    return trace


def _units_key(output: OutputRow) -> str:
    return str(output.attributes.get("units_key", ""))


def _with_texts(
    said: dict[str, Any], call: GenerationRow | None, prompts: Mapping[str, Any], place: str
) -> dict[str, Any]:
    """Return a trace with its texts: its own prompt, if it has one, goes before the answer's."""
    sent = None if call is None else answers.prompt_text(call.messages)
    texts = {
        "reasoning_content": None if call is None else readable(call.reasoning),
        "prompt_text": readable(prompts[place]) if place in prompts else sent,
    }
    return {key: texts.get(key, value) for key, value in said.items()}


def readable(value: Any) -> str | None:
    """Return a recorded text; of one that was shortened, what there is; None if there is none."""
    return as_text(as_dict(value).get("preview") if isinstance(value, dict) else value)


def response_of(row: GenerationRow) -> LLMResponse:
    """Return a recorded model call as the answer it was."""
    stated = answers.counts(row.usage.stated if row.usage is not None else None)
    raw = readable(row.output)
    return LLMResponse(
        content=answers.without_fence(raw),
        model=row.response_model or row.model or "unknown",
        response_id=row.response_id,
        duration_ms=row.duration_ms,
        prompt_tokens=row.input_tokens if stated.prompt is None else stated.prompt,
        completion_tokens=row.output_tokens if stated.completion is None else stated.completion,
        total_tokens=stated.total,
        reasoning_tokens=row.reasoning_tokens if stated.reasoning is None else stated.reasoning,
        reasoning_content=readable(row.reasoning),
        raw_content=raw,
        prompt_text=answers.prompt_text(row.messages),
        finish_reason=row.finish_reason,
        generation_id=row.id,
    )


def derived(rows: Sequence[GenerationRow]) -> dict[str, Any]:
    """Return the trace of model calls that no artifact was recorded of.

    Its model and prompt version are those of all calls, or null where calls differ; nobody said
    anything about its quality.
    """
    units = [
        UnitTrace(place, response_of(row), facts={"name": row.name})
        for place, row in enumerate(rows)
    ]
    durations = [row.duration_ms for row in rows if row.duration_ms is not None]
    trace = ArtifactTrace(
        model="", prompt_version="", total_generation_time_ms=sum(durations) or None, units=[*units]
    ).to_dict()
    trace["model"] = _only(unit.llm_response.model for unit in units)
    trace["prompt_version"] = _only(row.prompt_version for row in rows)
    trace["quality_status"] = None
    return trace


def _only(values: Iterable[str | None]) -> str | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None
