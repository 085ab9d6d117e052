"""What a span says under any convention arrives in the same fields."""

from __future__ import annotations

import json

import pytest
from otlpdata import START_NS, attributes, chat, hex_id, imported, log_request, request, span

import whence

MESSAGES = [{"role": "user", "parts": [{"type": "text", "content": "Why?"}]}]
ANSWER = [
    {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": "Hm."},
            {"type": "text", "content": "Because."},
        ],
    }
]
CURRENT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.response.model": "gpt-5-2025",
    "gen_ai.response.id": "r1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.seed": 7,
    "gen_ai.input.messages": json.dumps(MESSAGES),
    "gen_ai.output.messages": json.dumps(ANSWER),
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.usage.cache_read.input_tokens": 4,
    "gen_ai.usage.reasoning.output_tokens": 2,
}
LEGACY = {
    "gen_ai.system": "openai",
    "llm.request.type": "chat",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.response.model": "gpt-5-2025",
    "gen_ai.response.id": "r1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.seed": 7,
    "gen_ai.prompt.0.role": "user",
    "gen_ai.prompt.0.content": "Why?",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "Because.",
    "gen_ai.usage.prompt_tokens": 12.0,
    "gen_ai.usage.completion_tokens": 5.0,
    "gen_ai.usage.cache_read_input_tokens": 4,
    "gen_ai.usage.reasoning_tokens": 2,
    "llm.usage.total_tokens": 17.0,
}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.provider": "openai",
    "llm.request.model_name": "gpt-5",
    "llm.response.model_name": "gpt-5-2025",
    "llm.finish_reason": "stop",
    "llm.invocation_parameters": '{"temperature": 0.5}',
    "gen_ai.response.id": "r1",
    "gen_ai.request.seed": 7,
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "Why?",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.contents.0.message_content.type": "reasoning",
    "llm.output_messages.0.message.contents.0.message_content.text": "Hm.",
    "llm.output_messages.0.message.contents.1.message_content.type": "text",
    "llm.output_messages.0.message.contents.1.message_content.text": "Because.",
    "llm.token_count.prompt": 12,
    "llm.token_count.completion": 5,
    "llm.token_count.total": 17,
    "llm.token_count.prompt_details.cache_read": 4,
    "llm.token_count.completion_details.reasoning": 2,
}
THIRD = {
    "llm.model": "gpt-5",
    "llm.operation": "chat",
    "llm.provider": "openai",
    "llm.response.id": "r1",
    "llm.response.model": "gpt-5-2025",
    "llm.response.finish_reason": "stop",
    "llm.temperature": 0.5,
    "gen_ai.request.seed": 7,
    "llm.usage.prompt_tokens": 12,
    "llm.usage.completion_tokens": 5,
    "llm.usage.total_tokens": 17,
    "llm.usage.reasoning_tokens": 2,
    "llm.usage.cache_read_input_tokens": 4,
}
BOTH = {**CURRENT, **OPENINFERENCE}


def generation(home):
    with whence.open(home) as store:
        (row,) = store.generations(limit=None).items
    return row


@pytest.mark.parametrize(
    "given",
    [CURRENT, LEGACY, OPENINFERENCE, THIRD, BOTH],
    ids=["current", "legacy", "openinference", "third", "both"],
)
def test_a_model_call_reads_the_same_in_every_dialect(given, home, tmp_path):
    """Model, provider, parameters, answer and tokens are alike whatever the names."""
    report = imported(home, tmp_path, request(span("call", None, given)))

    row = generation(home)
    assert (row.provider, row.model, row.response_model) == ("openai", "gpt-5", "gpt-5-2025")
    assert (row.operation, row.response_id, row.finish_reason) == ("chat", "r1", "stop")
    assert row.parameters["temperature"] == 0.5
    assert row.seed == 7
    buckets = (row.usage.input_uncached, row.usage.cache_read, row.usage.output_visible)
    assert buckets == (8, 4, 3)
    assert row.usage.reasoning == 2
    assert (report.generations, report.usage_stated.input, report.usage_stated.output) == (1, 12, 5)


@pytest.mark.parametrize("given", [CURRENT, OPENINFERENCE], ids=["current", "openinference"])
def test_reasoning_is_taken_out_of_the_answer(given, home, tmp_path):
    """The reasoning text stands in its own field, and the answer stays whole."""
    imported(home, tmp_path, request(span("call", None, given)))

    row = generation(home)
    assert row.reasoning == "Hm."
    assert "Because." in json.dumps(row.output)
    assert "Why?" in json.dumps(row.messages)


def test_what_no_field_takes_stays_an_attribute(home, tmp_path):
    """An attribute of nobody's convention is found on the span under its own name."""
    given = chat((1, 1)) | {"my.own": [1, {"deep": True}], "server.address": "api"}

    imported(home, tmp_path, request(span("call", None, given)))

    with whence.open(home) as store:
        (row,) = store.spans(limit=None).items
    assert row.attributes["my.own"] == [1, {"deep": True}]
    assert row.attributes["server.address"] == "api"
    assert row.kind == "generation"


def test_a_conversation_in_events_of_the_span_is_the_conversation(home, tmp_path):
    """Messages that a span carries as events become messages, and no events are left of them."""
    events = [
        {
            "name": "gen_ai.user.message",
            "timeUnixNano": str(START_NS),
            "attributes": attributes({"content": "Why?"}),
        },
        {
            "name": "gen_ai.choice",
            "timeUnixNano": str(START_NS + 5),
            "attributes": attributes(
                {"message": "x", "content": "Because.", "finish_reason": "stop"}
            ),
        },
    ]

    imported(home, tmp_path, request(span("call", None, chat((1, 1)), events=events)))

    row = generation(home)
    assert row.messages == [{"role": "user", "content": "Why?"}]
    assert row.output == [{"role": "assistant", "content": "Because."}]
    assert row.finish_reason == "stop"


def test_chunks_of_a_stream_are_one_event_and_tell_the_time_to_the_first(home, tmp_path):
    """A hundred chunk events become one that says how many, and the call knows its first chunk."""
    events = [
        {"name": "gen_ai.content.completion.chunk", "timeUnixNano": str(START_NS + 1000 * n)}
        for n in range(3, 103)
    ]

    imported(home, tmp_path, request(span("call", None, chat((1, 1)), events=events)))

    with whence.open(home) as store:
        (event,) = store.events(limit=None).items
    assert event.data["count"] == 100
    assert generation(home).first_chunk_ms == pytest.approx(0.003)


def test_tools_say_what_they_got_and_gave(home, tmp_path):
    """A tool span is a tool call with input, output and its error."""
    given = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "weather",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.arguments": '{"city": "Rome"}',
        "gen_ai.tool.call.result": "no such city",
    }
    failed = {"code": 2, "message": "not found"}

    report = imported(
        home, tmp_path, request(span("execute_tool weather", None, given, status=failed))
    )

    with whence.open(home) as store:
        (row,) = store.tool_calls(limit=None).items
        (of_span,) = store.spans(limit=None).items
    assert (row.tool_name, row.tool_type, row.input) == ("weather", "function", {"city": "Rome"})
    assert (row.output, row.status, row.error["message"]) == ("no such city", "error", "not found")
    assert (of_span.status, of_span.kind) == ("error", "tool")
    assert (report.tool_calls, report.tool_errors, report.errors) == (1, 1, 1)


def test_a_retriever_keeps_its_documents_with_their_scores(home, tmp_path):
    """Each document is a kept source with its key, title, digest and score."""
    given = {
        "openinference.span.kind": "RETRIEVER",
        "input.value": "who?",
        "retrieval.documents.0.document.id": "d0",
        "retrieval.documents.0.document.content": "Messi",
        "retrieval.documents.0.document.score": 0.9,
        "retrieval.documents.0.document.metadata": '{"title": "Cup"}',
        "retrieval.documents.1.document.content": "Kane",
    }

    report = imported(home, tmp_path, request(span("search", None, given)))

    with whence.open(home) as store:
        rows = store.sources(limit=None, order="source_key").items
    assert report.retrievals == 1
    assert {row.source_key: row.scores for row in rows}["d0"] == {"relevance": 0.9}
    assert [(row.title, row.attributes.get("metadata")) for row in rows if row.title] == [
        ("Cup", {"title": "Cup"})
    ]
    assert all(row.kept and row.digest for row in rows)


@pytest.mark.parametrize("given", [{}, {"input.value": "all of it"}])
def test_the_query_of_a_retriever_is_kept(home, tmp_path, given):
    """It is the span's input, or beside it an attribute."""
    asked = {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.query.text": "who?"} | given

    imported(home, tmp_path, request(span("search", None, asked)))

    with whence.open(home) as store:
        (row,) = store.spans(limit=None).items
    assert row.input == given.get("input.value", "who?")
    assert row.attributes.get("gen_ai.retrieval.query.text") == ("who?" if given else None)


@pytest.mark.parametrize(
    ("name", "word", "kind"),
    [
        ("mlflow.spanType", "WORKFLOW", "step"),
        ("mlflow.spanType", "TASK", "step"),
        ("mlflow.spanType", "PARSER", "transformation"),
        ("mlflow.spanType", "MEMORY", "retrieval"),
        ("mlflow.spanType", "GUARDRAIL", "guardrail"),
        ("mlflow.spanType", "EVALUATOR", "evaluation"),
        ("mlflow.spanType", "UNKNOWN", "custom"),
        ("langfuse.observation.type", "span", "step"),
        ("langfuse.observation.type", "event", "step"),
        ("openinference.span.kind", "DECISION", "step"),
    ],
)
def test_every_word_of_a_platform_for_a_span_is_known(home, tmp_path, name, word, kind):
    """MLflow's span types and Langfuse's observation types all say what a span is."""
    imported(home, tmp_path, request(span("s", None, {name: word})))

    with whence.open(home) as store:
        assert [row.kind for row in store.spans(limit=None)] == [kind]


def test_what_a_reranker_left_out_is_dropped_evidence(home, tmp_path):
    """Of three documents in and one out, two are dropped with the reason."""
    given = {"openinference.span.kind": "RERANKER", "reranker.model_name": "rerank-3"}
    for number, text in enumerate("abc"):
        given[f"reranker.input_documents.{number}.document.id"] = text
    given["reranker.output_documents.0.document.id"] = "b"
    given["reranker.output_documents.0.document.score"] = 0.7

    report = imported(home, tmp_path, request(span("rank", None, given)))

    with whence.open(home) as store:
        rows = store.sources(limit=None).items
    assert {row.source_key: row.kept for row in rows} == {"a": False, "b": True, "c": False}
    assert all(row.reason for row in rows if not row.kept)
    assert report.generations == 1


def test_evaluations_are_scores_wherever_they_stand(home, tmp_path):
    """Attributes, span events and log records of evaluations each give a score."""
    event = {
        "name": "gen_ai.evaluation.result",
        "timeUnixNano": str(START_NS),
        "attributes": attributes(
            {
                "gen_ai.evaluation.name": "relevance",
                "gen_ai.evaluation.score.value": 0.5,
                "gen_ai.evaluation.score.label": "fail",
            }
        ),
    }
    judged = span("call", None, chat((1, 1)), events=[event])
    carrier = span(
        "judge",
        "call",
        {
            "openinference.span.kind": "EVALUATOR",
            "evaluations.0.evaluation.name": "correctness",
            "evaluations.0.evaluation.score": 1,
            "evaluations.0.evaluation.annotator_kind": "HUMAN",
        },
        links=[{"traceId": judged["traceId"], "spanId": judged["spanId"]}],
    )
    log = {
        "traceId": judged["traceId"],
        "spanId": judged["spanId"],
        "timeUnixNano": str(START_NS),
        "eventName": "gen_ai.evaluation.result",
        "attributes": attributes({"gen_ai.evaluation.name": "tone"}),
    }

    report = imported(home, tmp_path, request(judged, carrier), log_request(log))

    with whence.open(home) as store:
        rows = {row.name: row for row in store.scores(limit=None)}
    assert report.scores == 3
    assert (rows["relevance"].value, rows["relevance"].passed) == (0.5, False)
    assert (rows["correctness"].target, rows["correctness"].by) == (judged["spanId"], "HUMAN")
    assert (rows["tone"].value, rows["tone"].span) == (None, judged["spanId"])


def test_a_handoff_is_a_decision_of_the_agent_that_gave_it(home, tmp_path):
    """Who handed over to whom is a decision."""
    given = {
        "gen_ai.operation.name": "handoff",
        "gen_ai.handoff.from_agent": "triage",
        "gen_ai.handoff.to_agent": "refunds",
    }

    imported(home, tmp_path, request(span("hand over", None, given)))

    with whence.open(home) as store:
        (row,) = store.decisions(limit=None).items
    assert (row.name, row.made_by, row.what) == ("handoff", "triage", "refunds")


def test_a_link_goes_from_the_linked_span_to_this_one(home, tmp_path):
    """A span link is an edge from the earlier span, with its run where that is another."""
    earlier = span("ask", None, trace="other")
    later = span(
        "answer", None, links=[{"traceId": earlier["traceId"], "spanId": earlier["spanId"]}]
    )

    imported(home, tmp_path, request(earlier, later))

    with whence.open(home) as store:
        (row,) = store.links(limit=None).items
    assert (row.source, row.target) == (earlier["spanId"], later["spanId"])
    assert row.attributes["source_run"] == earlier["traceId"]


def test_a_run_is_named_by_its_root_and_knows_its_session(home, tmp_path):
    """Name, project, times, user and session of a run come from root, resource and any span."""
    root = span("plan trip", None, {"user.id": "u1"}, at=(0, 50))
    inner = span("call", "plan trip", chat((1, 1)) | {"session.id": "s1"}, at=(5, 20))

    imported(home, tmp_path, request(inner), request(root))

    with whence.open(home) as store:
        (run,) = store.runs(limit=None).items
    assert (run.name, run.project, run.user, run.session) == ("plan trip", "shop", "u1", "s1")
    assert (run.started_ns, run.duration_ms, run.status) == (START_NS, 50.0, "complete")
    assert run.id == hex_id("t", 16)


def test_an_exception_is_the_error_of_its_span(home, tmp_path):
    """Type, message and stack of an exception event are the span's error."""
    event = {
        "name": "exception",
        "timeUnixNano": str(START_NS),
        "attributes": attributes(
            {
                "exception.type": "ValueError",
                "exception.message": "no wind",
                "exception.stacktrace": "Traceback",
            }
        ),
    }
    failed = span("step", None, events=[event], status={"code": "STATUS_CODE_ERROR"})

    report = imported(home, tmp_path, request(failed))

    with whence.open(home) as store:
        (row,) = store.spans(limit=None).items
        (run,) = store.runs(limit=None).items
    assert row.error == {"type": "ValueError", "message": "no wind", "stack": "Traceback"}
    assert (run.status, run.errors, report.errors) == ("failed", 1, 1)


def test_log_records_without_a_trace_belong_to_no_run(home, tmp_path):
    """They are kept as events, and no run is made up for them."""
    log = {
        "timeUnixNano": str(START_NS),
        "severityNumber": 17,
        "body": {"stringValue": "disk full"},
    }

    report = imported(home, tmp_path, log_request(log, log))

    with whence.open(home) as store:
        rows = store.events(limit=None).items
    assert [(row.message, row.level, row.run) for row in rows] == [("disk full", "error", "")] * 2
    assert report.runs == 0


FIGURES = {
    "input_uncached": 500,
    "cache_read": 100,
    "cache_write": 50,
    "output_visible": 15,
    "reasoning": 5,
}
SPRING = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.response.finish_reasons": '["STOP"]',
    "gen_ai.usage.input_tokens": "650",
    "gen_ai.usage.cache_read.input_tokens": "100",
    "gen_ai.usage.cache_write.input_tokens": "50",
    "gen_ai.usage.output_tokens": "20",
    "gen_ai.usage.reasoning_tokens": "5",
    "gen_ai.usage.total_tokens": "670",
}
LANGFUSE = {
    "langfuse.observation.type": "generation",
    "langfuse.observation.model.name": "gpt-5",
    "langfuse.observation.model.parameters": '{"temperature": 0.5}',
    "langfuse.observation.input": json.dumps([{"role": "user", "content": "Why?"}]),
    "langfuse.observation.output": '{"role": "assistant", "content": "Because."}',
    "langfuse.observation.usage_details": json.dumps(
        {
            "input": 480,
            "input_audio_tokens": 20,
            "input_cached_tokens": 100,
            "input_cache_creation_5m": 30,
            "input_cache_creation_1h": 20,
            "output": 15,
            "output_reasoning_tokens": 5,
            "total": 670,
        }
    ),
    "langfuse.observation.cost_details": '{"input": 0.25, "output": 0.25}',
}
MLFLOW = {
    "mlflow.spanType": '"CHAT_MODEL"',
    "mlflow.llm.model": '"gpt-5"',
    "mlflow.spanInputs": '{"messages": [{"role": "user", "content": "Why?"}], "temperature": 0.5}',
    "mlflow.spanOutputs": json.dumps(
        {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "B"}}]}
    ),
    "mlflow.chat.tokenUsage": json.dumps(
        {
            "input_tokens": 650,
            "output_tokens": 20,
            "total_tokens": 670,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 50,
        }
    ),
    "mlflow.llm.cost": '{"input_cost": 0.25, "output_cost": 0.25, "total_cost": 0.5}',
}
STRANDS = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.usage.input_tokens": 500,
    "gen_ai.usage.output_tokens": 20,
    "gen_ai.usage.cache_read_input_tokens": 100,
    "gen_ai.usage.cache_write_input_tokens": 50,
    "gen_ai.usage.total_tokens": 670,
}
VERCEL = {
    "ai.operationId": "ai.generateText.doGenerate",
    "ai.model.id": "gpt-5",
    "ai.usage.inputTokens": 650,
    "ai.usage.inputTokenDetails.cacheReadTokens": 100,
    "ai.usage.inputTokenDetails.cacheWriteTokens": 50,
    "ai.usage.outputTokens": 20,
    "ai.usage.outputTokenDetails.reasoningTokens": 5,
    "ai.response.toolCalls": '[{"toolCallId": "t1", "toolName": "look", "input": "{}"}]',
}
PYDANTIC = {
    **{key: SPRING[key] for key in ("gen_ai.operation.name", "gen_ai.request.model")},
    "gen_ai.usage.input_tokens": 650,
    "gen_ai.usage.output_tokens": 20,
    "gen_ai.usage.details.cache_read_tokens": 100,
    "gen_ai.usage.details.cache_write_tokens": 50,
    "gen_ai.usage.details.reasoning_tokens": 5,
}


@pytest.mark.parametrize(
    "given",
    [SPRING, LANGFUSE, MLFLOW, STRANDS, VERCEL, PYDANTIC],
    ids=["spring", "langfuse", "mlflow", "strands", "vercel", "pydantic"],
)
def test_frameworks_have_names_of_their_own_for_tokens(given, home, tmp_path):
    """Texts, bundles in JSON and other names give the same buckets."""
    report = imported(home, tmp_path, request(span("call", None, given)))

    row = generation(home)
    whole = FIGURES["output_visible"] + FIGURES["reasoning"]
    assert (report.generations, row.model) == (1, "gpt-5")
    assert row.usage.input_uncached == FIGURES["input_uncached"]
    assert (row.usage.cache_read, row.usage.cache_write) == (100, 50)
    assert row.usage.output_visible + (row.usage.reasoning or 0) == whole


@pytest.mark.parametrize("given", [LANGFUSE, MLFLOW], ids=["langfuse", "mlflow"])
def test_a_platforms_own_span_is_read_whole(given, home, tmp_path):
    """Conversation, parameters and cost come as from what the platform exports."""
    imported(home, tmp_path, request(span("call", None, given)))

    row = generation(home)
    assert row.messages == [{"role": "user", "content": "Why?"}]
    assert row.output[0]["role"] == "assistant"
    assert row.parameters["temperature"] == 0.5
    assert (row.cost_usd, row.cost_source) == (0.5, "declared")


def test_a_langfuse_level_of_error_is_an_error(home, tmp_path):
    """Its message is the status message of the observation."""
    given = LANGFUSE | {
        "langfuse.observation.level": "ERROR",
        "langfuse.observation.status_message": "boom",
    }

    report = imported(home, tmp_path, request(span("call", None, given)))

    assert report.errors == 1
    assert generation(home).error["message"] == "boom"


def test_langsmith_says_what_a_span_is(home, tmp_path):
    """Its prompts are no chats and its retrievers no embeddings, whatever else they are called."""
    prompt = {"langsmith.span.kind": "prompt", "gen_ai.operation.name": "chat"}
    found = {"documents": [{"page_content": "text", "metadata": {"source": "a"}}]}
    retriever = {
        "langsmith.span.kind": "retriever",
        "gen_ai.operation.name": "embeddings",
        "gen_ai.completion": json.dumps(found),
    }
    model = {"langsmith.span.kind": "llm", **chat((1, 1))}
    spans = [
        span("chain", None, {"langsmith.span.kind": "chain", "gen_ai.operation.name": "chain"}),
        span("prompt", "chain", prompt, at=(1, 2)),
        span("look", "chain", retriever, at=(2, 3)),
        span("model", "chain", model, at=(3, 4)),
    ]

    report = imported(home, tmp_path, request(*spans))

    assert (report.generations, report.retrievals) == (1, 1)
    with whence.open(home) as store:
        (source,) = store.sources(limit=None).items
    assert (source.source_key, source.attributes["content"]) == ("a", "text")


def test_an_event_of_details_holds_the_conversation(home, tmp_path):
    """What it says is in the call, and no event is left of it."""
    details = {
        "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
        "gen_ai.input.messages": json.dumps(MESSAGES),
        "gen_ai.output.messages": ANSWER,
    }
    event = {
        "name": "gen_ai.client.inference.operation.details",
        "timeUnixNano": str(START_NS),
        "attributes": attributes(details),
    }

    imported(home, tmp_path, request(span("call", None, chat((1, 1)), events=[event])))

    row = generation(home)
    assert [message["role"] for message in row.messages] == ["system", "user"]
    assert (row.output, row.reasoning) == (ANSWER, "Hm.")
    with whence.open(home) as store:
        assert store.events(limit=None).items == []


def strands_events(*said):
    return [
        {"name": name, "timeUnixNano": str(START_NS + at), "attributes": attributes(given)}
        for at, (name, given) in enumerate(said)
    ]


def test_what_strands_says_in_events_is_the_call(home, tmp_path):
    """Choices hold their message under a name of its own; tools say in events what they did."""
    told = strands_events(
        ("gen_ai.user.message", {"content": '[{"text": "hi"}]'}),
        ("gen_ai.choice", {"message": '[{"text": "hello"}]', "finish_reason": "end_turn"}),
    )
    did = strands_events(
        ("gen_ai.tool.message", {"role": "tool", "content": '{"x": 1}', "id": "t1"}),
        ("gen_ai.choice", {"message": '[{"text": "42"}]', "id": "t1"}),
    )
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"}
    call = chat((1, 1)) | {"gen_ai.server.time_to_first_token": 350}

    imported(
        home,
        tmp_path,
        request(
            span("call", None, call, events=told, at=(0, 900)),
            span("add", "call", tool, events=did, at=(1, 2)),
        ),
    )

    row = generation(home)
    assert row.output == [{"role": "assistant", "content": [{"text": "hello"}]}]
    assert (row.finish_reason, row.first_chunk_ms) == ("end_turn", 350.0)
    with whence.open(home) as store:
        (used,) = store.tool_calls(limit=None).items
        assert (used.input, used.output) == ({"x": 1}, [{"text": "42"}])
        assert store.events(limit=None).items == []


def test_a_tool_name_alone_makes_a_tool(home, tmp_path):
    """Pydantic AI named no operation before 1.0."""
    given = {"gen_ai.tool.name": "add", "tool_arguments": '{"x": 1}', "tool_response": "2"}

    report = imported(home, tmp_path, request(span("running tool: add", None, given)))

    assert report.tool_calls == 1


def test_a_call_of_early_adk_has_the_usage_of_its_answer(home, tmp_path):
    """It named no operation and stated no tokens but in the answer."""
    usage = {"prompt_token_count": 5, "candidates_token_count": 3, "total_token_count": 8}
    given = {
        "gen_ai.system": "gcp.vertex.agent",
        "gen_ai.request.model": "gemini-2.0-flash",
        "gcp.vertex.agent.llm_response": json.dumps({"usage_metadata": usage}),
    }

    report = imported(home, tmp_path, request(span("call_llm", None, given)))

    assert (report.generations, report.usage_stated.total) == (1, 8)


def test_an_attribute_may_name_an_event_of_the_log(home, tmp_path):
    """Log records had no field for it at first."""
    given = {
        "event.name": "gen_ai.evaluation.result",
        "gen_ai.evaluation.name": "relevance",
        "gen_ai.evaluation.score.value": 0.9,
    }
    record = {
        "traceId": hex_id("t", 16),
        "timeUnixNano": str(START_NS),
        "attributes": attributes(given),
    }

    report = imported(home, tmp_path, request(span("root")), log_request(record))

    assert report.scores == 1


def test_null_stands_for_what_is_not_stated(home, tmp_path):
    """Protobuf's JSON takes it for every field, and counts as text."""
    given = span("call", None, chat((1, 2)), kind=None, status={"code": None}, events=None)
    given |= {"droppedAttributesCount": None, "droppedLinksCount": "2", "parentSpanId": None}

    report = imported(home, tmp_path, request(given))

    assert (report.generations, report.skipped) == (1, [])


def test_spans_under_their_name_before_otlp_0_19_are_spans(home, tmp_path):
    """They were those of an instrumentation library, and older exporters still say so."""
    given = request(span("call", None, chat((1, 2))))
    (resource,) = given["resourceSpans"]
    (scope,) = resource.pop("scopeSpans")
    scope["instrumentationLibrary"] = scope.pop("scope", {"name": "old"})
    resource["instrumentationLibrarySpans"] = [scope]

    report = imported(home, tmp_path, given)

    assert (report.generations, report.skipped) == (1, [])
