"""The kinds of errors a false statement may have, and how to make one by rule.

Comes in: a true sentence and a kind. Goes out: the sentence with one error of that kind, or nothing
where the sentence has no word the kind applies to.
"""

from __future__ import annotations

import re

MEANINGS = {
    "wrong_negation": "it denies what is so, or the other way round",
    "wrong_order": "it turns before into after, first into last, at least into at most",
    "wrong_scope": "it turns all into none, always into never, only into not only",
    "wrong_kind": "it names another kind of thing: a tuple for a list, a warning for an exception",
}
_SWAPS = {
    "wrong_negation": (
        (r"\bis not\b", "is"),
        (r"\bare not\b", "are"),
        (r"\bcannot\b", "can"),
        (r"\bmust\b", "must not"),
        (r"\bmay\b", "may not"),
        (r"\bcan\b", "cannot"),
        (r"\bis\b", "is not"),
        (r"\bare\b", "are not"),
    ),
    "wrong_order": (
        (r"\bbefore\b", "after"),
        (r"\bafter\b", "before"),
        (r"\bfirst\b", "last"),
        (r"\blast\b", "first"),
        (r"\bat least\b", "at most"),
        (r"\bleft\b", "right"),
        (r"\bright\b", "left"),
    ),
    "wrong_scope": (
        (r"\balways\b", "never"),
        (r"\bnever\b", "always"),
        (r"\ball\b", "none of the"),
        (r"\bonly\b", "not only"),
        (r"\bany\b", "no"),
        (r"\beach\b", "no"),
    ),
    "wrong_kind": (
        (r"\blist\b", "tuple"),
        (r"\bexception\b", "warning"),
        (r"\bmethod\b", "attribute"),
        (r"\bmodule\b", "package"),
        (r"\bclass\b", "function"),
        (r"\bstring\b", "number"),
        (r"\binteger\b", "string"),
    ),
}


def make(sentence: str, kind: str) -> str | None:
    """Return the sentence with one error of a kind; None where it does not apply."""
    for pattern, wrong in _SWAPS.get(kind, ()):
        made, count = re.subn(pattern, wrong, sentence, count=1)
        if count:
            return made
    return None
