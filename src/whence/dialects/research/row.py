"""The row of the table `traces` that a document stands for.

Comes in: the document of a trace. Goes out: one value for each column of document 5 (pipeline
observability) section 3.2. What a trace does not state is None. Times are RFC 3339 text, durations
seconds, cost US dollars. A stage that was gone through several times counts with all its passes in
durations, tokens and cost, and with the last one in everything else.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, cast

from whence.dialects.shared.plain import as_dict, as_list
from whence.ingest import research_parts as parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STAGES = ("intake", "rubric", "collection", "synthesis", "quality_gate")
"""The stages whose durations have a column."""


def row_of(document: Mapping[str, Any], trace_file_path: str | None = None) -> dict[str, Any]:
    """Return the row of a trace by column.

    Args:
        document: The trace.
        trace_file_path: Where its document is; None if it could not be written.
    """
    run, stages = as_dict(document.get("run")), as_dict(document.get("stages"))
    outputs = as_dict(document.get("outputs"))
    gate = as_dict(stages.get(parts.GATE))
    passing = gate.get("passing")
    row: dict[str, Any] = {
        "trace_id": document.get("trace_id"),
        "project_id": _uuid(document.get("project_id")),
        "project_name": document.get("project_name"),
        **{k: run.get(k) for k in ("query", "intent", "domain", "report_type", "research_type")},
        "status": run.get("status") or "in_progress",
        "quality_gate_passed": passing if isinstance(passing, bool) else None,
        "overall_quality_score": parts.find_number(gate.get("overall_score")),
        "started_at": run.get("started_at"),
        "completed_at": run.get("completed_at"),
        "duration_seconds": parts.find_number(run.get("duration_seconds")),
        **{f"{name}_duration": _total(stages, name, "duration_seconds") for name in STAGES},
        **_evidence(as_dict(stages.get("collection"))),
        **_synthesis(stages),
        **_principles(gate),
        "iteration_count": document.get("iteration_count", 1),
        "quality_gate_failures": document.get("quality_gate_failures", 0),
        "trace_file_path": trace_file_path,
        "report_file_path": outputs.get("report_path"),
        "output_file_paths": _paths(outputs) or None,
    }
    return row


def _evidence(collection: Mapping[str, Any]) -> dict[str, Any]:
    evidence, outputs = as_dict(collection.get("evidence")), as_dict(collection.get("outputs"))
    lists = {name: parts.evidence_items(evidence, name) for name in ("kept", "filtered_out")}
    counted = {name: None if items is None else len(items) for name, items in lists.items()}
    known = [count for count in counted.values() if count is not None]
    stated = {
        "evidence_collected": (evidence.get("collected_count"), sum(known) if known else None),
        "evidence_passed": (outputs.get("evidence_passed"), counted["kept"]),
        "evidence_filtered": (outputs.get("evidence_filtered"), counted["filtered_out"]),
    }
    return {name: _whole(given, other) for name, (given, other) in stated.items()}


def _synthesis(stages: Mapping[str, Any]) -> dict[str, Any]:
    passes = _passes(stages, "synthesis")
    usages = [as_dict(one.get("token_usage")) for one in passes]
    models = [one["model"] for one in passes if one.get("model")]
    return {
        "synthesis_model": str(models[-1]) if models else None,
        "synthesis_input_tokens": _sum_whole([one.get("input_tokens") for one in usages]),
        "synthesis_output_tokens": _sum_whole([one.get("output_tokens") for one in usages]),
        "synthesis_cost_usd": _total(stages, "synthesis", "cost_usd"),
    }


def _principles(gate: Mapping[str, Any]) -> dict[str, Any]:
    scores = {
        str(one["id"]): parts.find_number(one["score"])
        for one in parts.principles_of({"principle_scores": gate.get("principle_scores")})
    }
    return {
        "principle_scores": {name: value for name, value in scores.items() if value is not None},
        "gap_principles": _ids(gate.get("gaps")),
        "strength_principles": _ids(gate.get("strengths")),
    }


def _ids(verdicts: Any) -> list[str]:
    items = map(as_dict, as_list(verdicts))
    return sorted({str(one["id"]) for one in items if one.get("id") is not None})


def _paths(outputs: Mapping[str, Any]) -> list[str]:
    paths = [outputs.get("report_path")]
    for key in ("evidence_paths", "knowledge_paths"):
        stated = outputs.get(key)
        paths += cast("list[Any]", stated) if isinstance(stated, (list, tuple)) else [stated]
    return list(dict.fromkeys(str(path) for path in paths if path))


def _passes(stages: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    stage = as_dict(stages.get(name))
    return [*map(as_dict, as_list(stage.get("earlier"))), stage]


def _total(stages: Mapping[str, Any], name: str, key: str) -> float | None:
    numbers = [parts.find_number(one.get(key)) for one in _passes(stages, name)]
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _sum_whole(given: Sequence[Any]) -> int | None:
    known = [count for one in given if (count := _whole(one, None)) is not None]
    return sum(known) if known else None


def _whole(given: Any, other: int | None) -> int | None:
    number = parts.find_number(given)
    return other if number is None else int(number)


def _uuid(value: Any) -> str | None:
    """Return an id of a project in the form of a UUID; None if it has another form."""
    try:
        return str(uuid.UUID(str(value)))
    except ValueError:
        return None
