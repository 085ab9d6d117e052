"""One question from start to finish: a trace, a report beside it, and each naming the other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_reference import settings

from research_reports import components
from whence.research import TraceContext, add_frontmatter, check_calibration_flags

if TYPE_CHECKING:
    from pathlib import Path

    from python_reference.corpus import Section
    from python_reference.quality import Verdict
    from python_reference.retrieval import Index

PROJECT = "python-reports"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question."""

    trace_id: str
    question: str
    intent: str
    report: Path
    verdict: Verdict
    rounds: int
    overhead_ms: float
    """What tracing it took."""
    flags: list[str]
    """What it shows to be reviewed."""


async def research(question: str, index: Index, folder: Path) -> Outcome:
    """Return the outcome of a question; its report is in `folder`."""
    async with TraceContext.start(
        project_name=PROJECT, query=question, report_type="explanation"
    ) as trace:
        brief = components.take_in(question, index)
        measure = components.RubricLoader().load(brief, index)
        knobs: settings.Settings | None = settings.FIRST_ROUND[brief.intent]
        liked: list[Section] = []
        number = 0
        while knobs:
            number += 1
            candidates = components.collect(brief, knobs, liked, index)
            report = components.write(brief, measure, candidates, knobs)
            verdict = components.pass_gate(brief, measure, report, number)
            trace.record_iteration(
                {
                    "iteration": number,
                    "passed": verdict.passed,
                    "overall_score": verdict.overall,
                    "gaps": list(verdict.failed),
                }
            )
            if verdict.passed or number == settings.MAX_ROUNDS:
                break
            liked = [one.section for one in candidates if one.kept][:3]
            revision = settings.revise(knobs, verdict.failed)
            knobs = revision.settings if revision.changes else None
        trace.mark_complete()
        path = folder / f"{_slug(question)}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report.markdown, "utf-8")
        add_frontmatter(path, trace)
    return Outcome(
        trace.trace_id,
        question,
        brief.intent,
        path,
        verdict,
        number,
        trace.overhead_ms,
        await check_calibration_flags(trace),
    )


def _slug(question: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", question.lower())[:60].strip("-")
