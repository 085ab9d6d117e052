"""What answers the requests: it explains a function out of its source and of what is known.

No network and nothing canned: the explanation is made of the function's own docstring, parameters
and exceptions, and of the explanations of what it calls. It may answer with so many tokens only,
and fails when that is not enough, as models do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from whence.tokens import Price

if TYPE_CHECKING:
    from tokens_explain.source import Function

PROVIDER = "example"
SMALL, LARGE = "explain-small", "explain-large"
LIMITS = {SMALL: 60, LARGE: 400}
"""Tokens of the longest answer of each model."""
PRICES = {
    PROVIDER: {
        SMALL: Price(Decimal("0.0002"), Decimal("0.0008")),
        LARGE: Price(Decimal("0.003"), Decimal("0.015")),
    }
}
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    text: str
    complete: bool
    """Whether the answer was within the model's limit."""
    prompt_tokens: int
    completion_tokens: int


def count_tokens(text: str) -> int:
    """Return how many words and signs a text has."""
    return len(_TOKEN.findall(text))


def prompt_for(function: Function, known: dict[str, str]) -> str:
    """Return what is sent to have a function explained."""
    notes = "".join(f"\n- {name}: {text}" for name, text in known.items())
    return f"Explain {function.name}.\n{function.code}\nIt calls:{notes or ' nothing'}"


def explain(model: str, function: Function, known: dict[str, str]) -> Answer:
    """Return an explanation of a function, cut off at the model's limit."""
    parts = [f"{function.name}: {function.doc or 'undocumented'}."]
    if function.parameters:
        parts.append(f"It takes {', '.join(function.parameters)}.")
    if function.raises:
        parts.append(f"It raises {', '.join(function.raises)}.")
    parts += [f"It relies on {text}" for text in known.values()]
    text = " ".join(parts)
    words = list(_TOKEN.finditer(text))
    limit = LIMITS[model]
    complete = len(words) <= limit
    said = text if complete else text[: words[limit].start()].rstrip()
    return Answer(said, complete, count_tokens(prompt_for(function, known)), min(len(words), limit))
