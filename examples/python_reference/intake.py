"""The first stage: what is asked, in which spirit, and where in the reference to look.

In comes the question; out comes a brief with the intent and how likely each other intent is, the
key terms weighted by how rare they are in the reference, and the share of each part of the
reference among the sections that match.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from python_reference import retrieval

INTENTS = ("exploring", "validating", "executing", "learning")

CUES: tuple[tuple[str, str, float], ...] = (
    ("executing", r"^how (?:do|can|should) (?:i|we|you)\b", 3.0),
    ("executing", r"\b(?:write|define|make|set|install|use|catch|raise|emulate|read)\b", 0.7),
    ("validating", r"^(?:is|are|does|do|can|will|has|must)\b", 2.4),
    (
        "validating",
        r"\b(?:is it true|always|never|even when|even after|since when|possible)\b",
        1.2,
    ),
    ("exploring", r"^which\b", 2.4),
    ("exploring", r"^what (?:are the )?(?:ways|kinds|options|alternatives)\b", 3.2),
    ("exploring", r"\b(?:ways|options|alternatives|kinds|several|or)\b", 0.8),
    ("learning", r"^(?:why|explain)\b|^how (?:does|is|are)\b", 2.6),
    ("learning", r"^what (?:is|are|does)\b", 2.4),
    ("learning", r"\b(?:difference|differs?|mean|purpose)\b", 1.0),
)
"""Intent, the wording that speaks for it, and the log-odds it adds."""

_SCOPE_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Brief:
    """What the later stages need to know about the question."""

    question: str
    intent: str
    intents: dict[str, float]
    """Probability of each intent."""
    cues: tuple[str, ...]
    """The words that spoke for the intent chosen."""
    terms: dict[str, float]
    """Key terms and their share of what the question says, adding up to 1."""
    unknown: tuple[str, ...]
    """Key terms the reference never uses."""
    families: dict[str, float]
    """Share of each part of the reference in the matching text, largest first."""
    scope: tuple[str, ...]
    """The parts that hold most of it."""

    @property
    def why(self) -> str:
        """Why the intent was chosen."""
        return f"the wording says so: {', '.join(self.cues)}" if self.cues else "no wording tells"

    @property
    def term_options(self) -> list[dict[str, Any]]:
        """The key terms as options of a decision."""
        return [
            {"name": term, "score": share, "chosen": True, "in_the_reference": term in self.known}
            for term, share in self.terms.items()
        ]

    @property
    def scope_options(self) -> list[dict[str, Any]]:
        """The parts of the reference as options of a decision."""
        return [
            {
                "name": family,
                "probability": share,
                "chosen": family in self.scope,
                "reason_rejected": None if family in self.scope else "the others hold enough",
            }
            for family, share in self.families.items()
        ]

    @property
    def known(self) -> list[str]:
        """The key terms the reference uses."""
        return [term for term in self.terms if term not in self.unknown]

    @property
    def known_share(self) -> float:
        """How much of the question the reference has words for, 0 to 1."""
        return sum(self.terms[term] for term in self.known)

    @property
    def scope_share(self) -> float:
        """How much of the matching text is in scope, 0 to 1."""
        return sum(self.families.get(family, 0.0) for family in self.scope)


def read_question(question: str, index: retrieval.Index) -> Brief:
    """Return the brief for `question`."""
    intents, cues = classify_intent(question)
    intent = max(intents, key=lambda name: intents[name])
    terms, unknown = weigh_terms(question, index)
    families = _measure_families(terms, index)
    scope, covered = list[str](), 0.0
    for family, share in families.items():
        if covered >= _SCOPE_SHARE:
            break
        scope.append(family)
        covered += share
    return Brief(
        question, intent, intents, tuple(cues[intent]), terms, unknown, families, tuple(scope)
    )


def classify_intent(question: str) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Return the probability of each intent, and for each the words that spoke for it."""
    odds: dict[str, float] = dict.fromkeys(INTENTS, 0.0)
    found: dict[str, list[str]] = {intent: [] for intent in INTENTS}
    for intent, wording, weight in CUES:
        match = re.search(wording, question, re.IGNORECASE)
        if match:
            odds[intent] += weight
            found[intent].append(match[0])
    total = sum(math.exp(value) for value in odds.values())
    return {intent: math.exp(value) / total for intent, value in odds.items()}, found


def weigh_terms(question: str, index: retrieval.Index) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the key terms with their shares, and those the reference does not know.

    A term the reference never uses is as rare as can be: it weighs the most, because an answer that
    misses it misses the point.
    """
    rarest = max(index.idf.values(), default=1.0)
    found = dict.fromkeys(retrieval.find_terms(question))
    idf = {term: index.idf.get(term, rarest) for term in found}
    total = sum(idf.values()) or 1.0
    return (
        {term: idf[term] / total for term in sorted(idf, key=lambda term: (-idf[term], term))},
        tuple(term for term in found if term not in index.idf),
    )


def _measure_families(terms: dict[str, float], index: retrieval.Index) -> dict[str, float]:
    mass: defaultdict[str, float] = defaultdict(float)
    for hit in retrieval.search(index, terms, 25):
        if hit.section.primary:
            mass[hit.section.family] += hit.score**2  # squared: many weak matches are no strong one
    total = sum(mass.values()) or 1.0
    ranked = sorted(mass.items(), key=lambda item: (-item[1], item[0]))
    return {family: value / total for family, value in ranked}
