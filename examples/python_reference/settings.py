"""The knobs of one round, and how a failed round turns them.

`revise` maps the principles that failed to changes of settings; each change carries its reason.
Nothing is changed that no failure asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_ROUNDS = 3
_MAX_CANDIDATES = 40
_MAX_SENTENCES = 14
_MIN_SENTENCES = 3
_MIN_THRESHOLD = 0.2


@dataclass(frozen=True, slots=True)
class Settings:
    """How one round collects and writes."""

    candidates: int = 8
    """How many sections to look at."""
    threshold: float = 0.45
    """Composite score from which a section is kept."""
    sentences: int = 5
    """How many sentences the report may have, apart from its limits and alternatives."""
    diversity: float = 0.3
    """How much a sentence is marked down for resembling one already chosen, 0 to 1."""
    expansion: int = 0
    """How many terms of the best sections join the query."""
    whole_reference: bool = False
    """Whether sections outside the scope may be used."""
    code: bool = False
    """Whether an example is looked for in every kept section, not in the best alone."""
    limits: bool = False
    """Whether exceptions and conditions get a part of their own."""
    alternatives: bool = False
    """Whether contrasts get a part of their own."""
    definitions: bool = False
    """Whether sentences that define a key term are preferred."""


@dataclass(frozen=True, slots=True)
class Change:
    """One knob that was turned."""

    knob: str
    before: Any
    after: Any
    because: str
    """The failed principles that asked for it."""


FIRST_ROUND: Mapping[str, Settings] = {
    "exploring": Settings(candidates=12, sentences=6),
    "validating": Settings(threshold=0.5, sentences=4, limits=True),
    "executing": Settings(sentences=4, code=True),
    "learning": Settings(sentences=5, definitions=True),
}
"""Where each intent starts: modest, because a report that passes short is the better report."""

REMEDIES: Mapping[str, tuple[str, ...]] = {
    "answers_key_terms": ("expansion", "candidates", "threshold"),
    "answers_directly": ("candidates", "whole_reference"),
    "keeps_to_the_subject": ("fewer_sentences", "whole_reference", "candidates"),
    "covers_subtopics": ("expansion", "sentences", "threshold"),
    "gives_code_example": ("code", "candidates", "threshold"),
    "no_repetition": ("diversity",),
    "brevity": ("fewer_sentences",),
    "names_the_section": ("diversity",),
    "several_sources": ("threshold", "candidates", "diversity"),
    "distinguishes_alternatives": ("alternatives", "sentences"),
    "states_limits": ("limits", "sentences"),
    "explains_terms": ("definitions", "whole_reference"),
    "primary_source_first": ("whole_reference", "candidates"),
    "readable": ("fewer_sentences",),
    "cites_sources": ("fewer_sentences",),
}
"""Failed principle to the knobs that can help it, best first."""


@dataclass(frozen=True, slots=True)
class Revision:
    """The settings of the next round, and how they came about."""

    settings: Settings
    changes: tuple[Change, ...]
    because: dict[str, list[str]]
    """Knob to the failed principles that asked for it, changed or not."""
    helped: float
    """Share of the failed principles that a changed knob may help, 0 to 1."""

    @property
    def changed(self) -> dict[str, Any]:
        """The new value of each knob that was turned."""
        return {change.knob: change.after for change in self.changes}

    @property
    def why(self) -> str:
        """What was changed and for which failures."""
        turned = [f"{c.knob} {c.before} -> {c.after} ({c.because})" for c in self.changes]
        return "; ".join(turned) or "no knob is left that could help"

    @property
    def options(self) -> list[dict[str, Any]]:
        """Every knob that a failure asked for, as options of a decision."""
        turned = {change.knob: change for change in self.changes}
        return [
            {
                "name": knob,
                "score": len(failed),
                "chosen": knob in turned,
                "reason_rejected": None if knob in turned else "cannot be turned further",
            }
            for knob, failed in self.because.items()
        ]


def revise(settings: Settings, failed: Sequence[str]) -> Revision:
    """Return the settings of the next round, given the principles that `failed`.

    Knobs are turned in the order of the failures; a knob that two failures ask for is turned once.
    Shortening gives way to lengthening: missing content is worse than length.
    """
    because: dict[str, list[str]] = {}
    for principle in failed:
        for knob in REMEDIES.get(principle, ()):
            because.setdefault(knob, []).append(principle)
    if "sentences" in because:
        because.pop("fewer_sentences", None)
    changes, helped = list[Change](), set[str]()
    for wish, principles in because.items():
        knob = "sentences" if wish == "fewer_sentences" else wish
        before, after = getattr(settings, knob), _turn(settings, wish)
        if after != before:
            changes.append(Change(knob, before, after, ", ".join(principles)))
            helped.update(principles)
    turned = replace(settings, **{change.knob: change.after for change in changes})
    return Revision(turned, tuple(changes), because, len(helped) / max(1, len(failed)))


def _turn(settings: Settings, knob: str) -> Any:
    turned = {
        "candidates": min(_MAX_CANDIDATES, settings.candidates * 2),
        "threshold": max(_MIN_THRESHOLD, round(settings.threshold - 0.1, 2)),
        "sentences": min(_MAX_SENTENCES, settings.sentences + 3),
        "fewer_sentences": max(_MIN_SENTENCES, settings.sentences - 1),
        "diversity": min(0.7, round(settings.diversity + 0.2, 2)),
        "expansion": settings.expansion + 4,
    }
    return turned.get(knob, True)
