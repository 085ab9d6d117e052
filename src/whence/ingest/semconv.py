"""The names under which conventions state what a span is: one table, no logic but look-ups.

Five dialects are told apart by nothing but their names, so that a span that carries two of them is
read once: the OpenTelemetry GenAI conventions (current and earlier names), OpenInference,
OpenLLMetry (`traceloop.*`, `gen_ai.prompt.N.*`), the `llm.*` names of document 4 (generation
trace), and those of frameworks (Vercel AI SDK, MLflow, Langfuse, LangSmith, any-agent, Google's
ADK, OpenLIT, Semantic Kernel, Strands). Where several names of
one field are stated, the first in its row counts and the others stay attributes. Token counts have
their names in `usage`.

Source: OpenTelemetry semantic conventions for GenAI 1.27 to 1.41 and open-telemetry/
semantic-conventions-genai; OpenInference specification; OpenLLMetry `SpanAttributes`; MLflow
`SpanType`; Langfuse `ObservationType`; document 4.
To add a name, put it into its row here.
"""

from __future__ import annotations

from typing import Any

LLM, EMBEDDING, RERANK = "llm", "embedding", "rerank"
TOOL, RETRIEVER, AGENT, CHAIN = "tool", "retriever", "agent", "chain"
GUARDRAIL, EVALUATOR, HANDOFF = "guardrail", "evaluator", "handoff"
PROMPT, PARSER = "prompt", "parser"

CALLS = frozenset({LLM, EMBEDDING, RERANK})
"""What is a call of a model."""

SPAN_KIND = {
    LLM: "generation",
    EMBEDDING: "generation",
    RERANK: "generation",
    TOOL: "tool",
    RETRIEVER: "retrieval",
    AGENT: "agent",
    CHAIN: "step",
    GUARDRAIL: "guardrail",
    EVALUATOR: "evaluation",
    HANDOFF: "step",
    PROMPT: "transformation",
    PARSER: "transformation",
}
"""What a span is to the kind it gets here."""

OPERATION = {LLM: "chat", EMBEDDING: "embeddings", RERANK: "rerank"}
"""The operation of a model call that does not name one."""

_OPERATIONS = {
    "chat": LLM,
    "generate_content": LLM,
    "text_completion": LLM,
    "completion": LLM,
    "call_llm": LLM,
    "response": LLM,
    "responses": LLM,
    "message": LLM,
    "generate": LLM,
    "image_generation": LLM,
    "generate_image": LLM,
    "image": LLM,
    "audio": LLM,
    "speech_to_text": LLM,
    "text_to_speech": LLM,
    "text_completions": LLM,
    "text.completions": LLM,
    "text.streaming_completions": LLM,
    "chat.completions": LLM,
    "chat.streaming_completions": LLM,
    "embeddings": EMBEDDING,
    "embedding": EMBEDDING,
    "embed": EMBEDDING,
    "rerank": RERANK,
    "execute_tool": TOOL,
    "invoke_agent": AGENT,
    "create_agent": AGENT,
    "invoke_workflow": CHAIN,
    "execute_task": CHAIN,
    "plan": CHAIN,
    "execute_event_loop_cycle": CHAIN,
    "retrieval": RETRIEVER,
    "search_memory": RETRIEVER,
    "create_memory": CHAIN,
    "update_memory": CHAIN,
    "upsert_memory": CHAIN,
    "delete_memory": CHAIN,
    "create_memory_store": CHAIN,
    "delete_memory_store": CHAIN,
    "handoff": HANDOFF,
}

WHAT_IT_IS: tuple[tuple[str, dict[str, str]], ...] = (
    (
        "openinference.span.kind",
        {
            "llm": LLM,
            "embedding": EMBEDDING,
            "reranker": RERANK,
            "tool": TOOL,
            "retriever": RETRIEVER,
            "agent": AGENT,
            "chain": CHAIN,
            "guardrail": GUARDRAIL,
            "evaluator": EVALUATOR,
            "prompt": PROMPT,
            "decision": CHAIN,
        },
    ),
    (
        "langsmith.span.kind",  # it calls a prompt a chat and a retriever embeddings besides
        {
            "llm": LLM,
            "embedding": EMBEDDING,
            "tool": TOOL,
            "retriever": RETRIEVER,
            "chain": CHAIN,
            "prompt": PROMPT,
            "parser": PARSER,
        },
    ),
    ("gen_ai.operation.name", _OPERATIONS),
    (
        "traceloop.span.kind",
        {"workflow": CHAIN, "task": CHAIN, "agent": AGENT, "tool": TOOL, "handoff": HANDOFF},
    ),
    (
        "llm.request.type",
        {"chat": LLM, "completion": LLM, "embedding": EMBEDDING, "rerank": RERANK},
    ),
    (
        "mlflow.spanType",
        {
            "chat_model": LLM,
            "llm": LLM,
            "embedding": EMBEDDING,
            "reranker": RERANK,
            "tool": TOOL,
            "retriever": RETRIEVER,
            "agent": AGENT,
            "chain": CHAIN,
            "workflow": CHAIN,
            "task": CHAIN,
            "parser": PARSER,
            "memory": RETRIEVER,
            "guardrail": GUARDRAIL,
            "evaluator": EVALUATOR,
        },
    ),
    (
        "langfuse.observation.type",
        {
            "generation": LLM,
            "embedding": EMBEDDING,
            "tool": TOOL,
            "retriever": RETRIEVER,
            "agent": AGENT,
            "chain": CHAIN,
            "evaluator": EVALUATOR,
            "guardrail": GUARDRAIL,
            "span": CHAIN,
            "event": CHAIN,
        },
    ),
    (
        "ai.operationId",
        {
            "ai.generatetext.dogenerate": LLM,
            "ai.streamtext.dostream": LLM,
            "ai.generateobject.dogenerate": LLM,
            "ai.streamobject.dostream": LLM,
            "ai.embed.doembed": EMBEDDING,
            "ai.embedmany.doembed": EMBEDDING,
            "ai.rerank.dorerank": RERANK,
            "ai.toolcall": TOOL,
            # Around the calls, with their sums: one of these may be several calls.
            "ai.generatetext": CHAIN,
            "ai.streamtext": CHAIN,
            "ai.generateobject": CHAIN,
            "ai.streamobject": CHAIN,
            "ai.embed": CHAIN,
            "ai.embedmany": CHAIN,
            "ai.rerank": CHAIN,
        },
    ),
)
"""Attribute to its values (in lower case) to what they say a span is; the first counts."""

MODEL_NAMES = ("gen_ai.request.model", "llm.model_name", "llm.model", "llm.request.model")
"""One of these, beside tokens or a response, makes a span without any kind a model call."""

TOOL_NAME = "gen_ai.tool.name"
"""This makes a span without any kind a tool, as of Pydantic AI before 1.0."""

AGENT_NAMES = ("gen_ai.agent.name", "agent.name", "agent_name")

FIELDS: dict[str, tuple[str, ...]] = {
    # a model call
    "provider": (
        "gen_ai.provider.name",
        "gen_ai.system",
        "llm.provider",
        "llm.system",
        "ai.model.provider",
        "mlflow.llm.provider",
    ),
    "model": (
        "gen_ai.request.model",
        "llm.request.model_name",
        "llm.model_name",
        "embedding.model_name",
        "reranker.model_name",
        "llm.model",
        "llm.request.model",
        "ai.model.id",
        "langfuse.observation.model.name",
        "mlflow.llm.model",
    ),
    "response_model": (
        "gen_ai.response.model",
        "llm.response.model_name",
        "llm.response.model",
        "ai.response.model",
    ),
    "operation": ("gen_ai.operation.name", "llm.operation", "llm.request.type"),
    "response_id": ("gen_ai.response.id", "llm.response.id", "ai.response.id"),
    "finish_reason": (
        "gen_ai.response.finish_reasons",
        "gen_ai.response.finish_reason",
        "llm.finish_reason",
        "llm.response.finish_reason",
        "ai.response.finishReason",
    ),
    "prompt_name": (
        "gen_ai.prompt.name",
        "prompt.id",
        "traceloop.prompt.key",
        "langfuse.observation.prompt.name",
    ),
    "prompt_version": (
        "gen_ai.prompt.version",
        "llm.prompt_template.version",
        "traceloop.prompt.version",
        "langfuse.observation.prompt.version",
    ),
    "prompt_template": ("llm.prompt_template.template", "traceloop.prompt.template"),
    "seed": ("gen_ai.request.seed", "gen_ai.openai.request.seed"),
    "first_chunk_s": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
    "first_chunk_ms": ("ai.response.msToFirstChunk",),
    "instructions": ("gen_ai.system_instructions",),
    "messages": (
        "gen_ai.input.messages",
        "gen_ai.prompt",
        "ai.prompt.messages",
        "ai.prompt",
        "llm.prompts",
    ),
    "answers": (
        "gen_ai.output.messages",
        "gen_ai.completion",
        "gen_ai.output",
        "genai.output",  # any-agent until 0.17
        "ai.response.text",
        "ai.response.object",
        "llm.completions",
    ),
    "answer_calls": ("ai.response.toolCalls",),
    "thoughts": ("ai.response.reasoning",),
    "tools": ("gen_ai.tool.definitions", "llm.tools", "ai.prompt.tools", "mlflow.chat.tools"),
    "invocation": (
        "llm.invocation_parameters",
        "embedding.invocation_parameters",
        "model_request_parameters",
        "langfuse.observation.model.parameters",
    ),
    "cost": (
        "gen_ai.usage.cost",
        "gen_ai.usage.total_cost",
        "llm.cost.total",
        "operation.cost",
        "gen_ai.cost.total_cost",
    ),
    "cost_in": ("gen_ai.usage.input_cost", "llm.cost.prompt", "gen_ai.cost.input_cost"),
    "cost_out": ("gen_ai.usage.output_cost", "llm.cost.completion", "gen_ai.cost.output_cost"),
    # a tool
    "tool_name": ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "mcp.tool.name"),
    "tool_type": ("gen_ai.tool.type",),
    "tool_input": (
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.args",
        "gen_ai.tool.input",
        "ai.toolCall.args",
        "gcp.vertex.agent.tool_call_args",
        "tool_arguments",
        "traceloop.entity.input",
        "input.value",
        "mlflow.spanInputs",
        "langfuse.observation.input",
        "gen_ai.prompt",
    ),
    "tool_output": (
        "gen_ai.tool.call.result",
        "gen_ai.output",
        "genai.output",  # any-agent until 0.17
        "gen_ai.tool.output",
        "ai.toolCall.result",
        "gcp.vertex.agent.tool_response",
        "tool_response",
        "traceloop.entity.output",
        "output.value",
        "mlflow.spanOutputs",
        "langfuse.observation.output",
        "gen_ai.completion",
    ),
    # any span
    "agent": AGENT_NAMES,
    "input": (
        "input.value",
        "traceloop.entity.input",
        "gen_ai.task.input",
        "gen_ai.input.messages",
        "ai.prompt",
        "mlflow.spanInputs",
        "langfuse.observation.input",
        "gcp.vertex.agent.llm_request",
        "gen_ai.prompt",
    ),
    "output": (
        "output.value",
        "traceloop.entity.output",
        "gen_ai.task.output",
        "gen_ai.output.messages",
        "gen_ai.output",
        "genai.output",  # any-agent until 0.17
        "final_result",
        "ai.response.text",
        "ai.response.object",
        "mlflow.spanOutputs",
        "langfuse.observation.output",
        "gcp.vertex.agent.llm_response",
        "gen_ai.completion",
    ),
    "error_type": ("error.type", "llm.error.type"),
    "error_message": ("llm.error.message", "langfuse.observation.status_message"),
    "query": ("gen_ai.retrieval.query.text", "reranker.query"),
    "documents": ("gen_ai.retrieval.documents",),
    # a handoff
    "from_agent": ("gen_ai.handoff.from_agent",),
    "to_agent": ("gen_ai.handoff.to_agent",),
}
"""Field to its names, the first that is stated first."""

RUN_FIELDS: dict[str, tuple[str, ...]] = {
    "session": (
        "session.id",
        "langfuse.session.id",
        "traceloop.association.properties.session_id",
        "langsmith.metadata.session_id",
        "ai.telemetry.metadata.sessionId",
    ),
    "conversation": (
        "gen_ai.conversation.id",
        "traceloop.association.properties.thread_id",
        "langsmith.metadata.conversation_id",
        "langsmith.metadata.thread_id",
        "gcp.vertex.agent.session_id",
    ),
    "user": (
        "user.id",
        "enduser.id",
        "langfuse.user.id",
        "traceloop.association.properties.user_id",
        "langsmith.metadata.user_id",
        "ai.telemetry.metadata.userId",
    ),
    "workflow": ("traceloop.workflow.name", "gen_ai.workflow.name"),
}
"""What any span of a run may say about the run as a whole."""

TAGS = ("tag.tags", "langfuse.trace.tags", "ai.telemetry.metadata.tags")
"""Attributes of a root that hold labels of the run; the first that is a list counts."""

LEVEL, FAILED = "langfuse.observation.level", "ERROR"
"""An attribute that may say that a span failed, and how."""

PROJECT = ("whence.project", "openinference.project.name", "project.name", "service.name")
"""Attributes of a resource that name the project."""

PARAMETER_PREFIXES = ("gen_ai.request.", "llm.request.", "ai.settings.")
"""What stands behind these is a parameter of a model call."""

PARAMETERS = {
    "llm.top_k": "top_k",
    "llm.temperature": "temperature",
    "llm.frequency_penalty": "frequency_penalty",
    "llm.presence_penalty": "presence_penalty",
    "llm.chat.stop_sequences": "stop_sequences",
    "llm.is_streaming": "stream",
    "gen_ai.is_streaming": "stream",
    "gen_ai.openai.request.response_format": "response_format",
    "gen_ai.openai.request.service_tier": "service_tier",
    "openai.request.service_tier": "service_tier",
    "llm.prompt_template.variables": "prompt_variables",
}
"""Parameters with names of their own."""

USAGE_PREFIXES = ("gen_ai.usage.", "llm.token_count.", "llm.usage.", "ai.usage.")
"""Numbers behind these are kept as what the source stated about tokens."""

LISTS: dict[str, str] = {
    "llm.input_messages.": "messages",
    "gen_ai.prompt.": "messages",
    "llm.output_messages.": "answers",
    "gen_ai.completion.": "answers",
    "llm.tools.": "tools",
    "llm.request.functions.": "tools",
    "llm.prompts.": "messages",
    "llm.choices.": "answers",
    "embedding.embeddings.": "embeddings",
    "retrieval.documents.": "documents",
    "reranker.input_documents.": "documents_in",
    "reranker.output_documents.": "documents_out",
    "evaluations.": "evaluations",
    "annotations.": "evaluations",
    "trace.evaluations.": "run_evaluations",
    "trace.annotations.": "run_evaluations",
}
"""Prefix of a list spread over attributes `<prefix><index>.<path>` to what it is a list of."""

WRAPPERS = frozenset(
    {
        "message",
        "message_content",
        "tool_call",
        "tool",
        "embedding",
        "document",
        "evaluation",
        "annotation",
        "prompt",
        "completion",
    }
)
"""Words that OpenInference puts between the items of a list and their fields."""

CHUNKS = frozenset(
    {
        "gen_ai.content.completion.chunk",
        "llm.content.completion.chunk",
        "First Token Stream Event",
        "ai.stream.firstChunk",
        "gen_ai.first_token",
    }
)
"""Events of a span at which a part of an answer arrived; the first tells the time to it."""

EVALUATION_EVENT = "gen_ai.evaluation.result"

MIME_TYPES = {"input.value": "input.mime_type", "output.value": "output.mime_type"}
"""Attribute to the one that says how it is written."""

JSON_TEXTS = frozenset(
    {
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.output",
        "genai.output",  # any-agent until 0.17
        "gen_ai.system_instructions",
        "gen_ai.response.finish_reasons",
        "gen_ai.tool.definitions",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.tool.args",
        "gen_ai.tool.input",
        "gen_ai.tool.output",
        "gen_ai.retrieval.documents",
        "gen_ai.task.input",
        "gen_ai.task.output",
        "traceloop.entity.input",
        "traceloop.entity.output",
        "llm.invocation_parameters",
        "embedding.invocation_parameters",
        "model_request_parameters",
        "llm.tools",
        "llm.prompt_template.variables",
        "ai.prompt.messages",
        "ai.prompt",
        "ai.response.object",
        "ai.response.toolCalls",
        "ai.toolCall.args",
        "ai.toolCall.result",
        "mlflow.spanInputs",
        "mlflow.spanOutputs",
        "mlflow.llm.model",
        "mlflow.llm.provider",
        "mlflow.chat.tools",
        "langfuse.observation.input",
        "langfuse.observation.output",
        "langfuse.observation.model.parameters",
        "gcp.vertex.agent.llm_request",
        "gcp.vertex.agent.llm_response",
        "gcp.vertex.agent.tool_call_args",
        "gcp.vertex.agent.tool_response",
        "tool_arguments",
    }
)
"""Attributes that hold JSON as text, because spans may carry no structure."""


def what_it_is(attributes: dict[str, Any]) -> str | None:
    """Return what a span is by the conventions; None for a span of no AI."""
    if not _KIND_NAMES.isdisjoint(attributes):
        for name, values in WHAT_IT_IS:
            said = attributes.get(name)
            if isinstance(said, str):
                what = values.get(said.lower().strip('"'))
                if what is not None:
                    return what
    if not _MODEL_NAMES.isdisjoint(attributes) and _answers(attributes):
        return LLM if _AGENT_NAMES.isdisjoint(attributes) else AGENT
    if TOOL_NAME in attributes and "mcp.method.name" not in attributes:
        return TOOL
    return None


def _answers(attributes: dict[str, Any]) -> bool:
    """Whether a span says anything that only a model call has to say."""
    return not _ANSWER_NAMES.isdisjoint(attributes) or any(
        name.startswith(USAGE_PREFIXES) for name in attributes
    )


_KIND_NAMES = frozenset(name for name, _ in WHAT_IT_IS)
_MODEL_NAMES = frozenset(MODEL_NAMES)
TELLING_NAMES = _KIND_NAMES | _MODEL_NAMES | {TOOL_NAME}
"""Attributes of which one that is of AI has at least one."""
_AGENT_NAMES = frozenset(AGENT_NAMES)
_ANSWER_NAMES = frozenset(
    {
        *FIELDS["response_id"],
        *FIELDS["response_model"],
        *FIELDS["finish_reason"],
        "llm.operation",
        "gen_ai.completion.0.content",
        "gcp.vertex.agent.llm_response",
        "llm.error.type",
    }
)
