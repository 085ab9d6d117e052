"""A research trace on one page for people, as markdown.

Comes in: the document of a trace (`research_shape`). Goes out: its summary as text. Everything that
a pipeline recorded is data: it stands on one line, without the characters that markdown or a
terminal would obey.

Source: document 5 (pipeline observability), which puts such a page beside each trace file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from whence.ingest import research_parts as parts
from whence.query import text

_OBEYED = re.compile(r"([\\`*{}\[\]<>#|!~&]|(?<!\w)_|_(?!\w))")
_SHOWN_CHARS = 300
_SHOWN_DECISIONS = 100

Document = Mapping[str, Any]


def summary(document: Document) -> str:
    """Return the summary of a trace, in the order in which people ask: outcome, stages, decisions.

    Args:
        document: The trace; keys that are missing or odd are shown as unknown.
    """
    run, stages = _mapping(document.get("run")), _mapping(document.get("stages"))
    lines = [f"# Trace {said(document.get('trace_id'))}", ""]
    facts = {
        "Query": said(run.get("query")),
        "Project": said(document.get("project_name")),
        "Status": said(run.get("status")),
        "Intent": said(run.get("intent")),
        "Domain": said(run.get("domain")),
        "Report type": said(run.get("report_type")),
        "Started": said(run.get("started_at")),
        "Duration": _seconds(run.get("duration_seconds")),
        "Quality": _quality(stages),
        "Rounds": _rounds(document),
        "Report": said(_mapping(document.get("outputs")).get("report_path")),
        "Error": said(_mapping(document.get("outputs")).get("error")),
        "Part of": said(document.get("parent_trace_id")),
    }
    lines += [f"- **{name}**: {shown}" for name, shown in facts.items() if shown != "-"]
    lines += _stage_table(stages)
    lines += _gaps(stages)
    lines += _decisions(stages)
    return "\n".join(lines) + "\n"


def _stage_table(stages: Document) -> list[str]:
    if not stages:
        return []
    lines = [
        "",
        "## Stages",
        "",
        "| stage | duration | decisions | evidence kept | dropped | model | cost | error |",
        "|---|--:|--:|--:|--:|---|--:|---|",
    ]
    for name, stage in stages.items():
        known = _mapping(stage)
        evidence = _mapping(known.get("evidence"))
        cells = [
            said(name),
            _seconds(known.get("duration_seconds")),
            str(len(_list(known.get("decisions")))),
            _count(parts.evidence_items(evidence, "kept")),
            _count(parts.evidence_items(evidence, "filtered_out")),
            said(known.get("model")),
            text.money(parts.find_number(known.get("cost_usd"))),
            said(known.get("error")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _gaps(stages: Document) -> list[str]:
    gate = _mapping(stages.get(parts.GATE))
    gaps = [_mapping(one) for one in _list(gate.get("gaps"))]
    if not gaps:
        return []
    shown = [
        f"- **{said(gap.get('id'))}** scored {said(gap.get('score'))}: {said(gap.get('feedback'))}"
        for gap in gaps
    ]
    return ["", "## Gaps", "", *shown]


def _decisions(stages: Document) -> list[str]:
    lines: list[str] = []
    for name, stage in stages.items():
        for decision in map(_mapping, _list(_mapping(stage).get("decisions"))):
            number = parts.find_number(decision.get("confidence"))
            instead = _list(decision.get("alternatives_considered"))
            rest = f"; instead of {said(', '.join(map(str, instead)))}" if instead else ""
            lines.append(
                f"- {said(name)}: **{said(decision.get('decision'))}** "
                f"{said(decision.get('what'))} (confidence {text.share(number)}{rest}): "
                f"{said(decision.get('why'))}"
            )
    more = len(lines) - _SHOWN_DECISIONS
    if more > 0:
        lines[_SHOWN_DECISIONS:] = [f"- and {more:,} more"]
    return ["", "## Decisions", "", *lines] if lines else []


def _quality(stages: Document) -> str:
    gate = _mapping(stages.get(parts.GATE))
    score, threshold = gate.get("overall_score"), gate.get("threshold")
    passing = gate.get("passing")
    verdict = "passed" if passing is True else "failed" if passing is False else ""
    limit = f" (threshold {said(threshold)})" if threshold is not None else ""
    shown = "" if score is None else f"{said(score)}{limit}"
    return ", ".join(filter(None, (verdict, shown))) or "-"


def _rounds(document: Document) -> str:
    count = len(_list(document.get("iterations")))
    failures = document.get("quality_gate_failures")
    return f"{count}, of which {said(failures)} failed the gate" if count else "-"


def said(value: Any) -> str:
    """Return a recorded value on one line of at most 300 columns, as markdown shows it."""
    return _OBEYED.sub(r"\\\1", text.printable(value, _SHOWN_CHARS)) or "-"


def _seconds(value: Any) -> str:
    number = parts.find_number(value)
    return text.duration(None if number is None else number * 1_000)


def _count(items: Sequence[Any] | None) -> str:
    return "-" if items is None else str(len(items))


def _mapping(value: Any) -> Document:
    return cast("Document", value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
