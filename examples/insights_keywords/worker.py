"""The worker: a page goes in, its best keywords come out, and why they are the best is recorded.

A word is scored by three weighted factors: how often it stands on the page, how rare it is on
others, and whether it is printed as code. Whether the ranking is any good is not left to its own
score: the keywords are searched for in the whole reference, and the page has to come back first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whence.insights import InsightType, provenance_context

if TYPE_CHECKING:
    from insights_keywords.pages import Index, Page
    from whence.insights import ProvenanceContext

WORKER = "keyword_worker"
WEIGHTS = {"frequency": 0.4, "rarity": 0.4, "in_code": 0.2}
KEYWORDS = 5
LEAST_WORDS = 40


class TooShortError(ValueError):
    """A page has too few words for a ranking."""


@dataclass(frozen=True)
class Scored:
    """One word with its factors, each from 0 to 1."""

    word: str
    factors: dict[str, float]

    @property
    def score(self) -> float:
        """Sum of the factors by their weights."""
        return sum(WEIGHTS[name] * value for name, value in self.factors.items())


def rank_keywords(index: Index, name: str, execution_id: str, age_s: float) -> list[str]:
    """Return the keywords of a page, the best first.

    Args:
        index: The whole reference.
        name: The page.
        execution_id: The execution that this ranking is part of.
        age_s: Age of the reference, in seconds.

    Raises:
        TooShortError: The page has too few words.
    """
    page = index.pages[name]
    with provenance_context(WORKER, execution_id, InsightType.KEYWORD_RANKING, name) as prov:
        prov.add_data_source(
            source_type="language_reference",
            source_key=f"pydoc_data.topics:{name}",
            records_used=len(page.words),
            freshness_seconds=age_s,
        )
        prov.start_step("count", "Count the words of the page", "bag_of_words")
        if len(page.words) < LEAST_WORDS:
            raise TooShortError(f"{name} has {len(page.words)} words; {LEAST_WORDS} are needed")
        counts = Counter(page.words)
        prov.end_step(input_count=len(page.words), output_count=len(counts))

        prov.start_step("score", "Score each word by three factors", "weighted_sum")
        scored = score_words(index, page, counts)
        prov.end_step(len(counts), len(scored), parameters=WEIGHTS)

        prov.start_step("select", "Take the best", "top_n")
        best = scored[:KEYWORDS]
        prov.end_step(len(scored), len(best), parameters={"n": KEYWORDS})

        for factor, weight in WEIGHTS.items():
            top = best[0]
            prov.add_decision_factor(
                factor,
                raw_value=counts[top.word] if factor == "frequency" else top.factors[factor],
                normalized_value=top.factors[factor],
                weight=weight,
                reasoning=f"what {factor} adds to the best word, {top.word!r}",
            )
        keywords = [one.word for one in best]
        prov.set_insight(
            f"keywords_{name}_{execution_id}",
            f"`{name}` is about {', '.join(keywords)}",
            {one.word: round(one.score, 4) for one in best},
        )
        judge(index, name, keywords, prov)
        prov.set_confidence(best[0].score)
        return keywords


def score_words(index: Index, page: Page, counts: Counter[str]) -> list[Scored]:
    """Return the words of a page that stand on it more than once, the best first."""
    most = max(counts.values())
    scored = [
        Scored(
            word,
            {
                "frequency": (count / most) ** 0.5,
                "rarity": index.rarity(word),
                "in_code": float(word in page.in_code),
            },
        )
        for word, count in counts.items()
        if count > 1
    ]
    return sorted(scored, key=lambda one: (-one.score, one.word))


def judge(index: Index, name: str, keywords: list[str], prov: ProvenanceContext) -> None:
    """Say how good the keywords are: searched for, they have to bring the page back first."""
    found = index.search(keywords)
    place = found.index(name) + 1
    errors = [] if place == 1 else [f"the search finds {found[0]!r} first, this page {place}."]
    prov.set_quality(1 / place).set_validation(not errors, errors)
    prov.add_tags("found_first" if place == 1 else "found_later")
