"""Words and ranking: text in, weighted sections out.

Terms are lower-case stems. English has many words that Python also uses (`with`, `for`, `is`):
bare, they are noise and are left out; quoted as code, or named as a statement, they are the
subject and are kept as a term of their own. Ranking is BM25 with the title counted several times.

Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from python_reference import corpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

K1 = 1.2
B = 0.6
TITLE_WEIGHT = 4
"""How often a title's terms count: a section named for the subject beats one that mentions it."""
PATH_WEIGHT = 1
"""How often the terms of the titles above it are counted."""

_KEYWORDS = """
    and as assert async await break case class continue def del elif else except finally for from
    global if import in is lambda match nonlocal not or pass raise return try while with yield
"""
_EVERYDAY = "and as case for from if in is match not or try while with"
_EMPTY_WORDS = """
    about above after also am an are at be because been being best between both but by can
    changed come could difference different do does doing done during each either ever every
    exactly example explain following get gets give given go good had has have having he here
    how however instead into it its just know let like made make makes many may me mean means
    might more most must my need new no of off often on once one ones only other our out over
    own possible put python really right same second section see should since so some still such
    tell than that the their them then there these they this those through to too true two under
    until up upon us use used uses using very version want was way ways we were what when where
    whether which who why will within without work works would you your
"""
KEYWORDS = frozenset(_KEYWORDS.split())
_AMBIGUOUS = frozenset(_EVERYDAY.split())
"""Keywords that are everyday English too: a term only where the text marks them as code."""
_NOISE = _AMBIGUOUS | frozenset(_EMPTY_WORDS.split())
_TOKEN = re.compile(
    r"[\"`']([a-z]+\*?)[\"`']|\b("
    + "|".join(sorted(KEYWORDS))
    + r")\s+(?=statement|clause|expression|keyword|loop|block|operator)|([A-Za-z_]\w*)",
    re.IGNORECASE,
)
_LONG_SUFFIXES = ("ations", "ation", "ators", "ator", "ating", "ates", "ated", "ate")
_SUFFIXES = (*_LONG_SUFFIXES, "ings", "ing", "ies", "ers", "ed", "es", "er", "ly", "s")
_MIN_ROOT = 3


@dataclass(frozen=True, slots=True)
class Hit:
    """A section that matched, and how well."""

    section: corpus.Section
    rank: int
    score: float
    terms: dict[str, float]
    """What each query term added to the score."""


@dataclass(frozen=True, slots=True)
class Index:
    """An inverted index over sections."""

    sections: tuple[corpus.Section, ...]
    postings: Mapping[str, list[tuple[int, float]]]
    """Term to (section number, BM25 weight of the term in that section)."""
    idf: Mapping[str, float]


@functools.cache
def load_index() -> Index:
    """Return the index of the reference this Python ships, built once a process."""
    return build_index(corpus.load_sections())


def build_index(sections: Iterable[corpus.Section]) -> Index:
    """Return a BM25 index in which a search is a sum over postings."""
    kept = tuple(sections)
    counts = [_count_terms(section) for section in kept]
    lengths = [sum(count.values()) for count in counts]
    mean = sum(lengths) / max(1, len(lengths))
    frequency = Counter(term for count in counts for term in count)
    idf = {term: math.log(1 + (len(kept) - n + 0.5) / (n + 0.5)) for term, n in frequency.items()}
    postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, (count, length) in enumerate(zip(counts, lengths, strict=True)):
        norm = K1 * (1 - B + B * length / mean)
        for term, tf in count.items():
            postings[term].append((number, idf[term] * tf * (K1 + 1) / (tf + norm)))
    return Index(kept, dict(postings), idf)


def search(index: Index, query: Mapping[str, float], k: int) -> list[Hit]:
    """Return the `k` best sections for `query`, a weight for each term; best first, ties by id."""
    parts: dict[int, dict[str, float]] = defaultdict(dict)
    for term, weight in query.items():
        for number, value in index.postings.get(term, ()):
            parts[number][term] = value * weight
    totals = {number: sum(part.values()) for number, part in parts.items()}
    ranked = sorted(totals, key=lambda number: (-totals[number], index.sections[number].id))
    return [
        Hit(index.sections[number], rank, totals[number], parts[number])
        for rank, number in enumerate(ranked[:k], start=1)
    ]


def get_best_score(index: Index, query: Mapping[str, float]) -> float:
    """Return the ceiling of every score: that of a section about nothing but `query`."""
    return sum(weight * index.idf.get(term, 0.0) * (K1 + 1) for term, weight in query.items())


def get_tail(hits: Sequence[Hit]) -> float:
    """Return the last score as a share of the first, 0 to 1: near 1, the cut is arbitrary."""
    return hits[-1].score / hits[0].score if hits else 0.0


def weigh_depths(index: Index, query: Mapping[str, float], chosen: int) -> list[dict[str, Any]]:
    """Return how many candidates one could look at as options: each with the last one's share."""
    hits = search(index, query, chosen * 2)
    options = list[dict[str, Any]]()
    for depth in (chosen // 2, chosen, chosen * 2):
        tail = get_tail(hits[:depth])
        reason = "leaves out what scores" if depth < chosen else "adds what scores only"
        options.append(
            {
                "name": str(depth),
                "score": round(tail, 3),
                "chosen": depth == chosen,
                "reason_rejected": None if depth == chosen else f"{reason} {tail:.0%} of the best",
            }
        )
    return options


def expand_query(
    index: Index, sections: Sequence[corpus.Section], known: Iterable[str], count: int
) -> list[str]:
    """Return the `count` terms that set these sections apart and are not `known`, strongest first.

    The first section counts most. A term must occur in two of them: one may be off the subject.

    Source: pseudo-relevance feedback, Manning, Raghavan and Schütze, Introduction to Information
    Retrieval, section 9.1.6.
    """
    weights: defaultdict[str, float] = defaultdict(float)
    spread: Counter[str] = Counter()
    for rank, section in enumerate(sections, start=1):
        for term, tf in Counter(find_terms(section.prose)).items():
            weights[term] += (1 + math.log(tf)) * index.idf.get(term, 0.0) / rank
            spread[term] += 1
    skip = set(known)
    fit = [term for term in weights if spread[term] > 1 and term not in skip and "_" not in term]
    return sorted(fit, key=lambda term: (-weights[term], term))[:count]


def find_terms(text: str) -> list[str]:
    """Return the terms of `text` in order, repeats included."""
    return [term for match in _TOKEN.findall(text) if (term := _find_term(*match))]


@functools.cache
def find_term_set(text: str) -> frozenset[str]:
    """Return the distinct terms of `text`; remembered, because sentences are compared often."""
    return frozenset(find_terms(text))


def stem(word: str) -> str:
    """Return `word` without its ending: `iterator`, `iterates` and `iterating` become `iter`."""
    for suffix in _SUFFIXES:
        root = word.removesuffix(suffix)
        if root == word or len(root) < _MIN_ROOT or (suffix == "s" and root.endswith("s")):
            continue
        doubled = (
            root[-1] == root[-2] and root[-1] not in "sl" and suffix in {"ing", "ed", "er", "ers"}
        )
        return root[:-1] if doubled else root + ("y" if suffix == "ies" else "")
    return word.removesuffix("e") if len(word) > _MIN_ROOT else word


@functools.cache
def _find_term(quoted: str, named: str, word: str) -> str:
    code = (quoted or named).lower().rstrip("*")
    if code in _AMBIGUOUS:
        return f"`{code}`"
    lowered = code or word.lower()
    if lowered in _NOISE or len(lowered) == 1:
        return ""
    return lowered if lowered in KEYWORDS or lowered.startswith("_") else stem(lowered)


def _count_terms(section: corpus.Section) -> Counter[str]:
    counts = Counter(find_terms(section.text))
    for term in find_terms(f"{section.title} {section.topic}"):
        counts[term] += TITLE_WEIGHT
    for term in find_terms(" ".join(section.path[:-1])):
        counts[term] += PATH_WEIGHT
    return counts
