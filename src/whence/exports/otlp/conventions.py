"""The names that a model call, a tool call, a retrieval and any other span get in a trace.

Comes in: rows. Goes out: attributes of spans. OpenInference has no name for the operation, the id
of an answer, the seed, the time to the first chunk and the like: those get their GenAI name under
either convention. What neither has a name for is under `whence.`, structured values as JSON.

Tokens: both conventions count cached tokens inside the input and reasoning inside the output, and
so the sums of the buckets are given. A sum is given only where its main part is known: without it
nobody knows the whole.

Source: OpenTelemetry GenAI semantic conventions 1.41; OpenInference specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from whence.exports.otlp import events, messages
from whence.exports.otlp.model import Options, clean, exact, json_text, plain
from whence.ingest import own

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from whence.record.generation import Usage
    from whence.store import rows as r

OPERATIONS = frozenset(
    {
        "chat",
        "generate_content",
        "text_completion",
        "completion",
        "embeddings",
        "rerank",
        "responses",
    }
)
"""Operations that are named as they are; any other is one that generates content."""
_EMBEDDING = frozenset({"embeddings", "embedding", "embed"})
_OPENINFERENCE_KINDS = {
    "generation": "LLM",
    "tool": "TOOL",
    "retrieval": "RETRIEVER",
    "agent": "AGENT",
    "evaluation": "EVALUATOR",
    "guardrail": "GUARDRAIL",
}
_GENAI_OPERATIONS = {"agent": "invoke_agent", "retrieval": "retrieval", "tool": "execute_tool"}
NAMED = frozenset({"model", "seed"})
"""Parameters whose name with `gen_ai.request.` in front is another field's."""
_OWN = (
    "name",
    "duration_ms",
    "stage",
    "attempt",
    "cost_source",
    "price",
    "media",
    "policy",
    "attributes",
    "first_chunk_ms",
)
_OWN_OF_TOOLS = (
    "duration_ms",
    "stage",
    "cache_hit",
    "cache_key",
    "retry_count",
    "rate_limit_delay_ms",
    "attributes",
)
_TEXTS = frozenset({"name", "cache_key"})
"""Those of them that are written as they are, whatever they look like."""
_BUCKETS = ("input_uncached", "cache_read", "cache_write", "output_visible", "reasoning")
_JSON_STARTS = ("{", "[", '"')


def of_span(kind: str, agent: str | None, options: Options) -> dict[str, Any]:
    """Return what says what a span is."""
    made: dict[str, Any] = {"whence.span.kind": plain(kind)}
    if options.openinference:
        made["openinference.span.kind"] = _OPENINFERENCE_KINDS.get(kind, "CHAIN")
        if agent:
            made["agent.name"] = plain(agent)
    if options.genai:
        if kind in _GENAI_OPERATIONS:
            made["gen_ai.operation.name"] = _GENAI_OPERATIONS[kind]
        if agent:
            made["gen_ai.agent.name"] = plain(agent)
    return made


def of_value(name: str, value: Any) -> dict[str, Any]:
    """Return `input.value` or `output.value` with how it is written.

    Both conventions' readers take these names; the GenAI conventions have none for a plain span.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        return {f"{name}.value": plain(value)}
    return {f"{name}.value": json_text(value), f"{name}.mime_type": "application/json"}


def operation_of(row: r.GenerationRow) -> str:
    """Return the operation that a call is given."""
    if row.operation is None:
        return "chat"
    return row.operation if row.operation in OPERATIONS else "generate_content"


def of_generation(row: r.GenerationRow, options: Options) -> dict[str, Any]:
    """Return the attributes of a model call."""
    operation = operation_of(row)
    stated: dict[str, Any] = {
        "whence.span.kind": "generation",
        "gen_ai.operation.name": operation,
        "gen_ai.response.id": row.response_id,
        "gen_ai.response.model": row.response_model,
        "gen_ai.response.finish_reasons": [row.finish_reason]
        if row.finish_reason is not None
        else None,
        "gen_ai.response.time_to_first_chunk": _seconds(row.first_chunk_ms),
        "gen_ai.request.seed": row.seed,
        "gen_ai.prompt.name": row.prompt_name,
        "gen_ai.prompt.version": row.prompt_version,
        "whence.generation.id": row.id,
        "whence.generation.status": exact(row.status),
    }
    if operation != row.operation:
        stated["whence.generation.operation"] = exact(row.operation)
    if options.genai:
        stated["gen_ai.provider.name"] = row.provider
        stated["gen_ai.request.model"] = row.model
        stated["gen_ai.usage.cost"] = row.cost_usd
    if options.openinference:
        embeds = operation in _EMBEDDING
        stated["openinference.span.kind"] = (
            "EMBEDDING" if embeds else "RERANKER" if operation == "rerank" else "LLM"
        )
        stated["llm.provider"] = row.provider
        stated["embedding.model_name" if embeds else "llm.model_name"] = row.model
        stated["llm.cost.total"] = row.cost_usd
    stated |= _own(row, "whence.generation.", _OWN)
    made = {name: plain(value) for name, value in stated.items() if value is not None}
    made |= of_usage(row.usage, options)
    made |= _parameters(row.parameters, options)
    return made | _conversation(row, options) if options.content else made


def _own(row: r.PointRow, prefix: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a call that only whence gives a meaning."""
    return {
        prefix + name: value if name in _TEXTS else exact(value)
        for name in events.said(row, names)
        if (value := getattr(row, name)) is not None
    }


def _conversation(row: r.GenerationRow, options: Options) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in (("output", row.output), ("reasoning", row.reasoning)):
        if messages.answer_read(row, options)[name] != value:
            made[f"whence.generation.{name}"] = exact(value)
    if row.prompt_template is not None:
        made["llm.prompt_template.template"] = plain(row.prompt_template)
    if options.genai:
        if row.messages:
            made["gen_ai.input.messages"] = json_text(messages.sent_as_parts(row.messages))
            if messages.is_chat(row.messages):
                made[own.FORM] = own.CHAT
        answer = messages.answered_as_parts(row.output, row.reasoning, row.finish_reason)
        if answer:
            made["gen_ai.output.messages"] = json_text(answer)
    if options.openinference:
        made |= messages.spread("llm.input_messages", row.messages)
        made |= messages.spread("llm.output_messages", _answer_with_reasoning(row))
    return made


def _answer_with_reasoning(row: r.GenerationRow) -> list[Any]:
    found = messages.answered(row.output)
    if row.reasoning is None:
        return found
    text = row.reasoning if isinstance(row.reasoning, str) else json_text(row.reasoning)
    if not found:
        return [{"role": "assistant", "content": None, "reasoning_content": text}]
    first = cast("dict[str, Any]", found[0])
    return (
        found
        if first.get("reasoning_content")
        else [{**first, "reasoning_content": text}, *found[1:]]
    )


def of_usage(usage: Usage | None, options: Options) -> dict[str, Any]:
    """Return the tokens of a call; what is not known is not there."""
    if usage is None:
        return {}
    sent, received = (
        _whole(usage.input_uncached, usage.cache_read, usage.cache_write),
        _whole(usage.output_visible, usage.reasoning),
    )
    stated: dict[str, Any] = {}
    if options.genai:
        stated |= {
            "gen_ai.usage.input_tokens": sent,
            "gen_ai.usage.output_tokens": received,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
        }
    if options.openinference:
        known = sent is not None and received is not None
        stated |= {
            "llm.token_count.prompt": sent,
            "llm.token_count.completion": received,
            "llm.token_count.total": cast("int", sent) + cast("int", received) if known else None,
            "llm.token_count.prompt_details.cache_read": usage.cache_read,
            "llm.token_count.prompt_details.cache_write": usage.cache_write,
            "llm.token_count.completion_details.reasoning": usage.reasoning,
        }
    made = {name: plain(count) for name, count in stated.items() if count is not None}
    if usage.stated is not None:
        made["whence.usage.stated"] = json_text(usage.stated)
    if usage.modalities is not None:
        made["whence.usage.modalities"] = json_text(usage.modalities)
    buckets = {name: count for name in _BUCKETS if (count := getattr(usage, name)) is not None}
    made["whence.usage.buckets"] = json_text(buckets)
    return made


def _whole(main: int | None, *parts: int | None) -> int | None:
    return None if main is None else main + sum(part for part in parts if part is not None)


def _parameters(given: Mapping[str, Any], options: Options) -> dict[str, Any]:
    tools = given.get("tools")
    others = {str(name): value for name, value in given.items() if name != "tools"}
    made: dict[str, Any] = {}
    if options.genai:
        made = _spread_parameters(others)
        if tools is not None:
            made["gen_ai.tool.definitions"] = json_text(tools)
    if options.openinference:
        if others:
            made["llm.invocation_parameters"] = json_text(others)
        if isinstance(tools, list):
            for number, tool in enumerate(cast("list[Any]", tools)):
                made[f"llm.tools.{number}.tool.json_schema"] = json_text(tool)
        elif tools is not None and not options.genai:
            made["gen_ai.tool.definitions"] = json_text(tools)
    return made


def _spread_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in given.items():
        written = plain(value)
        if name in NAMED or written != value:
            made[f"{own.PARAMETER}{plain(name)}"] = exact(value)
        if name not in NAMED:
            made[f"gen_ai.request.{plain(name)}"] = written
    return made


def of_tool_call(row: r.ToolCallRow, options: Options) -> dict[str, Any]:
    """Return the attributes of a tool call."""
    stated: dict[str, Any] = {
        "whence.span.kind": "tool",
        "gen_ai.tool.type": row.tool_type,
        "whence.tool_call.id": row.id,
        "whence.tool_call.status": exact(row.status),
        **_own(row, "whence.tool_call.", _OWN_OF_TOOLS),
    }
    if options.genai:
        stated["gen_ai.operation.name"] = "execute_tool"
        stated["gen_ai.tool.name"] = row.tool_name
    if options.openinference:
        stated["openinference.span.kind"] = "TOOL"
        stated["tool.name"] = row.tool_name
    made = {name: plain(value) for name, value in stated.items() if value is not None}
    if options.content:
        if options.genai:
            for name, value in (("arguments", row.input), ("result", row.output)):
                if value is not None:
                    made[f"gen_ai.tool.call.{name}"] = _json_or_text(value)
        if options.openinference:
            made |= of_value("input", row.input) | of_value("output", row.output)
        for name in ("input", "output"):
            if not is_carried(getattr(row, name)):
                made[f"whence.tool_call.{name}"] = exact(getattr(row, name))
    return made


def is_carried(value: Any) -> bool:
    """Whether a value comes back from text and JSON as it was: numbers and odd texts do not."""
    if isinstance(value, str):
        return value == clean(value)
    return value is None or isinstance(value, (list, dict))


def _json_or_text(value: Any) -> str:
    """Return a text that its readers, who take JSON for what it stands for, read as meant."""
    if isinstance(value, str) and not value.lstrip()[:1].startswith(_JSON_STARTS):
        return plain(value)
    return json_text(value)


def of_documents(sources: Sequence[r.SourceRow], options: Options) -> dict[str, Any]:
    """Return the documents that a retrieval kept."""
    made: dict[str, Any] = {}
    documents: list[dict[str, Any]] = []
    for number, row in enumerate(sources):
        document: dict[str, Any] = {"id": row.source_key}
        score, content = row.scores.get("relevance"), row.attributes.get("content")
        if own.is_number(score):
            document["score"] = score
        if options.content and isinstance(content, str):
            document["content"] = content
        metadata = _metadata(row, document.keys())
        documents.append({**document, "metadata": metadata})
        if options.openinference:
            prefix = f"retrieval.documents.{number}.document"
            made |= {f"{prefix}.{name}": plain(value) for name, value in document.items()}
            made[f"{prefix}.metadata"] = json_text(metadata)
    if options.genai and documents:
        made["gen_ai.retrieval.documents"] = json_text(documents)
    return made


def _metadata(row: r.SourceRow, told: Container[str]) -> dict[str, Any]:
    """Return what a document has no field for; readers look for `title` and `source` here.

    Args:
        row: The document.
        told: Its fields.
    """
    scores = {k: v for k, v in row.scores.items() if k != "relevance" or "score" not in told}
    given = {name: value for name, value in row.attributes.items() if name != "content"}
    if not isinstance(row.attributes.get("content", ""), str):
        given["content"] = row.attributes["content"]
    stated: dict[str, Any] = {
        "title": row.title,
        "source": row.locator,
        "source_type": row.source_type,
        "records_used": row.records_used,
        "freshness_s": row.freshness_s,
        "quality": row.quality,
        "reason": row.reason,
        "sample_ids": row.sample_ids or None,
        "digest": row.digest,
        "scores": scores or None,
        "attributes": given or None,
    }
    place = {"id": row.id, "ts_ns": row.ts_ns, "stage": row.stage}
    made = {name: value for name, value in stated.items() if value is not None}
    return {**made, "whence": {name: v for name, v in place.items() if v is not None}}


def _seconds(duration_ms: float | None) -> float | None:
    return None if duration_ms is None else duration_ms / 1_000
