"""The report, written from the kept sections by choosing sentences.

Every claim is a sentence of the reference, word for word, followed by the number of its section.
A sentence is chosen for what it says about the question, marked down for resembling one already
chosen.

Source: Carbonell and Goldstein, The Use of MMR, Diversity-Based Reranking, SIGIR 1998.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from python_reference import corpus, retrieval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from python_reference.evidence import Candidate
    from python_reference.intake import Brief
    from python_reference.rubric import Rubric
    from python_reference.settings import Settings

LIMIT = re.compile(
    r"\b(?:only|must|cannot|not|never|unless|except|errors?|raised?|raises|illegal|exceptions?)\b",
    re.IGNORECASE,
)
CONTRAST = re.compile(
    r"\b(?:whereas|instead|unlike|rather|otherwise|alternatively|or|either|both|while|although|"
    r"contrast|differs?|different|differences?|same|equivalent)\b",
    re.IGNORECASE,
)
DEFINITION = re.compile(
    r"\b(?:is|are) (?:an?|the|called|used|defined|said)\b"
    r"|\b(?:means|refers to|denotes|defines?|called)\b",
    re.IGNORECASE,
)
_MAX_WORDS = 48
_MIN_WORDS = 6
_ANSWER = 2
_ASIDE = 3
_MAX_CODE_LINES = 24


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence that could be, or was, quoted."""

    text: str
    section: corpus.Section
    place: int
    """Its place in the section, from 0."""
    score: float


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the outline, and why it is there or is not."""

    title: str
    score: float
    """How much of what it needs was found, 0 to 1."""
    rejected: str = ""
    """Why it was left out; empty when it is in."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was written, and from what."""

    markdown: str
    sources: tuple[corpus.Section, ...]
    """What the citations point to; number one is the first."""
    outline: tuple[Part, ...]
    considered: int
    """How many sentences could have been quoted."""
    quoted: int
    """How many were; 0 when a model wrote the report."""

    @property
    def cited(self) -> list[corpus.Section]:
        """The sections that the report really cites."""
        body = self.markdown.split("\n## Sources", 1)[0]
        numbers = {int(number) for number in re.findall(r"\[(\d+)\]", body)}
        return [s for number, s in enumerate(self.sources, start=1) if number in numbers]

    @property
    def parts(self) -> list[str]:
        """The titles of the outline that made it into the report."""
        return [part.title for part in self.outline if not part.rejected]

    @property
    def fullness(self) -> float:
        """How much of what its parts need was found, 0 to 1."""
        scores = [part.score for part in self.outline if not part.rejected]
        return sum(scores) / len(scores) if scores else 0.0

    @property
    def part_options(self) -> list[dict[str, Any]]:
        """The parts as options of a decision."""
        return [
            {
                "name": part.title,
                "score": part.score,
                "chosen": not part.rejected,
                "reason_rejected": part.rejected or None,
            }
            for part in self.outline
        ]


def write_report(
    brief: Brief, rubric: Rubric, verdicts: Sequence[Candidate], settings: Settings
) -> Report:
    """Return the report on `brief`, written from the sections that were kept."""
    kept = [verdict for verdict in verdicts if verdict.kept]
    pool = [claim for verdict in kept for claim in _iter_claims(brief, rubric, verdict, settings)]
    main = _choose(pool, settings.sentences, settings.diversity)
    parts = {"Answer": main[:_ANSWER], "Details": sorted(main[_ANSWER:], key=_reading_order)}
    wanted = {
        "Conditions and exceptions": (settings.limits, _matches(LIMIT)),
        "Alternatives": (settings.alternatives, _matches(CONTRAST)),
    }
    outline = [Part("Answer", _share(main, _ANSWER), "" if main else "no section was kept")]
    outline.append(
        Part("Details", _share(main, settings.sentences), "" if parts["Details"] else "too little")
    )
    used = {claim.text for claim in main}
    for title, (asked, fits) in wanted.items():
        rest = [claim for claim in pool if claim.text not in used and fits(claim.text)]
        found = _choose(rest, _ASIDE, settings.diversity)
        reason = "" if asked and found else "no sentence fits" if asked else "not asked for"
        outline.append(Part(title, _share(found, _ASIDE), reason))
        if not reason:
            parts[title] = found
            used.update(claim.text for claim in found)
    code = _find_code(brief, kept if settings.code else kept[:1])
    reason = "" if code else "no kept section shows code" if settings.code else "none in the best"
    outline.append(Part("Example", 1.0 if code else 0.0, reason))
    return _render(brief, parts, code, tuple(outline), len(pool))


def adopt_report(
    brief: Brief, text: str, sections: Sequence[corpus.Section], wanted: int
) -> Report:
    """Return as a report what a model wrote from `sections`, numbered from 1."""
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", text)}
    found = [title.strip() for title in re.findall(r"^## (.+)$", text, re.MULTILINE)]
    lines = [f"# {brief.question}", "", text.strip(), "", "## Sources", ""]
    lines += [f"[{n}] {s.id}: {s.label}" for n, s in enumerate(sections, start=1) if n in cited]
    outline = tuple(Part(title, 1.0) for title in found)
    return Report("\n".join(lines) + "\n", tuple(sections), outline, wanted, 0)


def _iter_claims(
    brief: Brief, rubric: Rubric, verdict: Candidate, settings: Settings
) -> Iterable[Claim]:
    title = retrieval.find_term_set(verdict.section.title)
    place = 0
    for passage in verdict.section.passages:
        if passage.kind != "prose":
            continue
        for sentence in corpus.split_sentences(passage.text):
            place += 1
            if not _is_quotable(sentence):
                continue
            terms = retrieval.find_term_set(sentence)
            said = sum(share for term, share in brief.terms.items() if term in terms)
            implied = sum(s for t, s in brief.terms.items() if t in title and t not in terms)
            score = said + 0.4 * implied
            score += 0.08 * sum(w for term, w in rubric.subtopics.items() if term in terms)
            score += 0.1 / place
            if settings.definitions and said and DEFINITION.search(sentence):
                score += 0.2
            yield Claim(sentence, verdict.section, place, score * (0.4 + verdict.composite))


def _is_quotable(sentence: str) -> bool:
    words = len(sentence.split())
    return (
        _MIN_WORDS <= words <= _MAX_WORDS
        and sentence[-1] in '.!?)"'
        and sentence[0].isupper() | (sentence[0] in "\"*'_")
        and not sentence.startswith(("Changed in version", "See ", "Note that the spec"))
    )


def _choose(pool: Sequence[Claim], count: int, diversity: float) -> list[Claim]:
    """Return `count` claims by maximal marginal relevance, in the order they were chosen."""
    left = {claim.text: claim for claim in sorted(pool, key=lambda claim: claim.score)}
    likeness = dict.fromkeys(left, 0.0)
    chosen = list[Claim]()
    while left and len(chosen) < count:
        best = max(left, key=lambda text: left[text].score - diversity * likeness[text])
        chosen.append(left.pop(best))
        for text in left:
            likeness[text] = max(likeness[text], measure_likeness(best, text))
    return chosen


def measure_likeness(one: str, other: str) -> float:
    """Return the share of terms two sentences have in common, 0 to 1."""
    a, b = retrieval.find_term_set(one), retrieval.find_term_set(other)
    return len(a & b) / max(1, len(a | b))


def _find_code(
    brief: Brief, kept: Sequence[Candidate]
) -> tuple[corpus.Passage, corpus.Section] | None:
    found = [
        (_rate_code(brief, passage) * verdict.composite, passage, verdict.section)
        for verdict in kept
        for passage in verdict.section.passages
        if passage.kind == "code" and passage.text.count("\n") < _MAX_CODE_LINES
    ]
    return max(found, key=lambda item: item[0])[1:] if found else None


def _rate_code(brief: Brief, passage: corpus.Passage) -> float:
    words = set(re.findall(r"\w+", passage.text.lower()))
    terms = retrieval.find_term_set(f"{passage.lead_in} {passage.text}")
    said = sum(s for term, s in brief.terms.items() if term in terms or term.strip("`") in words)
    return 0.2 + said + 0.1 * min(1.0, passage.text.count("\n") / 4)


def _render(
    brief: Brief,
    parts: dict[str, list[Claim]],
    code: tuple[corpus.Passage, corpus.Section] | None,
    outline: tuple[Part, ...],
    considered: int,
) -> Report:
    numbers: dict[str, int] = {}
    sources = list[corpus.Section]()

    def cite(section: corpus.Section) -> str:
        if section.id not in numbers:
            numbers[section.id] = len(numbers) + 1
            sources.append(section)
        return f"[{numbers[section.id]}]"

    lines = [f"# {brief.question}"]
    for title, claims in parts.items():
        if not claims:
            continue
        lines += ["", f"## {title}", ""]
        above = ""
        for claim in claims:
            if title == "Details" and claim.section.id != above:
                lines += [f"From *{claim.section.label}*:", ""]
                above = claim.section.id
            lines += [f"{claim.text} {cite(claim.section)}", ""]
        lines.pop()
    if code:
        passage, section = code
        lines += ["", f"## Example {cite(section)}", "", "```python", passage.text, "```"]
    lines += ["", "## Sources", ""]
    lines += [f"[{n}] {s.id}: {s.label}" for n, s in enumerate(sources, start=1)]
    quoted = sum(len(claims) for claims in parts.values())
    return Report("\n".join(lines) + "\n", tuple(sources), outline, considered, quoted)


def _reading_order(claim: Claim) -> tuple[str, int]:
    return claim.section.id, claim.place


def _share(found: Sequence[Claim], wanted: int) -> float:
    return round(min(1.0, len(found) / max(1, wanted)), 3)


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.search(text) is not None
