"""The pipeline: five stages, a loop, and everything that whence is told about them.

In comes a question, out comes the best report on it. Each stage does its work with one of the other
modules and then says what it decided, instead of what, and why. Every line with `whence`, `run`,
`step` or `stage` in it is tracing; without them the pipeline works as before.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import whence
from python_reference import (
    evidence,
    formulation,
    intake,
    model,
    quality,
    retrieval,
    rubric,
    settings,
    synthesis,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from python_reference.evidence import Candidate
    from python_reference.intake import Brief
    from python_reference.quality import Verdict
    from python_reference.retrieval import Index
    from python_reference.rubric import Rubric
    from python_reference.settings import Settings
    from python_reference.synthesis import Report


@dataclass(frozen=True, slots=True)
class Round:
    """One pass through collection, synthesis and quality gate."""

    span_id: str
    settings: Settings
    candidates: list[Candidate]
    report_id: str
    report: Report
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Answer:
    """What the pipeline gives back for a question."""

    run_id: str
    question: str
    intent: str
    rounds: list[Round]
    best: Round


def research(question: str, index: Index) -> Answer:
    """Return the rounds it took to answer `question`, and the best of them."""
    with whence.run(
        "python reference", project="python-reference", kind="research", question=question
    ) as run:
        brief = take_in(question, index)
        measure = build_rubric(brief, index)
        rounds, knobs = list[Round](), settings.FIRST_ROUND[brief.intent]
        while knobs:
            rounds.append(go_round(brief, measure, knobs, rounds, index))
            knobs = revise(rounds)
        best = choose_report(rounds)

        run.tag(brief.intent, "gate_passed" if best.verdict.passed else "gate_failed")
        run.set(intent=brief.intent, rounds=len(rounds), overall=best.verdict.overall)
        run.set(input=question, output=best.report_id)
        if not best.verdict.passed:
            run.flag(f"no report passed the gate in {len(rounds)} rounds: {best.verdict.why}")
    return Answer(run.id, question, brief.intent, rounds, best)


def take_in(question: str, index: Index) -> Brief:
    """Stage 1: return what is asked, in which spirit, and where to look."""
    with whence.stage("intake", input=question) as stage:
        brief = intake.read_question(question, index)
        stage.decide(
            "classified_intent",
            brief.intent,
            why=brief.why,
            confidence=brief.intents[brief.intent],
            options=brief.intents,
        )
        stage.decide(
            "key_terms",
            list(brief.terms),
            why="the rarer a word is in the reference, the more of the question it is",
            confidence=brief.known_share,
            options=brief.term_options,
        )
        stage.decide(
            "scope",
            list(brief.scope),
            why=f"they hold {brief.scope_share:.0%} of the matching text",
            confidence=brief.scope_share,
            options=brief.scope_options,
        )
    return brief


def build_rubric(brief: Brief, index: Index) -> Rubric:
    """Stage 2: return the principles that a report on this question is measured by."""
    with whence.stage("rubric", input=brief.intents) as stage:
        measure = rubric.build_rubric(brief, index)
        stage.decide(
            "activated_principles",
            list(measure.weights),
            why=f"they weigh {rubric.ACTIVATION} or more when the intent is {brief.intent}",
            confidence=brief.intents[brief.intent],
            options=measure.options,
            factors=measure.factors,
        )
        stage.decide(
            "subtopics",
            list(measure.subtopics),
            why="they set the best matching sections apart from the rest of the reference",
            options=[{"name": term, "score": s} for term, s in measure.subtopics.items()],
        )
        stage.set(decisive=measure.decisive, output_count=len(measure.weights))
    return measure


def go_round(
    brief: Brief, measure: Rubric, knobs: Settings, before: Sequence[Round], index: Index
) -> Round:
    """Collect, write and judge once; return what came of it."""
    run, number = whence.current_run(), len(before) + 1
    report_id = f"{_slug(brief.question)}-{run.id[-6:]}-r{number}"
    with whence.step(f"round {number}", iteration=number, **asdict(knobs)) as step:
        candidates, source_ids = collect(brief, knobs, before, index)
        report = write(brief, measure, candidates, knobs)
        verdict = pass_gate(brief, measure, report, number)
        run.output(
            report_id,
            kind="report",
            summary=f"{', '.join(report.parts)} from {len(report.cited)} sections",
            value=report.markdown,
            confidence=evidence.get_support(candidates, report.cited) * brief.known_share,
            quality=verdict.overall / quality.FULL,
        )
        for section in report.cited:
            run.link("used", report_id, source=source_ids[section.id])
        if before:
            run.link("retry_of", step, source=before[-1].span_id)
            run.link("supersedes", report_id, source=before[-1].report_id)
    return Round(step.id, knobs, candidates, report_id, report, verdict)


def collect(
    brief: Brief, knobs: Settings, before: Sequence[Round], index: Index
) -> tuple[list[Candidate], dict[str, str]]:
    """Stage 3: return the candidates, kept and dropped, and the id each was recorded under."""
    with whence.stage("collection", iteration=len(before) + 1) as stage:
        liked = [one.section for one in before[-1].candidates if one.kept][:3] if before else []
        query, weighed = formulation.formulate(brief, knobs, liked, index)
        stage.decide(
            "query_formulation",
            query.name,
            why=query.why,
            confidence=query.relevance,
            options=formulation.weigh_queries(weighed, query),
            inputs={"terms": query.terms},
        )
        with whence.retrieval("bm25", input=query.terms, input_count=len(index.sections)) as search:
            hits = retrieval.search(index, query.terms, knobs.candidates)
            search.set(output=[hit.section.id for hit in hits], output_count=len(hits))
        stage.decide(
            "candidates",
            knobs.candidates,
            why=f"the last of {len(hits)} scores {retrieval.get_tail(hits):.0%} of the first",
            confidence=1 - retrieval.get_tail(hits),
            options=retrieval.weigh_depths(index, query.terms, knobs.candidates),
        )
        candidates = evidence.judge(brief, hits, query.terms, index, knobs)
        stage.decide(
            "threshold",
            f"{knobs.threshold:.2f}",
            why=f"keeps {sum(one.kept for one in candidates)} of {len(candidates)} candidates",
            confidence=evidence.get_confidence(candidates, knobs.threshold),
            options=evidence.weigh_thresholds(candidates, knobs.threshold),
        )
        for name, mean in evidence.average(candidates).items():
            stage.factor(name, mean, normalized_value=mean, weight=evidence.WEIGHTS[name])
        source_ids = {
            one.section.id: stage.source(
                "language_reference",
                one.section.id,
                title=one.section.label,
                quality=one.composite,
                scores={**one.scores, "composite": one.composite},
                kept=one.kept,
                reason=one.reason,
                digest=one.section.digest,
            )
            for one in candidates
        }
    return candidates, source_ids


def write(brief: Brief, measure: Rubric, candidates: list[Candidate], knobs: Settings) -> Report:
    """Stage 4: return the report, by a model when there is one, else from quotations."""
    with whence.stage("synthesis", input_count=sum(one.kept for one in candidates)) as stage:
        report = ask_model(brief, measure, candidates, knobs)
        report = report or synthesis.write_report(brief, measure, candidates, knobs)
        stage.decide(
            "outline",
            report.parts,
            why=f"what {brief.intent} asks for, as far as the kept sections can fill it",
            confidence=report.fullness,
            options=report.part_options,
        )
        stage.set(output_count=len(report.cited), quoted=report.quoted)
    return report


def ask_model(
    brief: Brief, measure: Rubric, candidates: list[Candidate], knobs: Settings
) -> Report | None:
    """Return a report by the configured model; None without one, or when it gives no answer."""
    sections = [one.section for one in candidates if one.kept]
    asked = model.find_model()
    if not asked or not sections:
        return None
    messages = model.build_messages(brief, measure, sections, knobs)
    with whence.generation("write_report") as span:
        try:
            answer = model.complete(asked, messages)
        except model.ModelError as error:
            span.record_generation(
                provider="openai", model=asked.name, messages=messages, error=error
            )
            span.event("quotations take the place of the model's report", level="warning")
            return None
        span.record_generation(
            provider="openai",
            model=asked.name,
            messages=messages,
            output=answer.text,
            usage=answer.stated.get("usage"),
            response_model=answer.stated.get("model"),
            response_id=answer.stated.get("id"),
            duration_ms=answer.duration_ms,
        )
    return synthesis.adopt_report(brief, answer.text, sections, knobs.sentences)


def pass_gate(brief: Brief, measure: Rubric, report: Report, number: int) -> Verdict:
    """Stage 5: return the verdict on the report, one score for each principle."""
    with whence.stage("quality_gate", iteration=number) as stage:
        draft = quality.take_apart(report.markdown, report.sources)
        verdict = quality.assess(draft, brief, measure, [parse(code) for code in draft.code])
        for one in verdict.measures:
            stage.score(
                one.principle,
                one.value,
                threshold=quality.THRESHOLD,
                scale="0-3",
                passed=one.passed,
                feedback=one.feedback,
                by="rule",
                iteration=number,
            )
        stage.score(
            "overall",
            verdict.overall,
            threshold=quality.THRESHOLD,
            scale="0-3",
            passed=verdict.passed,
            feedback=verdict.why,
            by="rule",
            iteration=number,
        )
        stage.decide(
            "quality_assessment",
            verdict.result,
            why=verdict.why,
            confidence=verdict.confidence,
            options=verdict.options,
            factors=verdict.factors,
        )
    return verdict


def parse(code: str) -> str:
    """Return what Python's parser has against an example, empty when it parses."""
    with whence.tool("python_parser", tool_type="function", input=code) as tool:
        problem = quality.find_code_problem(code)
        tool.set(output=problem or "parses")
    return problem


def revise(rounds: Sequence[Round]) -> Settings | None:
    """Return the settings of the next round, from what failed in the last; None to stop."""
    run, last = whence.current_run(), rounds[-1]
    if last.verdict.passed or len(rounds) == settings.MAX_ROUNDS:
        return None
    revision = settings.revise(last.settings, last.verdict.failed)
    run.event(f"round {len(rounds)} failed the gate", level="warning", failed=last.verdict.failed)
    run.decide(
        "retry_settings",
        revision.changed,
        why=revision.why,
        confidence=revision.helped,
        options=revision.options,
        inputs={"failed": last.verdict.failed, "settings": asdict(last.settings)},
    )
    return revision.settings if revision.changes else None


def choose_report(rounds: Sequence[Round]) -> Round:
    """Return the round with the best report: one that passed, else the highest overall score."""
    best = max(rounds, key=lambda one: (one.verdict.passed, one.verdict.overall))
    whence.current_run().decide(
        "final_report",
        best.report_id,
        why=best.verdict.why,
        confidence=best.verdict.confidence,
        options=[
            {
                "name": one.report_id,
                "score": one.verdict.overall,
                "reason_rejected": None if one is best else one.verdict.why,
            }
            for one in rounds
        ],
    )
    return best


def _slug(question: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", question.lower())[:40].strip("-")
