"""How good a report is, measured on its text.

In come the report as markdown and what it was supposed to do; out comes for each principle a
number from 0 to 3 with one sentence of feedback. Nothing is read but the text, the question and
the reference: a report that a model wrote is measured like one that was put together from
quotations.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from python_reference import corpus, retrieval, synthesis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from python_reference.intake import Brief
    from python_reference.rubric import Rubric

THRESHOLD = 2.0
FULL = 3.0
_FLOOR = 1.5
"""A decisive principle below this fails the report whatever the others say."""
_CITATION = re.compile(r"\s*\[(\d+)\]")
_WORD_BUDGET = {"exploring": 260, "validating": 170, "executing": 190, "learning": 220}


@dataclass(frozen=True, slots=True)
class Measure:
    """The result for one principle."""

    principle: str
    value: float
    """0 to 3."""
    weight: float
    feedback: str

    @property
    def passed(self) -> bool:
        """Whether it reaches the threshold."""
        return self.value >= THRESHOLD


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for a report."""

    measures: tuple[Measure, ...]
    overall: float
    """Weighted mean of the measures, 0 to 3."""
    passed: bool
    confidence: float
    """How likely the verdict is to stand if the principles were a sample of all one could ask."""
    why: str

    @property
    def result(self) -> str:
        """`pass` or `fail`."""
        return "pass" if self.passed else "fail"

    @property
    def options(self) -> list[dict[str, Any]]:
        """Both results as options of a decision, with how likely each is the right one."""
        other = "fail" if self.passed else "pass"
        return [
            {"name": self.result, "probability": self.confidence},
            {"name": other, "probability": 1 - self.confidence, "reason_rejected": self.why},
        ]

    @property
    def factors(self) -> list[dict[str, Any]]:
        """The measures as what weighs on the verdict; contributions add up to overall / 3."""
        total = sum(measure.weight for measure in self.measures)
        return [
            {
                "name": measure.principle,
                "raw_value": measure.value,
                "normalized_value": measure.value / FULL,
                "weight": measure.weight / total,
                "reasoning": measure.feedback,
            }
            for measure in self.measures
        ]

    @property
    def failed(self) -> list[str]:
        """Principles below the threshold, the one that costs the most first."""
        low = [measure for measure in self.measures if not measure.passed]
        cost = {measure.principle: (FULL - measure.value) * measure.weight for measure in low}
        return sorted(cost, key=lambda name: (-cost[name], name))


@dataclass(frozen=True, slots=True)
class Draft:
    """A report taken apart."""

    claims: tuple[str, ...]
    """Sentences of the body without their citations, headings and sources."""
    cited: tuple[int | None, ...]
    """For each claim the number it cites, null when it cites nothing that exists."""
    prose: str
    code: tuple[str, ...]
    sources: tuple[corpus.Section, ...]
    """What the citations point to; number one is the first."""
    terms: frozenset[str]
    code_problems: tuple[str, ...] = ()


def assess(
    draft: Draft, brief: Brief, rubric: Rubric, code_problems: Sequence[str] = ()
) -> Verdict:
    """Return the verdict on a report; `code_problems` are what the parser said of its code."""
    draft = replace(draft, code_problems=tuple(problem for problem in code_problems if problem))
    measures = tuple(
        Measure(name, round(FULL * min(1.0, max(0.0, share)), 2), weight, feedback)
        for name, weight in rubric.weights.items()
        for share, feedback in (CHECKS[name](draft, brief, rubric),)
    )
    total = sum(measure.weight for measure in measures)
    overall = sum(measure.value * measure.weight for measure in measures) / total
    spread = sum(measure.weight * (measure.value - overall) ** 2 for measure in measures) / total
    error = math.sqrt(spread / len(measures)) or 1e-9
    sunk = [m for m in measures if m.principle in rubric.decisive and m.value < _FLOOR]
    passed = overall >= THRESHOLD and not sunk
    good = sum(measure.passed for measure in measures)
    why = f"{good} of {len(measures)} principles reach {THRESHOLD:.1f}; overall {overall:.2f} of 3"
    if sunk:
        why += "; decisive and too low: " + ", ".join(measure.principle for measure in sunk)
    confidence = NormalDist().cdf(abs(overall - THRESHOLD) / error)
    return Verdict(measures, round(overall, 3), passed, round(confidence, 3), why)


def take_apart(markdown: str, sources: Sequence[corpus.Section]) -> Draft:
    """Return the claims, citations, prose and code of a report."""
    body = markdown.split("\n## Sources", 1)[0]
    code = tuple(re.findall(r"```\w*\n(.*?)```", body, re.DOTALL))
    lines = re.sub(r"```.*?```", "", body, flags=re.DOTALL).split("\n")
    prose = "\n".join(line for line in lines if not line.startswith("#"))
    pairs = list(_iter_claims(prose, len(sources)))
    return Draft(
        claims=tuple(claim for claim, _ in pairs),
        cited=tuple(number for _, number in pairs),
        prose=prose,
        code=code,
        sources=tuple(sources),
        terms=retrieval.find_term_set(_CITATION.sub("", prose) + " " + " ".join(code)),
    )


def find_code_problem(code: str) -> str:
    """Return what Python's parser has against `code`, empty when it parses.

    Prompts are stripped and their results left out, as in an interactive session.
    """
    lines = code.split("\n")
    if any(line.startswith(">>>") for line in lines):
        lines = [line[4:] for line in lines if line.startswith((">>>", "..."))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # what 3.11 calls an invalid escape
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            return f"line {error.lineno}: {error.msg}"
    return ""


def _iter_claims(prose: str, count: int) -> Iterator[tuple[str, int | None]]:
    """Yield sentences with the citation that follows each: before its full stop or after it."""
    for line in prose.split("\n"):
        text = line.strip().removeprefix("- ")
        if not text or text.endswith(":"):
            continue
        moved = re.sub(r"((?:\s*\[\d+\])+)([.!?])", r"\2\1", text)
        for piece in re.findall(r".+?[.!?][\"”)]*(?:\s*\[\d+\])+|.+$", moved):
            numbers = [int(number) for number in _CITATION.findall(piece)]
            known = [number for number in numbers if 1 <= number <= count]
            yield _CITATION.sub("", piece).strip(), known[0] if known else None


Check = Callable[[Draft, "Brief", "Rubric"], tuple[float, str]]
"""From a report to the share of the full score it earns, and why."""


def _cites_sources(draft: Draft, _brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    backed, count = sum(number is not None for number in draft.cited), len(draft.claims)
    return backed / max(1, count), f"{backed} of {count} claims cite a source"


def _answers_key_terms(draft: Draft, brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    missing = [term for term in brief.terms if term not in draft.terms]
    share = 1 - sum(brief.terms[term] for term in missing)
    feedback = f"never speaks of {', '.join(missing)}" if missing else "speaks of every key term"
    return (share - 0.25) / 0.75, feedback


def _answers_directly(draft: Draft, brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    first = retrieval.find_term_set(draft.claims[0]) if draft.claims else frozenset[str]()
    said = sum(share for term, share in brief.terms.items() if term in first)
    return said / 0.75, f"the first sentence holds {said:.0%} of the question"


def _keeps_to_the_subject(draft: Draft, brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    held = list[float]()
    for claim, number in zip(draft.claims, draft.cited, strict=True):
        title = _title_of(draft.sources[number - 1]) if number else ""
        terms = retrieval.find_term_set(f"{title} {claim}")
        held.append(sum(share for term, share in brief.terms.items() if term in terms))
    mean = sum(held) / max(1, len(held))
    return mean / 0.5, f"a claim and its section's title hold {mean:.0%} of the question"


def _covers_subtopics(draft: Draft, _brief: Brief, rubric: Rubric) -> tuple[float, str]:
    total = sum(rubric.subtopics.values())
    missing = [term for term in rubric.subtopics if term not in draft.terms]
    share = 1 - sum(rubric.subtopics[term] for term in missing) / total if total else 0.0
    return share / 0.7, f"does not touch {', '.join(missing)}" if missing else "touches them all"


def _gives_code_example(draft: Draft, brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    if not draft.code:
        return 0.0, "has no code"
    words = set(re.findall(r"\w+", " ".join(draft.code).lower()))
    stems = {retrieval.stem(word) for word in words} | words
    shown = sum(s for term, s in brief.terms.items() if term.strip("`") in stems)
    feedback = f"the code shows {shown:.0%} of the key terms"
    if draft.code_problems:
        return shown, f"{feedback}, but does not parse: {draft.code_problems[0]}"
    return 0.4 + shown, feedback


def _no_repetition(draft: Draft, _brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    pairs = [synthesis.measure_likeness(a, b) for a, b in combinations(draft.claims, 2)]
    worst = max(pairs, default=0.0)
    return 1 - (worst - 0.25) / 0.5, f"the two closest sentences share {worst:.0%} of their terms"


def _brevity(draft: Draft, brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    words, budget = len(draft.prose.split()), _WORD_BUDGET[brief.intent]
    return 2 - words / budget, f"{words} words for a budget of {budget}"


def _names_the_section(draft: Draft, _brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    used = {number for number in draft.cited if number}
    named = [n for n in used if _title_of(draft.sources[n - 1]) in draft.prose.lower()]
    return len(named) / max(1, len(used)), f"names {len(named)} of {len(used)} sections"


def _title_of(section: corpus.Section) -> str:
    return section.title.lower()


def _several_sources(draft: Draft, _brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    counts = Counter(number for number in draft.cited if number)
    total = sum(counts.values())
    entropy = -sum(n / total * math.log(n / total) for n in counts.values())
    effective = math.exp(entropy) if counts else 0.0
    return (effective - 1) / 2, f"rests on {len(counts)} sections, in effect {effective:.1f}"


def _distinguishes_alternatives(draft: Draft, _b: Brief, _r: Rubric) -> tuple[float, str]:
    telling = sum(bool(synthesis.CONTRAST.search(claim)) for claim in draft.claims)
    return telling / 3, f"{telling} sentences tell options apart"


def _states_limits(draft: Draft, _brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    telling = sum(bool(synthesis.LIMIT.search(claim)) for claim in draft.claims)
    return telling / 3, f"{telling} sentences state a condition or exception"


def _explains_terms(draft: Draft, brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    defined = {
        term
        for claim in draft.claims
        for term in retrieval.find_term_set(_find_defined(claim))
        if term in brief.terms
    }
    share = sum(brief.terms[term] for term in defined)
    return share / 0.7, f"defines {', '.join(sorted(defined)) or 'no key term'}"


def _find_defined(claim: str) -> str:
    """Find what a sentence defines: the words before `is a` or `means`, empty when it does not."""
    match = synthesis.DEFINITION.search(claim)
    return claim[: match.start()] if match else ""


def _primary_source_first(draft: Draft, brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    first = next((number for number in draft.cited if number), None)
    if first is None:
        return 0.0, "cites nothing"
    section = draft.sources[first - 1]
    title = retrieval.find_term_set(f"{section.title} {section.topic}")
    named = sum(share for term, share in brief.terms.items() if term in title)
    return (0.4 if section.primary else 0.0) + named, f"opens with {section.id}"


def _readable(draft: Draft, _brief: Brief, _rubric: Rubric) -> tuple[float, str]:
    mean = sum(len(claim.split()) for claim in draft.claims) / max(1, len(draft.claims))
    return (42 - mean) / 18 if draft.claims else 0.0, f"{mean:.0f} words a sentence"


CHECKS: Mapping[str, Check] = {
    "cites_sources": _cites_sources,
    "answers_key_terms": _answers_key_terms,
    "answers_directly": _answers_directly,
    "keeps_to_the_subject": _keeps_to_the_subject,
    "covers_subtopics": _covers_subtopics,
    "gives_code_example": _gives_code_example,
    "no_repetition": _no_repetition,
    "brevity": _brevity,
    "names_the_section": _names_the_section,
    "several_sources": _several_sources,
    "distinguishes_alternatives": _distinguishes_alternatives,
    "states_limits": _states_limits,
    "explains_terms": _explains_terms,
    "primary_source_first": _primary_source_first,
    "readable": _readable,
}
"""How each principle of the rubric is measured."""
