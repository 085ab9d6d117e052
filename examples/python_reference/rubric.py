"""What a good report must do: principles, weighted by the intent behind the question.

A principle says what it asks of a report and how much that matters for each intent. The rubric of
a question is the principles that matter enough, and the subtopics an answer should touch. How a
report is measured against them is the business of `quality`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from python_reference import retrieval

if TYPE_CHECKING:
    from python_reference.intake import Brief

ACTIVATION = 0.3
"""The weight from which a principle counts."""
DECISIVE = 0.8
"""The weight from which a principle alone can fail a report."""
SUBTOPICS = 8


@dataclass(frozen=True, slots=True)
class Principle:
    """One thing a good report does."""

    id: str
    demand: str
    exploring: float
    validating: float
    executing: float
    learning: float


PRINCIPLES = (
    Principle("cites_sources", "every claim cites a section", 0.8, 1.0, 0.6, 0.7),
    Principle("answers_key_terms", "what was asked about is spoken of", 0.8, 1.0, 1.0, 1.0),
    Principle("answers_directly", "the first sentence is about the question", 0.4, 1.0, 0.7, 0.8),
    Principle("keeps_to_the_subject", "each claim is about the question", 0.6, 1.0, 0.8, 0.9),
    Principle("covers_subtopics", "neighbouring subjects are touched", 1.0, 0.5, 0.4, 0.6),
    Principle("gives_code_example", "code shows how it is done", 0.2, 0.1, 1.0, 0.6),
    Principle("no_repetition", "nothing is said twice", 0.5, 0.4, 0.5, 0.5),
    Principle("brevity", "the report is as short as its purpose allows", 0.2, 0.6, 0.7, 0.4),
    Principle("names_the_section", "the sections used are named in the text", 0.5, 0.7, 0.3, 0.5),
    Principle("several_sources", "it does not rest on one section", 0.9, 0.8, 0.2, 0.3),
    Principle("distinguishes_alternatives", "options are told apart", 0.9, 0.3, 0.2, 0.5),
    Principle("states_limits", "exceptions and conditions are stated", 0.3, 0.9, 0.5, 0.3),
    Principle("explains_terms", "what was asked about is defined", 0.4, 0.2, 0.1, 1.0),
    Principle("primary_source_first", "the defining section comes first", 0.2, 0.8, 0.4, 0.6),
    Principle("readable", "sentences have a readable length", 0.3, 0.2, 0.4, 0.7),
)


@dataclass(frozen=True, slots=True)
class Rubric:
    """The measure for one question."""

    weights: dict[str, float]
    """Principle to weight, active ones only."""
    all_weights: dict[str, float]
    """Principle to weight, before the cut."""
    subtopics: dict[str, float]
    """Terms around the subject, and how strongly each belongs to it, 0 to 1."""

    @property
    def options(self) -> list[dict[str, Any]]:
        """All principles as options of a decision, scored by their weight."""
        return [
            {
                "name": name,
                "score": weight,
                "chosen": name in self.weights,
                "reason_rejected": None if name in self.weights else f"weighs only {weight}",
            }
            for name, weight in self.all_weights.items()
        ]

    @property
    def factors(self) -> list[dict[str, Any]]:
        """The active principles as what weighs on a report."""
        demands = {principle.id: principle.demand for principle in PRINCIPLES}
        return [
            {"name": name, "raw_value": demands[name], "weight": weight}
            for name, weight in self.weights.items()
        ]

    @property
    def decisive(self) -> list[str]:
        """The principles that can fail a report alone."""
        return [name for name, weight in self.weights.items() if weight >= DECISIVE]


def build_rubric(brief: Brief, index: retrieval.Index) -> Rubric:
    """Return the rubric for `brief`.

    A weight is the mean over the intents by their probability, so that a question that could be
    meant in two ways is measured by both.
    """
    weights: dict[str, float] = {
        principle.id: round(
            sum(share * getattr(principle, intent) for intent, share in brief.intents.items()), 3
        )
        for principle in PRINCIPLES
    }
    active = {name: weight for name, weight in weights.items() if weight >= ACTIVATION}
    return Rubric(active, weights, _find_subtopics(brief, index))


def _find_subtopics(brief: Brief, index: retrieval.Index) -> dict[str, float]:
    hits = retrieval.search(index, brief.terms, 12)
    near = [hit.section for hit in hits if hit.section.primary][:5]
    terms = retrieval.expand_query(index, near, brief.terms, SUBTOPICS)
    return {term: round(1 - place / SUBTOPICS, 3) for place, term in enumerate(terms)}
