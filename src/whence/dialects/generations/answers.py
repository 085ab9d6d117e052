"""What an answer of OpenAI's two APIs says, read from its JSON.

Comes in: the body of a Chat Completions or Responses answer, decoded, of OpenAI or of a server that
copies it. Goes out: an `Answer` with text, reasoning, counts and the reason why the model stopped.
Whatever a body lacks, or has in another form than documented, is None; nothing raises and nothing
is sent. Sources: the API references of Chat Completions and Responses; for reasoning texts,
document 4 (generation trace): the parts of the summary, joined by empty lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from whence.dialects.shared.plain import as_dict, as_list, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FENCE = re.compile(r"```(?:[ \t]*[\w+.#-]*[ \t]*\r?\n|json\b)?", re.IGNORECASE)
_FENCE_LINE = re.compile(r"^[ \t]*```", re.MULTILINE)
_FAILED = frozenset({"failed", "cancelled"})
_TEXT_PARTS = frozenset({"text", "output_text"})


class Counts(msgspec.Struct, frozen=True):
    """Tokens as a provider states them: totals, not buckets."""

    prompt: int | None = None
    """Input tokens."""
    completion: int | None = None
    """Output tokens."""
    total: int | None = None
    """All tokens."""
    reasoning: int | None = None
    """Tokens spent on reasoning."""


class Answer(msgspec.Struct, frozen=True):
    """What one answer says."""

    text: str | None = None
    """The answer as it came; None if it has no text, as when it calls a tool."""
    reasoning: str | None = None
    """The text of the reasoning."""
    model: str | None = None
    """The model that answered."""
    response_id: str | None = None
    """The provider's id of the answer."""
    finish_reason: str | None = None
    """Why the model stopped: Chat Completions' own word; of Responses the status, or why the answer
    is incomplete."""
    refusal: str | None = None
    """What the model said in place of an answer."""
    usage: dict[str, Any] | None = None
    """The provider's own usage object."""
    output: Any = None
    """All that came back: the text where that is all, else message or items as they are."""
    error: dict[str, Any] | None = None
    """What went wrong, of an answer that says so itself: `type` and `message`."""


def of_chat(body: Mapping[str, Any]) -> Answer:
    """Return what an answer of Chat Completions says; of several choices, the first."""
    choices = as_list(body.get("choices"))
    choice = as_dict(choices[0]) if choices else {}
    message = as_dict(choice.get("message"))
    text = _text_of(message.get("content"))
    # Not OpenAI's own: vLLM, DeepSeek and others say `reasoning_content`, OpenRouter `reasoning`.
    reasoning = as_text(message.get("reasoning_content")) or as_text(message.get("reasoning"))
    is_plain = text is not None and not message.get("tool_calls") and len(choices) == 1
    return Answer(
        text=text,
        reasoning=reasoning,
        model=as_text(body.get("model")),
        response_id=as_text(body.get("id")),
        finish_reason=as_text(choice.get("finish_reason")),
        refusal=as_text(message.get("refusal")),
        usage=as_dict(body.get("usage")) or None,
        output=text if is_plain else message if len(choices) == 1 else choices or None,
        error=_error(body),
    )


def of_responses(body: Mapping[str, Any]) -> Answer:
    """Return what an answer of the Responses API says."""
    items = [as_dict(item) for item in as_list(body.get("output"))]
    parts = [
        as_dict(part)
        for item in items
        if item.get("type") == "message"
        for part in as_list(item.get("content"))
    ]
    texts = [
        text for p in parts if p.get("type") in _TEXT_PARTS and (text := as_text(p.get("text")))
    ]
    text = "".join(texts) if texts else None
    status = as_text(body.get("status"))
    stopped = as_text(as_dict(body.get("incomplete_details")).get("reason"))
    error = _error(body)
    if error is None and status in _FAILED:
        error = {"type": status, "message": f"the provider says that the answer is {status}"}
    is_plain = text is not None and {item.get("type") for item in items} <= {"message", "reasoning"}
    return Answer(
        text=text,
        reasoning=_reasoning(items),
        model=as_text(body.get("model")),
        response_id=as_text(body.get("id")),
        finish_reason=stopped or status,
        refusal=next((r for p in parts if (r := as_text(p.get("refusal")))), None),
        usage=as_dict(body.get("usage")) or None,
        output=text if is_plain else items or None,
        error=error,
    )


def _reasoning(items: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the summaries of the reasoning; the reasoning itself where a model gives only that."""
    thoughts = [item for item in items if item.get("type") == "reasoning"]
    for key in ("summary", "content"):
        texts = [
            text
            for item in thoughts
            for part in as_list(item.get(key))
            if (text := as_text(as_dict(part).get("text")))
        ]
        if texts:
            return "\n\n".join(texts)
    return None


def _error(body: Mapping[str, Any]) -> dict[str, Any] | None:
    said = body.get("error")
    if not said:
        return None
    fields = as_dict(said)
    kind = as_text(fields.get("code")) or as_text(fields.get("type")) or "error"
    return {"type": kind, "message": as_text(fields.get("message")) or str(said)[:1_000]}


def counts(stated: Mapping[str, Any] | None) -> Counts:
    """Return the tokens that a usage object states.

    Of the three providers whose names the record model knows; see `whence.record.usage`.
    """
    if stated is None:
        return Counts()
    inner: dict[str, Any] = {}
    for name in ("output_tokens_details", "completion_tokens_details"):
        inner |= as_dict(stated.get(name))
    return Counts(
        prompt=_first(stated, "prompt_tokens", "input_tokens", "prompt_token_count"),
        completion=_first(stated, "completion_tokens", "output_tokens", "candidates_token_count"),
        total=_first(stated, "total_tokens", "total_token_count"),
        reasoning=_first(
            {**stated, **inner},
            "reasoning_tokens",
            "thoughts_token_count",
            "thinking_token_count",
            "reasoning_token_count",
        ),
    )


def without_fence(raw: str | None) -> str:
    """Return an answer without the markdown fence around it, if one fence is around all of it.

    A fence that was never closed, as in an answer that was cut off, goes too.
    """
    text = (raw or "").strip()
    opening = _FENCE.match(text)
    if opening is None:
        return text
    inner = text[opening.end() :]
    if "```" not in inner:
        return inner.strip()
    inside = inner.removesuffix("```")
    # Inside a line three backticks are part of the text, such as code in a JSON value.
    is_whole = inside != inner and _FENCE_LINE.search(inside) is None
    return inside.strip() if is_whole else text


def prompt_text(messages: Sequence[Any]) -> str | None:
    """Return what was sent as one text: of one message its text, of several each with its role.

    None if nothing was sent, or nothing of it can be read any more.
    """
    texts = [(as_text(as_dict(m).get("role")), _message_text(m)) for m in messages]
    if all(text is None for _, text in texts):
        return None
    if len(texts) == 1:
        return texts[0][1]
    return "\n\n".join(f"[{role or 'unknown'}]\n{text or ''}" for role, text in texts)


def _message_text(message: Any) -> str | None:
    if isinstance(message, str):
        return message
    fields = as_dict(message)
    if "$whence" in fields:  # withheld, shortened, or in a blob that is gone
        return as_text(fields.get("preview"))
    return _text_of(fields.get("content"))


def _text_of(content: Any) -> str | None:
    """Return the text of a message's content: a text, or the texts of its parts."""
    if isinstance(content, str):
        return content
    parts = [as_dict(part) for part in as_list(content)]
    texts = [text for part in parts if (text := as_text(part.get("text"))) is not None]
    return "".join(texts) if texts else None


def _first(stated: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = stated.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
