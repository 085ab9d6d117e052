"""A run as a research trace: the JSON document of document 5 (pipeline observability).

Comes in: a run as a tree, whoever recorded it. Goes out: the document as plain data, for which
`research_shape` has the form and the bytes. What the research dialect recorded comes back as it was
given; for any other run the document is derived from the standard records: stages from spans, the
model call and verdict of a stage from its generations and scores, evidence from its sources. What
nobody stated is null or left out, and `left_out` counts what the document has no place for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from whence.exports.research_shape import (
    DIALECT,
    iso,
    passes_document,
    stage_document,
    trace_document,
)
from whence.ingest import research_parts as parts
from whence.record import values
from whence.store import rows as r

if TYPE_CHECKING:
    from whence.query.tree import RunTree, SpanNode

UNPLACED = "run"
"""The stage under which a document has what was recorded outside any stage."""
_STATUS = {"running": "in_progress", "cancelled": "incomplete"}
_RUN_KEYS = ("intent", "domain", "report_type", "research_type")
_CARRIED = frozenset({"decisions", "sources", "scores", "generations", "outputs"})

T = TypeVar("T", bound=r.PointRow)
GetValue = Callable[[Any], Any]
"""Gets a recorded value, returns it with its markers put back and its blobs read."""


def render(tree: RunTree, get_value: GetValue = values.restore) -> dict[str, Any]:
    """Return the document of a run.

    Args:
        tree: The run.
        get_value: Puts recorded values back; `Reader.value` reads those that are in blobs too.
    """
    run, attributes = tree.run, cast("dict[str, Any]", get_value(tree.run.attributes))
    ours = attributes.get("dialect") == DIALECT
    iterations = _iterations(tree, get_value)
    # A retry that the pipeline itself did not tell of shows in the numbers of its scores.
    derived = [] if ours or iterations else _derived_iterations(tree)
    completed = attributes.get("completed_at") if ours else None
    duration = attributes.get("duration_seconds") if ours else None
    overhead_ms = attributes.get("tracing_overhead_ms", run.overhead_ms)
    fields: dict[str, Any] = {key: attributes.get(key) for key in _RUN_KEYS}
    if not ours and fields["report_type"] is None:
        fields["report_type"] = run.kind
    return trace_document(
        trace_id=run.external_id or run.id,
        project_id=attributes.get("project_id"),
        project_name=attributes.get("project_name", run.project),
        query=attributes.get("query", attributes.get("question")),
        **fields,
        started_at=iso(run.started_ns),
        completed_at=completed or (None if run.ended_ns is None else iso(run.ended_ns)),
        duration_seconds=_seconds(run.duration_ms) if duration is None else duration,
        status=_STATUS.get(run.status, run.status),
        stages=_stages(tree, get_value, ours=ours),
        iterations=iterations or derived,
        outputs=_outputs(tree, get_value, ours=ours),
        child_traces=_children(tree, attributes),
        parent_trace_id=attributes.get("parent_trace_id", run.parent_run),
        overhead_ms=overhead_ms,
    )


def _seconds(duration_ms: float | None) -> float | None:
    return None if duration_ms is None else duration_ms / 1_000


def _stages(tree: RunTree, get_value: GetValue, *, ours: bool) -> dict[str, Any]:
    nodes = [node for node in tree.iter_spans() if node.row.kind == "stage"] or tree.spans
    passes: dict[str, list[dict[str, Any]]] = {}
    placed: set[str] = set()
    for node in sorted(nodes, key=lambda one: (one.row.started_ns, one.row.id)):
        records = _records_in(node)
        placed.update(record.id for record in records)
        document = _pass(node.row, records, get_value, ours=ours)
        passes.setdefault(node.row.name, []).append(document)
    stages = {name: passes_document(of_name) for name, of_name in passes.items()}
    rest = [
        record
        for record in tree.iter_records()
        if record.id not in placed and not (ours and _is_round(record))
    ]
    outside = _outside(rest, get_value)
    if outside is not None:
        stages[UNPLACED if UNPLACED not in stages else f"({UNPLACED})"] = outside
    return stages


def _is_round(record: r.PointRow) -> bool:
    """Whether a record is the verdict on a round, which a document has among its iterations."""
    return isinstance(record, r.ScoreRow) and record.name == parts.OVERALL


def _records_in(node: SpanNode) -> list[r.PointRow]:
    """Return what was recorded in a stage and in no stage inside it, in order of time."""
    found, waiting = list(node.records), list(node.children)
    while waiting:
        child = waiting.pop()
        if child.row.kind != "stage":
            found += child.records
            waiting += child.children
    return sorted(found, key=lambda record: (record.ts_ns, record.id))


def _pass(
    row: r.SpanRow, records: Sequence[r.PointRow], get_value: GetValue, *, ours: bool
) -> dict[str, Any]:
    attributes = cast("dict[str, Any]", get_value(row.attributes))
    unstarted = bool(attributes.get("unstarted"))
    seconds = attributes.get("duration_seconds") if unstarted else _seconds(row.duration_ms)
    output = get_value(row.output)
    return stage_document(
        row.name,
        started_at=None if unstarted else attributes.get("started_at", iso(row.started_ns)),
        completed_at=None if row.ended_ns is None else iso(row.ended_ns),
        duration_seconds=seconds,
        decisions=_decisions(records, get_value, ours=ours),
        outputs=_as_mapping(output, "output"),
        evidence=_evidence(attributes.get("evidence"), records, get_value),
        prompts=_prompts(row, records, get_value, ours=ours),
        error=attributes.get("stage_error", _error(row)),
        figures=_figures(records),
    )


def _outside(records: Sequence[r.PointRow], get_value: GetValue) -> dict[str, Any] | None:
    """Return a stage for what was recorded outside any; None if nothing of it has a place there."""
    decisions = _decisions(records, get_value, ours=False)
    evidence = _evidence(None, records, get_value)
    figures = _figures(records)
    if not decisions and not evidence and not figures:
        return None
    return stage_document(
        UNPLACED,
        started_at=None,
        completed_at=None,
        duration_seconds=None,
        decisions=decisions,
        outputs={},
        evidence=evidence,
        prompts={},
        error=None,
        figures=figures,
    )


def _only(records: Sequence[r.PointRow], kind: type[T]) -> list[T]:
    return [record for record in records if isinstance(record, kind)]


def _decisions(
    records: Sequence[r.PointRow], get_value: GetValue, *, ours: bool
) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for row in _only(records, r.DecisionRow):
        options = cast("list[dict[str, Any]]", get_value(row.options))
        confidence = row.confidence
        if confidence is None and ours:
            confidence = 1.0  # what document 5 takes an unstated one for
        decision: dict[str, Any] = {
            "decision": row.name,
            "what": get_value(row.what),
            "why": row.why,
            "confidence": confidence,
            "alternatives_considered": [
                parts.alternative_of(option) for option in options if not option.get("chosen")
            ],
            "inputs": get_value(row.inputs),
            "timestamp": iso(row.ts_ns),
        }
        if row.made_by is not None:
            decision["made_by"] = row.made_by
        made.append(decision)
    return made


def _evidence(stated: Any, records: Sequence[r.PointRow], get_value: GetValue) -> dict[str, Any]:
    sources = _only(records, r.SourceRow)
    if not isinstance(stated, dict):
        return _derived_evidence(sources, get_value)
    given = cast("dict[str, Any]", stated)
    number = given.get("pass")
    lists: dict[str, list[Any]] = {
        name: [] for name in ("filtered_out", "kept") if given.get(name) is not None
    }
    for row in sources:
        fields = _source_fields(row, get_value)
        if cast("dict[str, Any]", fields["attributes"]).get("pass", number) == number:
            lists.setdefault("kept" if row.kept else "filtered_out", []).append(
                parts.item_of(fields)
            )
    return {**(given.get(parts.STATED) or {}), **lists}


def _derived_evidence(sources: Sequence[r.SourceRow], get_value: GetValue) -> dict[str, Any]:
    if not sources:
        return {}
    items = [(row.kept, parts.item_of(_source_fields(row, get_value))) for row in sources]
    return {
        "collected_count": len(sources),
        "by_source": dict(Counter(row.source_type for row in sources)),
        "query_terms_used": [],
        "filtered_out": [item for kept, item in items if not kept],
        "kept": [item for kept, item in items if kept],
    }


def _source_fields(row: r.SourceRow, get_value: GetValue) -> dict[str, Any]:
    return {
        "source_key": row.source_key,
        "title": row.title,
        "reason": row.reason,
        "scores": get_value(row.scores),
        "attributes": get_value(row.attributes),
    }


def _prompts(
    row: r.SpanRow, records: Sequence[r.PointRow], get_value: GetValue, *, ours: bool
) -> dict[str, Any]:
    if ours and row.input is not None:
        given = get_value(row.input)
        return {} if values.is_marker(given) else _as_mapping(given, "prompt")
    prompts: dict[str, Any] = {}
    for call in _only(records, r.GenerationRow):
        for message in cast("list[Any]", [] if ours else get_value(call.messages)):
            named = _as_mapping(message, "content")
            role = "system_prompt" if named.get("role") == "system" else "user_message"
            prompts[role] = named.get("content")
    return prompts


def _figures(records: Sequence[r.PointRow]) -> dict[str, Any]:
    """Return what the recorded generations and scores say of a stage's model call and verdict."""
    calls = _only(records, r.GenerationRow)
    made: dict[str, Any] = {}
    models = [call.response_model or call.model for call in calls]
    if any(models):
        made["model"] = next(model for model in reversed(models) if model)
    counted: dict[str, int] = {}
    for name in ("input_tokens", "output_tokens"):
        known = [count for call in calls if (count := getattr(call, name)) is not None]
        if known:
            counted[name] = sum(known)
    if counted:
        made["token_usage"] = {**counted, "total_tokens": sum(counted.values())}
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    if costs:
        made["cost_usd"] = sum(costs)
    last = {row.name: row for row in _only(records, r.ScoreRow)}
    overall = last.pop(parts.OVERALL, None)
    return made | _verdict(list(last.values()), overall) if last or overall else made


def _verdict(scores: Sequence[r.ScoreRow], overall: r.ScoreRow | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "principle_scores": [
            {
                "id": row.name,
                "name": row.attributes.get("title") or row.name,
                "score": row.value,
                "feedback": row.feedback,
            }
            for row in scores
            if row.value is not None
        ]
    }
    if overall is not None:
        told = {
            "overall_score": overall.value,
            "passing": overall.passed,
            "threshold": overall.threshold,
        }
        made |= {key: value for key, value in told.items() if value is not None}
    for key, wanted in (("gaps", is_gap), ("strengths", is_strength)):
        made[key] = [
            {
                "id": row.name,
                **({} if row.value is None else {"score": row.value}),
                **({"feedback": row.feedback} if row.feedback else {}),
            }
            for row in scores
            if wanted(row)
        ]
    return made


def is_gap(row: r.ScoreRow) -> bool:
    """Whether a principle failed: it did not pass or, where nobody said, it is below 2."""
    if row.passed is not None:
        return not row.passed
    return row.value is not None and row.value < parts.PASSES


def is_strength(row: r.ScoreRow) -> bool:
    """Whether a principle has the full score of the scale 0 to 3."""
    return row.value == parts.FULL and row.scale in {None, parts.SCALE}


def _error(row: r.SpanRow) -> str | None:
    if row.error is not None:
        message = row.error.get("message") or row.error.get("type")
        return None if message is None else str(message)
    return "cancelled" if row.status == "cancelled" else None


def _iterations(tree: RunTree, get_value: GetValue) -> list[Any]:
    return [
        cast("dict[str, Any]", get_value(event.data)).get("iteration")
        for event in tree.events
        if event.message == parts.ITERATION
    ]


def _derived_iterations(tree: RunTree) -> list[dict[str, Any]]:
    """Return the rounds that numbered scores tell of, if there is more than one."""
    rounds: dict[int, dict[str, r.ScoreRow]] = {}
    for row in tree.scores:
        if row.iteration is not None:
            rounds.setdefault(row.iteration, {})[row.name] = row
    made: list[dict[str, Any]] = []
    for number, last in sorted(rounds.items()) if len(rounds) > 1 else ():
        overall = last.pop(parts.OVERALL, None)
        passed = None if overall is None else overall.passed
        made.append(
            {
                "iteration": number,
                "quality_gate_result": None if passed is None else "PASS" if passed else "FAIL",
                "overall_score": None if overall is None else overall.value,
                "gaps": [row.name for row in last.values() if is_gap(row)],
            }
        )
    return made


def _outputs(tree: RunTree, get_value: GetValue, *, ours: bool) -> dict[str, Any]:
    output = get_value(tree.run.output)
    made = _as_mapping(output, "output")
    if ours:
        return made
    paths = {row.path: row.kind for row in tree.outputs if row.path}
    reports = [path for path, kind in paths.items() if kind not in {"evidence", "knowledge"}]
    if paths:
        made.setdefault("report_path", reports[-1] if reports else None)
        for key, kind in (("evidence_paths", "evidence"), ("knowledge_paths", "knowledge")):
            made.setdefault(key, [path for path, sort in paths.items() if sort == kind])
    error = tree.run.error
    if error is not None:
        made.setdefault("error", error.get("message") or error.get("type"))
    return made


def _children(tree: RunTree, attributes: Mapping[str, Any]) -> list[Any]:
    stated = attributes.get("child_traces")
    if isinstance(stated, list):
        return cast("list[Any]", stated)
    return [
        {key: row.attributes.get(key) for key in ("trace_id", "output_type", "path")}
        for row in tree.links
        if row.kind == "triggered_by" and row.attributes.get("trace_id")
    ]


def _as_mapping(value: Any, key: str) -> dict[str, Any]:
    """Return a mapping as it is, nothing as an empty one, and anything else under `key`."""
    if value is None:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {key: value}


def left_out(tree: RunTree) -> dict[str, int]:
    """Return how many records of a run its document has no place for, by table."""
    counts = {
        table: len(rows)
        for table, rows in tree.tables.items()
        if table not in _CARRIED and table not in {"runs", "spans"}
    }
    counts["events"] -= sum(event.message == parts.ITERATION for event in tree.events)
    counts["links"] -= sum(
        "trace_id" in row.attributes or row.kind == "retry_of" for row in tree.links
    )
    return {table: count for table, count in counts.items() if count}
