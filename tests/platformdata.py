"""Small exports of platforms, made by hand in the forms that they document.

Each function returns the document, or the rows, as Python data; `FILES` has one file of each
format, for what holds for all of them.
"""

from __future__ import annotations

import base64
import csv
import json
from typing import TYPE_CHECKING, Any

from trajectorydata import document, lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRACE = "5b8efff798038103d269b633813fc60c"
DAY = "2026-01-01T"


def langfuse_observation(number: int, kind: str, name: str, **more: Any) -> dict[str, Any]:
    """Return an observation as the API of Langfuse gives it, inside the first one."""
    return {
        "id": f"aaaaaaaaaaaaaaa{number}",
        "traceId": TRACE,
        "type": kind,
        "name": name,
        "startTime": f"{DAY}00:00:0{number}.000Z",
        "endTime": f"{DAY}00:00:0{number}.500Z",
        "completionStartTime": None,
        "model": None,
        "modelParameters": None,
        "input": None,
        "output": None,
        "metadata": {},
        "usage": {"input": 0, "output": 0, "total": 0, "unit": "TOKENS"},
        "usageDetails": {},
        "costDetails": {},
        "level": "DEFAULT",
        "statusMessage": None,
        "parentObservationId": "aaaaaaaaaaaaaaa0",
        "environment": "default",
        **more,
    }


def langfuse_observations() -> list[dict[str, Any]]:
    """Return an agent that searched, asked a model, failed with a tool, and said so."""
    usage = {
        "input": 8,
        "input_cached_tokens": 4,
        "output": 2,
        "output_reasoning_tokens": 1,
        "total": 15,
    }
    return [
        langfuse_observation(
            0, "AGENT", "agent", parentObservationId=None, endTime=f"{DAY}00:00:09.000Z"
        ),
        langfuse_observation(
            1,
            "RETRIEVER",
            "search",
            input="capital?",
            output=[{"page_content": "Paris is the capital", "metadata": {"source": "fr.md"}}],
        ),
        langfuse_observation(
            2,
            "GENERATION",
            "chat",
            model="gpt-5",
            modelParameters={"temperature": 0.2},
            completionStartTime=f"{DAY}00:00:02.250Z",
            input=[{"role": "user", "content": "capital?"}],
            output={"role": "assistant", "content": "Paris"},
            usageDetails=usage,
            costDetails={"input": 0.001, "output": 0.002, "total": 0.003},
            promptName="ask",
            promptVersion=3,
        ),
        langfuse_observation(
            3, "TOOL", "lookup", input={"q": 1}, level="ERROR", statusMessage="no city"
        ),
        langfuse_observation(
            4, "EVENT", "cache miss", endTime=None, level="WARNING", input={"key": 1}
        ),
        langfuse_observation(5, "SPAN", "format"),
    ]


def langfuse_scores() -> list[dict[str, Any]]:
    """Return a number on the trace, a truth on the model call, and a word of a person."""
    common = {"traceId": TRACE, "timestamp": f"{DAY}01:00:00.000Z", "observationId": None}
    return [
        {
            **common,
            "id": "s1",
            "name": "correctness",
            "source": "EVAL",
            "dataType": "NUMERIC",
            "value": 0.9,
            "comment": "good",
        },
        {
            **common,
            "id": "s2",
            "name": "is_ok",
            "source": "API",
            "dataType": "BOOLEAN",
            "value": 1,
            "stringValue": "True",
            "observationId": "aaaaaaaaaaaaaaa2",
        },
        {
            **common,
            "id": "s3",
            "name": "tone",
            "source": "ANNOTATION",
            "dataType": "CATEGORICAL",
            "value": 0,
            "stringValue": "polite",
            "authorUserId": "u1",
        },
    ]


def langfuse_trace() -> dict[str, Any]:
    """Return a trace as `GET /api/public/traces/{id}` gives it."""
    return {
        "id": TRACE,
        "timestamp": f"{DAY}00:00:00.000Z",
        "name": "ask",
        "input": {"q": "capital?"},
        "output": "Paris",
        "sessionId": "s-1",
        "release": "1.0",
        "version": None,
        "userId": "ada",
        "metadata": {"m": 1},
        "tags": ["demo"],
        "public": False,
        "environment": "default",
        "htmlPath": f"/project/p/traces/{TRACE}",
        "latency": 9.0,
        "totalCost": 0.003,
        "observations": langfuse_observations(),
        "scores": langfuse_scores(),
    }


def phoenix_span(number: int, kind: str, name: str, **more: Any) -> dict[str, Any]:
    """Return a span as the API of Phoenix gives it, inside the first one."""
    return {
        "id": f"U3Bhbjo{number}",
        "name": name,
        "context": {"trace_id": TRACE, "span_id": f"aaaaaaaaaaaaaaa{number}"},
        "span_kind": kind,
        "parent_id": "aaaaaaaaaaaaaaa0",
        "start_time": f"{DAY}00:00:0{number}+00:00",
        "end_time": f"{DAY}00:00:0{number}.500000+00:00",
        "status_code": "OK",
        "status_message": "",
        "attributes": {},
        "events": [],
        **more,
    }


def phoenix_spans() -> list[dict[str, Any]]:
    """Return an agent that searched, asked a model and failed with a tool."""
    failure = {"exception.type": "KeyError", "exception.message": "no city"}
    return [
        phoenix_span(
            0,
            "AGENT",
            "agent",
            parent_id=None,
            end_time=f"{DAY}00:00:09+00:00",
            attributes={"input.value": "capital?", "session.id": "s-1", "user.id": "ada"},
        ),
        phoenix_span(
            1,
            "RETRIEVER",
            "search",
            attributes={
                "retrieval.documents.0.document.id": "fr",
                "retrieval.documents.0.document.content": "Paris is the capital",
                "retrieval.documents.0.document.score": 0.9,
            },
        ),
        phoenix_span(
            2,
            "LLM",
            "chat",
            attributes={
                "llm.model_name": "gpt-5",
                "llm.token_count.prompt": 12,
                "llm.token_count.completion": 3,
                "llm.token_count.total": 15,
                "llm.cost.total": 0.003,
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.content": "capital?",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.content": "Paris",
            },
        ),
        phoenix_span(
            3,
            "TOOL",
            "lookup",
            status_code="ERROR",
            status_message="no city",
            attributes={"tool.name": "lookup", "input.value": "{}"},
            events=[
                {"name": "exception", "timestamp": f"{DAY}00:00:03.1+00:00", "attributes": failure}
            ],
        ),
    ]


def phoenix_annotations() -> list[dict[str, Any]]:
    """Return annotations of a span, of a document that it found, and of the trace."""
    return [
        {
            "id": "a1",
            "created_at": f"{DAY}01:00:00+00:00",
            "updated_at": f"{DAY}01:00:00+00:00",
            "source": "API",
            "user_id": None,
            "name": "correctness",
            "annotator_kind": "LLM",
            "span_id": "aaaaaaaaaaaaaaa0",
            "result": {"label": "correct", "score": 1.0, "explanation": "it is"},
            "metadata": {},
            "identifier": "",
        },
        {
            "name": "relevance",
            "annotator_kind": "CODE",
            "span_id": "aaaaaaaaaaaaaaa1",
            "document_position": 0,
            "result": {"score": 0.4},
        },
        {
            "id": "t1",
            "created_at": f"{DAY}01:00:00+00:00",
            "name": "tone",
            "annotator_kind": "HUMAN",
            "trace_id": TRACE,
            "result": {"label": "kind"},
        },
    ]


def mlflow_span(number: int, kind: str, name: str, **more: Any) -> dict[str, Any]:
    """Return a span of schema 3, inside the first one; attributes are given as data."""
    ids = [base64.b64encode(bytes.fromhex(f"aaaaaaaaaaaaaa0{n}")).decode() for n in (number, 0)]
    attributes = {
        "mlflow.traceRequestId": f"tr-{TRACE}",
        "mlflow.spanType": kind,
        **more.pop("attributes", {}),
    }
    return {
        "trace_id": base64.b64encode(bytes.fromhex(TRACE)).decode(),
        "span_id": ids[0],
        "parent_span_id": ids[1] if number else None,
        "name": name,
        "start_time_unix_nano": 1767225600000000000 + number * 10**9,
        "end_time_unix_nano": 1767225600500000000 + number * 10**9,
        "events": [],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {key: json.dumps(value) for key, value in attributes.items()},
        "links": [],
        **more,
    }


def mlflow_trace() -> dict[str, Any]:
    """Return a trace as `Trace.to_json` writes it: retrieval, model call and failed tool."""
    failure = {"exception.type": "ValueError", "exception.message": "no city"}
    document_ = {"page_content": "Paris is the capital", "metadata": {"doc_uri": "fr.md"}}
    request = {
        "model": "gpt-5",
        "messages": [{"role": "user", "content": "capital?"}],
        "temperature": 0.2,
    }
    choice = {"message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}
    source = {"source_type": "LLM_JUDGE", "source_id": "judge-1"}
    person = {"source_type": "HUMAN", "source_id": "ada"}
    common = {"trace_id": f"tr-{TRACE}", "create_time": f"{DAY}01:00:00Z", "valid": True}
    return {
        "info": {
            "trace_id": f"tr-{TRACE}",
            "client_request_id": "req-9",
            "trace_location": {
                "type": "MLFLOW_EXPERIMENT",
                "mlflow_experiment": {"experiment_id": "7"},
            },
            "request_time": f"{DAY}00:00:00Z",
            "state": "OK",
            "trace_metadata": {
                "mlflow.trace_schema.version": "3",
                "mlflow.trace.session": "s-1",
                "mlflow.trace.user": "ada",
                "mlflow.trace.cost": '{"input_cost": 0.001, "total_cost": 0.003}',
            },
            "assessments": [
                {
                    **common,
                    "assessment_id": "a-1",
                    "assessment_name": "correctness",
                    "source": source,
                    "feedback": {"value": True},
                    "rationale": "right",
                },
                {
                    **common,
                    "assessment_id": "a-2",
                    "assessment_name": "relevance",
                    "source": person,
                    "span_id": "aaaaaaaaaaaaaa01",
                    "feedback": {"value": 0.75},
                },
                {
                    **common,
                    "assessment_id": "a-3",
                    "assessment_name": "facts",
                    "source": person,
                    "expectation": {
                        "serialized_value": {
                            "serialization_format": "JSON_FORMAT",
                            "value": '["Paris"]',
                        }
                    },
                },
            ],
            "tags": {"mlflow.traceName": "ask", "env": "test"},
            "execution_duration_ms": 9000,
        },
        "data": {
            "spans": [
                mlflow_span(
                    0,
                    "AGENT",
                    "agent",
                    end_time_unix_nano=1767225609000000000,
                    attributes={"mlflow.spanInputs": {"q": 1}, "mlflow.spanOutputs": "Paris"},
                ),
                mlflow_span(
                    1, "RETRIEVER", "search", attributes={"mlflow.spanOutputs": [document_]}
                ),
                mlflow_span(
                    2,
                    "CHAT_MODEL",
                    "chat",
                    attributes={
                        "mlflow.spanInputs": request,
                        "mlflow.spanOutputs": {"id": "c1", "choices": [choice]},
                        "mlflow.chat.tokenUsage": {
                            "input_tokens": 12,
                            "output_tokens": 3,
                            "total_tokens": 15,
                        },
                        "mlflow.llm.provider": "openai",
                        "mlflow.llm.cost": {"input_cost": 0.001, "total_cost": 0.003},
                    },
                ),
                mlflow_span(
                    3,
                    "TOOL",
                    "lookup",
                    status={"code": "STATUS_CODE_ERROR", "message": "ValueError: no city"},
                    attributes={"mlflow.spanInputs": {"city": "x"}},
                    events=[
                        {
                            "name": "exception",
                            "time_unix_nano": 1767225603400000000,
                            "attributes": failure,
                        }
                    ],
                ),
            ]
        },
    }


def lineage_event(kind: str, second: int, run: str, job: str, **more: Any) -> dict[str, Any]:
    """Return an event of OpenLineage."""
    facets = more.pop("facets", {})
    return {
        "eventType": kind,
        "eventTime": f"{DAY}00:00:{second:02d}Z",
        "run": {"runId": run, "facets": facets},
        "job": {"namespace": "shop", "name": job, "facets": more.pop("job_facets", {})},
        "inputs": [],
        "outputs": [],
        "producer": "https://example.com/p",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        **more,
    }


def lineage_dataset(name: str, **facets: Any) -> dict[str, Any]:
    """Return a dataset of OpenLineage."""
    return {"namespace": "postgres://db:5432", "name": name, "facets": facets}


LOAD, REPORT = "0190a0a0-0000-7000-8000-00000000000a", "0190a0a0-0000-7000-8000-00000000000b"


def lineage_events() -> list[dict[str, Any]]:
    """Return a job that loads a table, and one inside it that reports on it and fails."""
    rows = {"outputStatistics": {"rowCount": 2000}}
    checks = {"assertions": [{"assertion": "not_null", "column": "id", "success": False}]}
    parent = {"run": {"runId": LOAD}, "job": {"namespace": "shop", "name": "load"}}
    failure = {"message": "no such column", "stackTrace": "at 1"}
    raw, orders = lineage_dataset("raw"), lineage_dataset("orders")
    return [
        lineage_event("START", 0, LOAD, "load", inputs=[raw], outputs=[orders]),
        lineage_event(
            "COMPLETE",
            5,
            LOAD,
            "load",
            inputs=[raw],
            outputs=[{**orders, "outputFacets": rows}],
            facets={"processing_engine": {"name": "dbt", "_producer": "x"}},
        ),
        lineage_event(
            "START",
            6,
            REPORT,
            "report",
            facets={"parent": parent},
            job_facets={"sql": {"query": "SELECT x"}},
            inputs=[lineage_dataset("orders", dataQualityAssertions=checks)],
        ),
        lineage_event("FAIL", 7, REPORT, "report", facets={"errorMessage": failure}),
    ]


def flowcept_task(number: int, **more: Any) -> dict[str, Any]:
    """Return a task of Flowcept."""
    begun = 1767225600 + number
    return {
        "_id": {"$oid": f"65c5340c8742cbf9f72b8b7{number}"},
        "type": "task",
        "task_id": f"task-{number}",
        "activity_id": "train",
        "workflow_id": "wf_1",
        "campaign_id": "campaign",
        "user": "ada",
        "hostname": "node1",
        "submitted_at": begun - 18_000,
        "started_at": begun + 0.25,
        "ended_at": begun + 0.75,
        "status": "FINISHED",
        "used": {"epochs": number},
        "generated": {"loss": 0.5, "model": {"layers": 3}},
        "telemetry_at_start": {"cpu": {"percent_all": 32.1}},
        **more,
    }


def flowcept_tasks() -> list[dict[str, Any]]:
    """Return a training, a model call, a tool call, and a task that failed because of the first."""
    provider = {
        "model": "gpt-5",
        "input_tokens": 12,
        "output_tokens": 3,
        "total_tokens": 15,
        "token_count_source": "provider",
    }
    return [
        flowcept_task(0),
        flowcept_task(
            1,
            subtype="ai_model_invocation",
            activity_id="llm_interaction",
            agent_id="planner",
            used={"prompt": "capital?"},
            generated={"response": "Paris"},
            custom_metadata={"llm_usage": provider},
        ),
        flowcept_task(2, subtype="agent_tool", activity_id="lookup", generated={"city": "Paris"}),
        flowcept_task(
            3, status="ERROR", stderr="out of memory", generated=None, dependencies=["task-0"]
        ),
    ]


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as CSV in which lists and objects are JSON, and return the path."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(names)
        for row in rows:
            writer.writerow([_cell(row.get(name)) for name in names])
    return path


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


FILES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "langfuse": ("trace.json", lambda path: document(path, langfuse_trace())),
    "phoenix": ("spans.jsonl", lambda path: lines(path, phoenix_spans())),
    "mlflow": ("trace.json", lambda path: document(path, mlflow_trace())),
    "openlineage": ("events.jsonl", lambda path: lines(path, lineage_events())),
    "flowcept": ("tasks.json", lambda path: document(path, flowcept_tasks())),
}
"""Format to the name of a file and the function that writes it."""


def made(folder: Path, format_name: str) -> Path:
    """Write the file of a format into a folder, and return its path."""
    name, write = FILES[format_name]
    return write(folder / name)
