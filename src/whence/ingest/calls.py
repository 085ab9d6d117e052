"""A provider's request and answer, which platforms keep whole, under the names of conventions.

Comes in: what went into a model call and what came out, in any form: an object of a chat API, a
list of messages, or a text. Goes out: the messages, parameters, tools and finish reasons that can
be told from it, as attributes that `semconv` knows. What has no such form is left to be the call's
input and output as they are.

Source: OpenAI chat completions and Responses, Anthropic Messages.
"""

from __future__ import annotations

from typing import Any

from whence.ingest import loose
from whence.ingest.loose import Fields

_PARAMETERS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "frequency_penalty",
        "presence_penalty",
        "stop",
        "stop_sequences",
        "seed",
        "n",
        "stream",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "logprobs",
    }
)


def of_request(request: Any) -> Fields:
    """Return what a request says, as attributes."""
    if _is_conversation(request):
        return {"gen_ai.input.messages": request}
    asked, made = loose.mapping(request), Fields()
    for name in ("messages", "input", "contents"):
        if _is_conversation(asked.get(name)):
            made["gen_ai.input.messages"] = asked[name]
            break
    else:
        return made
    for name, attribute in (
        ("system", "gen_ai.system_instructions"),
        ("instructions", "gen_ai.system_instructions"),
        ("tools", "gen_ai.tool.definitions"),
        ("model", "gen_ai.request.model"),
    ):
        if asked.get(name):
            made.setdefault(attribute, asked[name])
    for name in asked.keys() & _PARAMETERS:
        if asked[name] is not None:
            made[f"gen_ai.request.{name}"] = asked[name]
    return made


def _is_conversation(value: Any) -> bool:
    items = loose.sequence(value)
    return bool(items) and all(isinstance(one, dict) and "role" in one for one in items)


def of_answer(answer: Any) -> Fields:
    """Return what an answer says, as attributes."""
    if _is_conversation(answer):
        return {"gen_ai.output.messages": answer}
    said = loose.mapping(answer)
    choices = loose.mappings(said.get("choices"))
    messages = [one["message"] for one in choices if isinstance(one.get("message"), dict)]
    reasons = [text for one in choices if (text := loose.text(one.get("finish_reason")))]
    if not messages and "role" in said and "content" in said:
        messages = [answer]
        reasons = [text for name in ("stop_reason",) if (text := loose.text(said.get(name)))]
    if not messages:
        return {}
    made: Fields = {"gen_ai.output.messages": messages}
    if reasons:
        made["gen_ai.response.finish_reasons"] = reasons
    for name, attribute in (("id", "gen_ai.response.id"), ("model", "gen_ai.response.model")):
        if loose.text(said.get(name)):
            made[attribute] = said[name]
    return made
