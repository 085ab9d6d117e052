"""What a completion of a moatless search tree says of the calls of a model.

Comes in: a completion, or one of the attempts that newer files tell. Goes out: the fields of a
model call: times, answer, cost, and tokens in the buckets of the provider.

Source: moatless-tools, `completion/model.py` and `completion/stats.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence.ingest import loose, usage
from whence.ingest.stated import time_ns

if TYPE_CHECKING:
    from whence.ingest.loose import Fields
    from whence.record.generation import Usage


def _stated_ns(value: Any) -> int | None:
    """Return a time of a call as Unix nanoseconds; what was never set is written as 0."""
    return time_ns(value) or None


def began_ns(completion: Fields) -> int | None:
    """Return when a completion began, or else when its answer was made."""
    attempts = loose.mappings(completion.get("attempts"))
    for one in (completion, *attempts):
        at_ns = _stated_ns(one.get("start_time"))
        if at_ns is not None:
            return at_ns
    return _stated_ns(loose.mapping(completion.get("response")).get("created"))


def of_attempt(attempt: Fields, number: int) -> Fields:
    """Return the fields of a call that one attempt at a completion tells."""
    began_ns, ended_ns = (_stated_ns(attempt.get(name)) for name in ("start_time", "end_time"))
    told = _figures(loose.mapping(attempt.get("usage")), {})
    told |= {"ended_ns": ended_ns, "attempt": loose.count(attempt.get("attempt_number"))}
    told["attempt"] = told["attempt"] or number + 1
    if began_ns is not None and ended_ns is not None and ended_ns >= began_ns:
        told["duration_ns"] = ended_ns - began_ns
    if attempt.get("success") is False:
        reason = loose.text(attempt.get("failure_reason")) or ""
        told |= {"status": "error", "error": {"type": "failed attempt", "message": reason}}
    return told


def of_answer(completion: Fields) -> Fields:
    """Return the fields of a call that a completion with a provider's answer tells."""
    answer = loose.mapping(completion.get("response"))
    choice = loose.first(answer.get("choices")) or answer
    message = loose.mapping(choice.get("message"))
    retries = loose.count(completion.get("retries"))
    told = _figures(loose.mapping(completion.get("usage")), loose.mapping(answer.get("usage")))
    return told | {
        "ended_ns": began_ns(completion),
        "response_model": loose.text(answer.get("model")),
        "response_id": loose.text(answer.get("id")),
        "output": message or answer.get("content") or completion.get("response"),
        "reasoning": loose.text(message.get("reasoning_content")),
        "finish_reason": loose.text(choice.get("finish_reason", choice.get("stop_reason"))),
        "attempt": None if retries is None else retries + 1,
    }


def _figures(stated: Fields, own: Fields) -> Fields:
    """Return usage and cost of a call.

    Args:
        stated: What moatless states.
        own: What the provider stated.
    """
    cost = loose.amount(stated.get("completion_cost"))
    told: Fields = {"usage": _usage(stated, own)}
    return told if cost is None else told | {"cost_usd": cost, "cost_source": "declared"}


def _usage(stated: Fields, own: Fields) -> Usage | None:
    """Return the tokens of a call: the words of moatless, in the buckets of the provider.

    Moatless counts what is written to a cache as input, and what is read from it as input or not,
    as the provider does. So its counts do not tell which, and those of the provider do.
    """
    if not stated.keys() - {"completion_cost", "version"}:
        return usage.of_stated(own)
    sums, parts = usage.figures(stated), usage.figures(own)
    sent = parts.input or 0
    agree = sums.output == parts.output and sums.input in (sent, sent + (parts.cache_write or 0))
    has_parts = any(
        part is not None for part in (parts.cache_read, parts.cache_write, parts.reasoning)
    )
    found = usage.of_stated(own) if agree and has_parts else None
    if found is None:
        return usage.of_stated(stated)
    return msgspec.structs.replace(found, stated=stated)
