"""What reasoning says about the answer it led to: doubts, corrections, rules that were given up.

Comes in: the text of a model's reasoning. Goes out: the passages that are worth a look, each with
the rule that found it. The rules are words and phrases of English, in a table that may be replaced;
nothing is understood here, so that a signal is a reason to look and no verdict. `review_reasoning`
turns them into a request for review.

Source: document 4 (generation trace), "self-review: parse reasoning content for quality signals".
The words are our own choice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from whence.dialects.generations import review, stored
from whence.dialects.generations.traces import APPROVED, PENDING_REVIEW

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from whence.query.reader import Reader

BY = "self-review"
"""Who the remarks of `review_reasoning` are by."""
_QUOTE_CHARS = 120
_MAX_CHARS = 1 << 20


class Rule(msgspec.Struct, frozen=True):
    """One sort of passage to look for."""

    kind: str
    """What it is called."""
    pattern: str
    """A regular expression; upper and lower case are the same to it."""
    enough: int = 1
    """How many such passages ask for a review."""


RULES = (
    Rule(
        "rule_given_up",
        r"\b(?:can(?:not|'t) (?:satisfy|meet|follow|fulfil+)|(?:violat|contradict)(?:es|ing|ed)? "
        r"(?:the|this|that|my)|conflicts? with|impossible to (?:satisfy|meet)|ignor(?:e|ing) "
        r"(?:the|this|that) (?:rule|constraint|instruction|requirement))",
    ),
    Rule(
        "settled_for_less",
        r"\b(?:good enough|close enough|settle for|just (?:pick|go with|output|guess)|give up|"
        r"have to guess)\b",
    ),
    Rule(
        "doubt",
        r"\b(?:not (?:entirely |completely |really |quite )?(?:sure|certain)|unsure|uncertain|"
        r"i(?:'m| am) guessing|might be (?:wrong|incorrect)|could be (?:wrong|incorrect)|"
        r"i doubt)\b",
        enough=2,
    ),
    Rule(
        "correction",
        r"(?:^|[.!?\n]\s*)(?:wait|hmm+|hold on|scratch that|no, that|actually, (?:no|that))\b|"
        r"\b(?:on second thought|i made a mistake|let me (?:re-?check|reconsider|redo|correct)|"
        r"that(?:'s| is) (?:wrong|incorrect|not right))\b",
        enough=3,
    ),
    Rule(
        "assumption",
        r"\b(?:i(?:'ll| will)? (?:just )?assume|assuming (?:that|the|it)|"
        r"not (?:given|specified|provided|stated))\b",
        enough=3,
    ),
)
"""What is looked for unless other rules are given."""


class Signal(msgspec.Struct, frozen=True):
    """One passage."""

    kind: str
    """The rule that found it."""
    unit: int
    """Place of the unit whose reasoning it stands in, from 0."""
    offset: int
    """Where it begins, in characters."""
    quote: str
    """The passage, with some of what stands around it."""


class ReasoningReview(msgspec.Struct, frozen=True):
    """What the reasoning of one thing says of it."""

    id: str
    """The thing's id."""
    signals: list[Signal]
    """The passages, in order."""
    issues: list[str]
    """The kinds of which there are enough to ask for a review."""
    is_known: bool
    """Whether there was any reasoning to read."""

    @property
    def quality_status(self) -> str | None:
        """`pending_review` if there are issues, `approved` if there are none; null if unknown."""
        if not self.is_known:
            return None
        return PENDING_REVIEW if self.issues else APPROVED


def find_signals(reasoning: str, *, rules: Sequence[Rule] = RULES, unit: int = 0) -> list[Signal]:
    """Return the passages of a reasoning that the rules find, in order."""
    text = reasoning[:_MAX_CHARS].replace("\u2019", "'")
    found = [
        Signal(rule.kind, unit, match.start(), _quote(text, match.start(), match.end()))
        for rule in rules
        for match in re.finditer(rule.pattern, text, re.IGNORECASE)
    ]
    return sorted(found, key=lambda signal: signal.offset)


def _quote(text: str, begin: int, end: int) -> str:
    around = max(0, _QUOTE_CHARS - (end - begin)) // 2
    return " ".join(text[max(0, begin - around) : end + around].split())


def issues_of(signals: Iterable[Signal], rules: Sequence[Rule] = RULES) -> list[str]:
    """Return the kinds of which there are enough to ask for a review."""
    kinds = [signal.kind for signal in signals]
    return [rule.kind for rule in rules if kinds.count(rule.kind) >= rule.enough]


def review_reasoning(
    reader: Reader, any_id: str, *, rules: Sequence[Rule] = RULES, write: bool = True
) -> ReasoningReview:
    """Return what the reasoning of a thing says of it; ask for a review if it says enough.

    Args:
        reader: An open reader.
        any_id: The thing.
        rules: What to look for.
        write: Ask for the review, with the passages, if there are issues and nobody has judged the
            thing or asked before; otherwise only say so.

    Raises:
        NotFoundError: Nothing has that id.
        StoreError: The request could not be written.
    """
    found = stored.get_trace(reader, any_id)
    texts = [unit.get("reasoning_content") for unit in found.units]
    signals = [
        signal
        for place, reasoning in enumerate(texts)
        if isinstance(reasoning, str)
        for signal in find_signals(reasoning, rules=rules, unit=place)
    ]
    issues = issues_of(signals, rules)
    if write and issues and found.state.is_recorded and found.state.status != PENDING_REVIEW:
        quotes = "\n".join(f"- {signal.kind}: {signal.quote}" for signal in signals)
        review.request_review(reader, found.id, issues=issues, note=quotes, by=BY)
    is_known = any(isinstance(reasoning, str) for reasoning in texts)
    return ReasoningReview(found.id, signals, issues, is_known)
