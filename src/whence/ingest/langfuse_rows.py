"""One row of Langfuse, whatever it was exported as, in the form that its API gives it.

Comes in: an object of the API, a row of the UI's table export, or of the scheduled export, whose
names are in snake case and whose cells may be text. Goes out: the row under the API's names, what
it is about, and the observation as a span under the names of the conventions.

How its usage is read stands in `bundles`. It writes 0 for totals that nobody stated.

Source: langfuse/langfuse, the API's definition and `worker/src/features/database-read-stream`;
langfuse.com/docs, "Blob storage export field reference".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from whence.errors import IngestError
from whence.ingest import bundles, calls, json_files, loose, stated
from whence.ingest.otel import STATUS_ERROR, Origin, SpanIn

if TYPE_CHECKING:
    from whence.ingest.loose import Fields


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


What = Literal["trace", "observation", "score", "other"]
TYPE = "langfuse.observation.type"

_SNAKE = re.compile(r"_([a-z0-9])")
_RENAMED = {
    "providedModelName": "model",
    "calculatedTotalCost": "totalCost",
    "calculatedInputCost": "inputCost",
    "calculatedOutputCost": "outputCost",
    "traceTags": "tags",
    "authorUserName": "author",
}
_JSON = _words("""input output metadata tags usage usageDetails costDetails providedUsageDetails
    providedCostDetails modelParameters toolCalls toolCallNames toolDefinitions comments
    observations scores subject""")
"""Columns that hold JSON where cells are text."""
_PACKED = frozenset({"input", "output"})
"""Columns of the scheduled export that hold what may be JSON as text in every format."""
ABOUT_TRACE = _words("""metadata release version environment public bookmarked htmlPath latency
    totalCost inputCost outputCost usage usageDetails costDetails level errorCount warningCount
    defaultCount debugCount observationCount inputTokens outputTokens totalTokens createdAt
    updatedAt""")
"""Fields of a trace that are attributes of its run."""
FIELDS = (
    _JSON
    | ABOUT_TRACE
    | _words("""id name timestamp userId sessionId projectId traceId startTime endTime type
        statusMessage completionStartTime model internalModelId modelId promptId promptName
        promptVersion parentObservationId isRootObservation inputPrice outputPrice totalPrice
        inputUsage outputUsage totalUsage promptTokens completionTokens timeToFirstToken
        usagePricingTierId usagePricingTierName traceName traceTimestamp unit dataType value
        stringValue source comment observationId datasetRunId configId queueId author authorUserId
        externalId""")
)
"""Every field that has a meaning; other columns of a table export are scores."""
_SCORE_NAMES = frozenset({"dataType", "stringValue"})
_MODELS = frozenset({"GENERATION", "EMBEDDING"})
_KEPT = {
    "level": "langfuse.observation.level",
    "metadata": "langfuse.observation.metadata",
    "usageDetails": "langfuse.observation.usage_details",
    "costDetails": "langfuse.observation.cost_details",
    "promptName": "langfuse.observation.prompt.name",
    "promptVersion": "langfuse.observation.prompt.version",
    "version": "langfuse.version",
    "release": "langfuse.release",
    "environment": "langfuse.environment",
    "modelId": "langfuse.model_id",
    "usagePricingTierName": "langfuse.usage_pricing_tier_name",
    "toolCallNames": "langfuse.observation.tool_call_names",
}
"""Fields that are attributes of the span, under the names that Langfuse has for them there."""


def normal(row: Fields, *, is_text: bool = False) -> Fields:
    """Return a row under the names of the API, without what is empty.

    Args:
        row: The row.
        is_text: Whether its cells are text, as CSV has them.
    """
    made: Fields = {}
    is_packed = "trace_id" in row or "project_id" in row
    for name, value in row.items():
        known_as = _SNAKE.sub(lambda match: match[1].upper(), name)
        known_as = _RENAMED.get(known_as, known_as)
        known_as = known_as if known_as in FIELDS else name
        if value is None or value == "" or known_as in made:
            continue
        may_be_json = (
            (is_text and (known_as in _JSON or known_as not in FIELDS))
            or (is_packed and known_as in _PACKED)
            or known_as == "modelParameters"
        )
        made[known_as] = _data(value) if may_be_json else value
    return made


def _data(value: Any) -> Any:
    """Return what a text stands for, where it is a list or an object in JSON."""
    if not isinstance(value, str) or value[:1] not in {"{", "["}:
        return value
    try:
        return json_files.decoded(value.encode("utf-8", "surrogatepass"))
    except IngestError:
        return value


def what_it_is(row: Fields) -> What:
    """Return what a row is about."""
    if "startTime" in row:
        return "observation" if "traceId" in row else "other"
    if _SCORE_NAMES & row.keys() and "name" in row:
        return "score"
    if "timestamp" in row and "traceId" not in row and "id" in row:
        return "trace"
    return "other"


def number(value: Any) -> float | None:
    """Return a number, also one written as text; None for 0, which stands for nothing stated."""
    return stated.number(value) or None


def cost_usd(row: Fields) -> float | None:
    """Return what an observation or trace cost; None where nobody stated it."""
    details = loose.mapping(row.get("costDetails"))
    if "total" in details:
        return stated.number(details["total"])
    usage = loose.mapping(row.get("usage"))
    for stated_cost in (row.get("totalCost"), usage.get("totalCost")):
        found = number(stated_cost)
        if found is not None:
            return found
    return None


def parent_of(row: Fields) -> str:
    """Return the id of the observation around one; empty for an outermost one."""
    return loose.name(row.get("parentObservationId")) or ""


def span_of(row: Fields, run: str, span: str) -> SpanIn:
    """Return an observation as a span.

    Args:
        row: The observation.
        run: Id of its run.
        span: Its id there.
    """
    kind = (loose.text(row.get("type")) or "SPAN").upper()
    begun_ns = stated.time_ns(row.get("startTime")) or 0
    parent = parent_of(row)
    attributes: Fields = {TYPE: kind.lower()}
    attributes |= {name: row[key] for key, name in _KEPT.items() if row.get(key) not in (None, {})}
    known_as = loose.name(row.get("id")) or ""
    if known_as != span:
        attributes["langfuse.observation.id"] = known_as
    given, answer = row.get("input"), row.get("output")
    name = loose.name(row.get("name")) or kind.lower()
    if kind == "TOOL":
        attributes |= {
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.arguments": given,
            "gen_ai.tool.call.result": answer,
        }
    else:
        attributes |= {"langfuse.observation.input": given, "langfuse.observation.output": answer}
    if kind in _MODELS:
        attributes |= _of_call(row, begun_ns)
        # What is nothing but the messages is not kept a second time.
        if attributes.get("gen_ai.input.messages") == given:
            del attributes["langfuse.observation.input"]
        if attributes.get("gen_ai.output.messages") in ([answer], answer):
            del attributes["langfuse.observation.output"]
    elif kind == "RETRIEVER":
        attributes["gen_ai.retrieval.documents"] = _documents(answer)
    failed = row.get("level") == "ERROR"
    return SpanIn(
        run,
        span,
        stated.span_id(run, parent) if parent else "",
        name,
        begun_ns,
        stated.time_ns(row.get("endTime")) or 0,
        {name: value for name, value in attributes.items() if value is not None},
        Origin({}),
        status=STATUS_ERROR if failed else 0,
        message=loose.text(row.get("statusMessage")) or "",
    )


def _of_call(row: Fields, begun_ns: int) -> Fields:
    made = calls.of_request(row.get("input")) | calls.of_answer(row.get("output"))
    parameters = loose.mapping(row.get("modelParameters"))
    made |= {f"gen_ai.request.{name}": value for name, value in parameters.items()}
    if loose.name(row.get("model")) is not None:
        made["gen_ai.request.model"] = row["model"]
    made |= _usage(row)
    cost = cost_usd(row)
    if cost is not None:
        made["gen_ai.usage.cost"] = cost
    first_ns = stated.time_ns(row.get("completionStartTime"))
    if first_ns is not None and first_ns >= begun_ns:
        made["gen_ai.response.time_to_first_chunk"] = (first_ns - begun_ns) / 1e9
    return made


def _usage(row: Fields) -> Fields:
    details = loose.mapping(row.get("usageDetails"))
    if not details:  # the older form, which has 0 for what nobody stated
        older = loose.mapping(row.get("usage")) or {
            "input": row.get("inputUsage", row.get("promptTokens")),
            "output": row.get("outputUsage", row.get("completionTokens")),
            "total": row.get("totalUsage", row.get("totalTokens")),
        }
        details = {name: older[name] for name in older if number(older[name]) is not None}
    return bundles.of_langfuse(details)


def _documents(answer: Any) -> list[Any] | None:
    """Return the documents of a retriever; None if its answer is something else."""
    inner = loose.mapping(answer).get("documents", answer)
    found = [
        {
            "content": one.get("page_content", one.get("content", one.get("text"))),
            "id": one.get("id"),
            "score": one.get("score"),
            "metadata": one.get("metadata"),
        }
        for one in loose.mappings(inner)
        if {"page_content", "content", "text"} & one.keys()
    ]
    return [{k: v for k, v in one.items() if v is not None} for one in found] or None
