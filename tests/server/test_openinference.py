"""A program instrumented with OpenInference, which knows nothing of whence, appears complete."""

from __future__ import annotations

import subprocess
import sys

from loopback import Answer
from openaiapi import chat_body, serving

import whence

PROGRAM = """
import sys
from openai import NotFoundError, OpenAI
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(
    BatchSpanProcessor(OTLPSpanExporter(endpoint=sys.argv[1] + "/v1/traces"))
)
OpenAIInstrumentor().instrument(tracer_provider=provider)
client = OpenAI(base_url=sys.argv[2], api_key="none", max_retries=0)
tools = [{
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}]
with provider.get_tracer("program").start_as_current_span(
    "answer", attributes={"openinference.span.kind": "CHAIN", "input.value": "Where is the bird?"}
) as root:
    messages = [{"role": "user", "content": "Where is the bird?"}]
    client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)
    messages += [
        {"role": "assistant", "content": "", "tool_calls": [{
            "id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"},
        }]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a bird"},
    ]
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)
    try:
        client.chat.completions.create(model="gone", messages=messages)
    except NotFoundError:
        root.set_attribute("output.value", answer.choices[0].message.content)
provider.shutdown()
"""
ASKING = {
    "finish_reason": "tool_calls",
    "index": 0,
    "message": {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        ],
    },
}
GONE = {"error": {"message": "The model `gone` does not exist", "code": "model_not_found"}}


def test_a_program_with_openinference_appears_complete(server, home):
    """Each call is there once, with tokens, messages, tool calls and error, under its chain."""
    replies = (chat_body(choices=[ASKING]), chat_body("On the roof."), Answer(GONE, status=404))
    with serving(*replies) as api:
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, f"http://{server.address}", api.url],
            check=True,
            timeout=120,
        )
        assert len(api.asked) == 3

    with whence.open(home) as store:
        run = store.runs().items[0]
        first, second, failed = store.generations(order="started", limit=None).items
        root, *calls = store.spans(order="started", limit=None).items
        tree = store.run(run.id)

    assert (run.name, len(calls), tree.run.id) == ("answer", 3, run.id)
    assert {call.parent for call in calls} == {root.id}
    assert (root.input, root.output) == ("Where is the bird?", "On the roof.")
    assert [call.model for call in (first, second)] == ["gpt-4o-mini-2024-07-18"] * 2
    assert [(c.usage.input_uncached, c.usage.output_visible) for c in (first, second)] == [
        (150, 75)
    ] * 2
    assert "look" in str(first.output)
    assert [m["role"] for m in second.messages] == ["user", "assistant", "tool"]
    assert "On the roof." in str(second.output)
    assert failed.status == "error"
    assert "does not exist" in str(failed.error)
    assert failed.usage is None
