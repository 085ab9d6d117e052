"""What judges said, in the forms that platforms keep it: a number, a yes or no, a word, or more.

Comes in: the verdict of one judgement and what belongs to it. Goes out: a `Score`. A number is its
value, yes and no say whether it passed, a word stands where people read it, and whatever is none of
these is kept with the attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.ingest import loose
from whence.record.score import Score

if TYPE_CHECKING:
    from whence.ingest.loose import Fields

_PASSED = {
    **dict.fromkeys(("pass", "passed", "yes", "true", "correct"), True),
    **dict.fromkeys(("fail", "failed", "no", "false", "incorrect"), False),
}
"""Words of judges that say whether something passed."""


def score(
    place: Fields,
    ts_ns: int | None,
    name: str | None,
    verdict: Any,
    *,
    label: str | None = None,
    feedback: str | None = None,
    by: str | None = None,
    target: str | None = None,
    attributes: Fields | None = None,
) -> Score:
    """Return a judgement.

    Args:
        place: `run`, `span` and `id` of the record.
        ts_ns: When it was made, Unix time.
        name: What was judged.
        verdict: What was said: a number, a truth, a word, or any value.
        label: The word that stands for a number.
        feedback: The reason.
        by: Who judged.
        target: Id of what was judged, where that is not the place.
        attributes: What else was said.
    """
    value, passed = None, None
    kept: Fields = {k: v for k, v in (attributes or {}).items() if v is not None}
    if isinstance(verdict, bool):
        passed = verdict
    elif isinstance(verdict, (int, float)):
        value = loose.number(verdict)
        if value is None:
            kept["value"] = verdict
    elif isinstance(verdict, str):
        label = label or verdict
    elif verdict is not None:
        kept["value"] = verdict
    if label:
        kept["label"] = label
        passed = _PASSED.get(label.lower()) if passed is None else passed
    return Score(
        ts=_clock.format_ns(ts_ns or 0),
        **place,
        name=name or "score",
        value=value,
        target=target,
        passed=passed,
        feedback=feedback or label or "",
        by=by,
        attributes=kept or None,
    )
