"""Which sections are good enough to write from, and why the others are not.

In come ranked sections; out comes each of them with three scores from 0 to 1, their weighted
mean, and a verdict with its reason:

    relevance    its BM25 score against that of a section about nothing but the query
    specificity  how much it is about the key terms: in its title, and among its words
    coverage     how much of the question it speaks of
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import whence
from python_reference import retrieval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from python_reference.corpus import Section
    from python_reference.intake import Brief
    from python_reference.settings import Settings

WEIGHTS = {"relevance": 0.4, "specificity": 0.25, "coverage": 0.35}
"""What each score counts in the composite."""
_FULL_DENSITY = 0.15
"""Share of key terms among the words of a section that is about nothing else."""
_MAX_KEPT = 8
_HAIR = 0.05
_TWIN_OPTIONS = [
    {"name": "drop"},
    {"name": "keep", "reason_rejected": "the same words would speak for a claim twice"},
]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A section that was looked at, and the verdict on it."""

    section: Section
    scores: dict[str, float]
    composite: float
    kept: bool
    reason: str


def judge(
    brief: Brief,
    hits: Sequence[retrieval.Hit],
    query: Mapping[str, float],
    index: retrieval.Index,
    settings: Settings,
) -> list[Candidate]:
    """Return a verdict for every hit, best composite first."""
    ceiling = retrieval.get_best_score(index, query) or 1.0
    scored = [(hit.section, _score(brief, hit, ceiling)) for hit in hits]
    best: dict[str, float] = {}
    for section, scores in scored:
        best[section.digest] = max(best.get(section.digest, 0.0), _weigh(scores))
    # A twin that prints the same text on a larger page stands behind the primary one.
    scored.sort(key=lambda pair: (-best[pair[0].digest], not pair[0].primary, pair[0].id))
    seen: dict[str, str] = {}
    verdicts = list[Candidate]()
    for section, scores in scored:
        composite = _weigh(scores)
        room = sum(verdict.kept for verdict in verdicts) < _MAX_KEPT
        objection = _find_objection(section, scores, brief, settings, seen.get(section.digest))
        if not objection and not room:
            objection = f"{_MAX_KEPT} better sections are kept already"
        strongest = max(scores, key=lambda name: scores[name])
        reason = objection or (
            f"composite {composite:.2f} reaches {settings.threshold:.2f}, "
            f"most by {strongest} {scores[strongest]:.2f}"
        )
        verdicts.append(Candidate(section, scores, composite, not objection, reason))
        seen.setdefault(section.digest, section.id)
    # What retrofitting a component costs: it finds the stage it is called in for itself, and where
    # nothing is recorded both lines do nothing.
    told = {"options": _TWIN_OPTIONS, "inputs": {"texts": len(seen), "sections": len(verdicts)}}
    whence.current_span().decide("twins", "drop", why="a text is evidence once", **told)
    return verdicts


def average(verdicts: Sequence[Candidate]) -> dict[str, float]:
    """Return the mean of each score over the sections that were kept, 0 when none was."""
    kept = [verdict.scores for verdict in verdicts if verdict.kept]
    return {
        name: sum(scores[name] for scores in kept) / len(kept) if kept else 0.0 for name in WEIGHTS
    }


def get_support(verdicts: Sequence[Candidate], cited: Sequence[Section]) -> float:
    """Return how good the cited sections are: their mean composite, 0 to 1."""
    used = {section.id for section in cited}
    good = [verdict.composite for verdict in verdicts if verdict.section.id in used]
    return sum(good) / len(good) if good else 0.0


def weigh_thresholds(verdicts: Sequence[Candidate], chosen: float) -> list[dict[str, Any]]:
    """Return the thresholds around the chosen one as options: each with how many would pass."""
    options = list[dict[str, Any]]()
    for threshold in (round(chosen + 0.1, 2), chosen, round(chosen - 0.1, 2)):
        passing = sum(verdict.composite >= threshold for verdict in verdicts)
        reason = "asks more than this round" if threshold > chosen else "more than is needed so far"
        options.append(
            {
                "name": f"{threshold:.2f}",
                "score": passing,
                "chosen": threshold == chosen,
                "reason_rejected": None if threshold == chosen else f"{passing} pass: {reason}",
            }
        )
    return options


def get_confidence(verdicts: Sequence[Candidate], threshold: float) -> float:
    """Return the share of candidates that the threshold decides by more than a hair, 0 to 1."""
    clear = sum(abs(verdict.composite - threshold) > _HAIR for verdict in verdicts)
    return round(clear / len(verdicts), 3) if verdicts else 0.0


def _score(brief: Brief, hit: retrieval.Hit, ceiling: float) -> dict[str, float]:
    words = retrieval.find_terms(hit.section.text)
    title = retrieval.find_term_set(f"{hit.section.title} {hit.section.topic}")
    in_title = sum(share for term, share in brief.terms.items() if term in title)
    density = sum(word in brief.terms for word in words) / max(1, len(words))
    present = retrieval.find_term_set(hit.section.text) | title
    return {
        "relevance": round(min(1.0, hit.score / ceiling), 4),
        "specificity": round(0.5 * in_title + 0.5 * min(1.0, density / _FULL_DENSITY), 4),
        "coverage": round(sum(s for term, s in brief.terms.items() if term in present), 4),
    }


def _weigh(scores: Mapping[str, float]) -> float:
    return round(sum(WEIGHTS[name] * value for name, value in scores.items()), 4)


def _find_objection(
    section: Section,
    scores: Mapping[str, float],
    brief: Brief,
    settings: Settings,
    twin: str | None,
) -> str:
    if twin:
        return f"same text as {twin}"
    composite = _weigh(scores)
    if composite < settings.threshold:
        weakest = min(scores, key=lambda name: scores[name])
        return (
            f"composite {composite:.2f} is below {settings.threshold:.2f}; "
            f"weakest is {weakest} {scores[weakest]:.2f}"
        )
    if not settings.whole_reference and section.family not in brief.scope:
        return f"{section.family} is outside the scope: {', '.join(brief.scope)}"
    return ""
