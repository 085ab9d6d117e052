"""Which words to search for: those of the question, those of the reference, or more.

The first round translates the question into the reference's words. A later round may add terms from
the sections that the round before it liked best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from python_reference import retrieval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from python_reference.corpus import Section
    from python_reference.intake import Brief
    from python_reference.settings import Settings

ALIASES: Mapping[str, tuple[str, ...]] = {
    "argument": ("parameter",),
    "asynchronou": ("async",),
    "catch": ("handl", "except"),
    "chain": ("from", "context", "caus"),
    "dict": ("dictionary", "mapp"),
    "dictionary": ("dict", "mapp"),
    "order": ("precedenc",),
    "parameter": ("argument",),
    "scop": ("bind", "block"),
    "sort": ("order",),
    "strip": ("remov",),
}
"""Stems of what people ask for, and what the reference calls it."""
_ALIAS_WEIGHT = 0.5
_EXPANSION_WEIGHT = 0.05


@dataclass(frozen=True, slots=True)
class Query:
    """A weighted set of terms."""

    name: str
    terms: dict[str, float]
    added: tuple[str, ...]
    """Terms the question does not have."""
    relevance: float
    """Score of its best section against the ceiling, 0 to 1."""

    @property
    def why(self) -> str:
        """Why it is worded like this."""
        return f"adds {', '.join(self.added)}" if self.added else "no word needs translating"


def formulate(
    brief: Brief, settings: Settings, liked: Sequence[Section], index: retrieval.Index
) -> tuple[Query, list[Query]]:
    """Return the query to use and every query that was weighed, the plain question first.

    A query that adds nothing to the one before it is not weighed.
    """
    plain = dict(brief.terms)
    aliases = {
        alias: share * _ALIAS_WEIGHT
        for term, share in brief.terms.items()
        for alias in ALIASES.get(term, ())
        if alias in index.idf and alias not in plain
    }
    translated = {**aliases, **plain}
    more = retrieval.expand_query(index, liked, translated, settings.expansion)
    expanded = {**dict.fromkeys(more, _EXPANSION_WEIGHT), **translated}
    forms = {"as asked": plain, "in the reference's words": translated, "expanded": expanded}
    weighed = list[Query]()
    for name, terms in forms.items():
        if not weighed or terms.keys() != weighed[-1].terms.keys():
            added = tuple(term for term in terms if term not in plain)
            weighed.append(Query(name, terms, added, _rate(terms, index)))
    return weighed[-1], weighed


def weigh_queries(weighed: Sequence[Query], chosen: Query) -> list[dict[str, Any]]:
    """Return the queries as options of a decision."""
    return [
        {
            "name": query.name,
            "score": query.relevance,
            "chosen": query is chosen,
            "reason_rejected": None if query is chosen else f"lacks what {chosen.name} adds",
        }
        for query in weighed
    ]


def _rate(terms: Mapping[str, float], index: retrieval.Index) -> float:
    best = retrieval.search(index, terms, 1)
    ceiling = retrieval.get_best_score(index, terms)
    return round(best[0].score / ceiling, 4) if best else 0.0
