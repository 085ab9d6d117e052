"""The components of a research pipeline, retrofitted: each finds the trace for itself.

The work is done by the modules of `python_reference`, which know nothing of tracing. What a
component adds to it here is what retrofitting costs: `TraceContext.current()`, and a `record` where
it decides; the others time a stage and tell what it gave back. No signature has changed, and
without a trace every component works as before.

A component that derives from `TracingComponent` says what it records, and a test holds it to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from python_reference import evidence, formulation, intake, quality, retrieval, rubric, synthesis

from whence.research import TraceContext, TracingComponent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from python_reference.corpus import Section
    from python_reference.evidence import Candidate
    from python_reference.intake import Brief
    from python_reference.quality import Verdict
    from python_reference.retrieval import Index
    from python_reference.rubric import Rubric
    from python_reference.settings import Settings
    from python_reference.synthesis import Report


def take_in(question: str, index: Index) -> Brief:
    """Return what is asked, in which spirit, and where to look."""
    trace = TraceContext.current()
    if trace:
        trace.start_stage("intake")
    brief = intake.read_question(question, index)
    if trace:
        trace.intent, trace.domain = brief.intent, brief.scope[0] if brief.scope else None
        trace.record(
            "intake",
            "classified_intent",
            {
                "what": brief.intent,
                "why": brief.why,
                "confidence": brief.intents[brief.intent],
                "alternatives_considered": [
                    f"{name} ({probability:.2f})"
                    for name, probability in brief.intents.items()
                    if name != brief.intent
                ],
                "inputs": {"query_text": question},
            },
        )
        trace.end_stage("intake", outputs={"intent": brief.intent, "scope": list(brief.scope)})
    return brief


class RubricLoader(TracingComponent):
    """Chooses the principles a report is measured by."""

    @property
    def component_name(self) -> str:
        """Name in traces."""
        return "rubric_loader"

    def get_trace_schema(self) -> dict[str, Any]:
        """Return what it records."""
        return {
            "stage": "rubric",
            "decisions": ["rubric_loaded"],
            "outputs": ["activated_count", "critical_principles"],
        }

    def load(self, brief: Brief, index: Index) -> Rubric:
        """Return the principles for a question, weighted."""
        trace = TraceContext.current()
        if trace:
            trace.start_stage("rubric")
        measure = rubric.build_rubric(brief, index)
        if trace:
            trace.record(
                "rubric",
                "rubric_loaded",
                {
                    "what": f"{len(measure.weights)} principles of {len(rubric.PRINCIPLES)}",
                    "why": f"they weigh {rubric.ACTIVATION} or more for intent={brief.intent}",
                    "made_by": self.component_name,
                    "inputs": {"intent": brief.intent},
                },
            )
            outputs = {"activated_count": len(measure.weights)}
            trace.end_stage(
                "rubric", outputs={**outputs, "critical_principles": list(measure.decisive)}
            )
        return measure


def collect(
    brief: Brief, knobs: Settings, liked: Sequence[Section], index: Index
) -> list[Candidate]:
    """Return the sections that were found, kept and dropped."""
    trace = TraceContext.current()
    if trace:
        trace.start_stage("collection")
    query, _ = formulation.formulate(brief, knobs, liked, index)
    hits = retrieval.search(index, query.terms, knobs.candidates)
    candidates = evidence.judge(brief, hits, query.terms, index, knobs)
    if trace:
        trace.record(
            "collection",
            "query_formulation",
            {"what": query.name, "why": query.why, "confidence": query.relevance},
        )
        kept = [_item(one) for one in candidates if one.kept]
        dropped = [_item(one) | {"reason": one.reason} for one in candidates if not one.kept]
        trace.record_evidence(
            "collection",
            {
                "collected_count": len(candidates),
                "query_terms_used": list(query.terms),
                "kept": kept,
                "filtered_out": dropped,
            },
        )
        counts = {"evidence_passed": len(kept), "evidence_filtered": len(dropped)}
        trace.end_stage("collection", outputs=counts)
    return candidates


def _item(candidate: Candidate) -> dict[str, Any]:
    section = candidate.section
    return {
        "url": f"pydoc:{section.id}",
        "title": section.label,
        "scores": {**candidate.scores, "composite": candidate.composite},
    }


def write(brief: Brief, measure: Rubric, candidates: list[Candidate], knobs: Settings) -> Report:
    """Return a report made of quotations."""
    trace = TraceContext.current()
    if trace:
        trace.start_stage("synthesis")
    report = synthesis.write_report(brief, measure, candidates, knobs)
    if trace:
        trace.record(
            "synthesis",
            "outline",
            {
                "what": report.parts,
                "why": f"what {brief.intent} asks for, as far as the kept sections can fill it",
                "confidence": report.fullness,
            },
        )
        counts = {"report_length_chars": len(report.markdown), "sources_cited": len(report.cited)}
        trace.end_stage("synthesis", outputs=counts)
    return report


def pass_gate(brief: Brief, measure: Rubric, report: Report, number: int) -> Verdict:
    """Return the verdict on a report, principle by principle."""
    trace = TraceContext.current()
    if trace:
        trace.start_stage("quality_gate")
    draft = quality.take_apart(report.markdown, report.sources)
    problems = [quality.find_code_problem(code) for code in draft.code]
    verdict = quality.assess(draft, brief, measure, problems)
    if trace:
        trace.record(
            "quality_gate",
            "quality_assessment",
            {"what": verdict.result, "why": verdict.why, "confidence": verdict.confidence},
        )
        trace.end_stage(
            "quality_gate",
            outputs={
                "principle_scores": [
                    {"id": one.principle, "score": one.value, "feedback": one.feedback}
                    for one in verdict.measures
                ],
                "gap_principles": [one.principle for one in verdict.measures if not one.passed],
                "overall_score": verdict.overall,
                "passed": verdict.passed,
                "threshold": quality.THRESHOLD,
                "iteration": number,
            },
        )
    return verdict
