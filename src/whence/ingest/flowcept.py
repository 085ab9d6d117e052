"""Flowcept's tasks, workflows and objects become runs: one a workflow, in which a task is a stage.

Comes in: documents of its database as it exports them, or the lines of its buffer, where one task
may be told of several times, each time with what became known since. Goes out: a run for each
workflow id, and for each task a span with what it used and generated, a model or tool call where it
was one, its telemetry as attributes, and links from the tasks that it depended on. A task that has
no end keeps its run open. Tasks of the first versions, which had no workflows, are those of their
campaign.

Token counts that Flowcept estimated from the length of texts are no statement of anybody and stay
with the task's metadata.

Source: ORNL/flowcept, `TaskObject`, `WorkflowObject` and `BlobObject`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from whence import _clock
from whence.ingest import documents, json_files, keys, loose, spans, stated, usage
from whence.ingest.base import Skipped
from whence.ingest.loose import Fields
from whence.record.generation import Generation, ToolCall
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Output
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.record.base import Record

_FORMAT = "flowcept"
_MODEL, _TOOL = "ai_model_invocation", "agent_tool"
_KINDS = {_MODEL: "generation", _TOOL: "tool"}
_BEGUN = ("started_at", "submitted_at", "utc_timestamp", "registered_at", "timestamp")
"""Where a task says when it began, the best first."""
_PLACE = ("sys_name", "node_name", "hostname", "login_name", "environment_id", "flowcept_version")
_LEFT = frozenset({"_id", "task_id", "workflow_id", "used", "generated", "type"})
"""Fields of a task that are no attributes of its span."""
_FIRST = frozenset({"campaign_id", "plugin_id", "msg_id"})
"""Fields of which the first task in a file of the first versions has one."""
_SAID = frozenset({"used", "generated", "status"})
"""Fields of which every task of the first versions has one."""
_SHOWN = 4
_SHOWN_CHARS = 40
_ENDED = frozenset({"FINISHED", "ERROR"})


class _Workflow(msgspec.Struct):
    """One workflow while its tasks are read."""

    run: str
    about: Fields = {}
    """What is said of it: its own document, or what its tasks say."""
    is_told: bool = False
    """Whether it has a document of its own."""
    begun_ns: int | None = None
    ended_ns: int | None = None
    open: int = 0
    """How many of its tasks have no end."""
    failed: str | None = None
    """What went wrong in a task that failed."""


def detect(source: Source) -> bool:
    """Return whether a file begins with a task or a workflow of Flowcept."""
    found = json_files.peek(source).keys
    if "workflow_id" not in found:
        return found >= {"task_id", "used"} and not found.isdisjoint(_FIRST)
    return bool(found & {"task_id", "activity_id", "campaign_id", "flowcept_version", "object_id"})


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:  # noqa: ARG001 - every format has this form
    """Yield the records of a file, and what was left out.

    Raises:
        IngestError: The file as a whole is no JSON.
        OSError: It cannot be read.
    """
    workflows: dict[str, _Workflow] = {}
    waiting: dict[tuple[str, str], Fields] = {}
    for item in documents.iter_objects(source, "tasks", "records"):
        if isinstance(item, Skipped):
            yield item
            continue
        where, document = item
        workflow_id = _workflow_id(document)
        if workflow_id is None:
            yield Skipped(where, "it names no workflow")
            continue
        workflow = workflows.get(workflow_id)
        if workflow is None:
            workflow = workflows[workflow_id] = _Workflow(keys.run_id(_FORMAT, workflow_id))
        if loose.name(document.get("object_id")) is not None:
            yield _object(workflow, document)
            continue
        task_id = loose.name(document.get("task_id"))
        if task_id is None:
            workflow.about |= document
            workflow.is_told = True
            continue
        key = (workflow_id, task_id)
        task = {**waiting.pop(key, {}), **document}
        if _has_ended(task):
            yield from _of_task(workflow, task_id, task)
        else:
            waiting[key] = task
    for (workflow_id, task_id), task in waiting.items():
        yield from _of_task(workflows[workflow_id], task_id, task)
    for workflow_id, workflow in workflows.items():
        yield from _of_workflow(workflow_id, workflow)


def _workflow_id(document: Fields) -> str | None:
    """Return the id of a document's workflow; for a task of the first versions, its campaign."""
    known_as = loose.name(document.get("workflow_id"))
    if known_as is None and "task_id" in document and not _SAID.isdisjoint(document):
        return f"campaign {loose.name(document.get('campaign_id')) or ''}".rstrip()
    return known_as


def _has_ended(task: Fields) -> bool:
    return task.get("ended_at") is not None or task.get("status") in _ENDED


def _span(workflow: _Workflow, task_id: str) -> str:
    return keys.record_id(workflow.run, "task", task_id)


def _of_task(workflow: _Workflow, task_id: str, task: Fields) -> Iterator[Record]:
    begun_ns = next((t for name in _BEGUN if (t := stated.time_ns(task.get(name)))), 0)
    ended_ns = stated.time_ns(task.get("ended_at"))
    has_ended = ended_ns is not None or _has_ended(task)
    error = _error(task)
    _note(workflow, task, begun_ns, ended_ns, error, has_ended=has_ended)
    span, name = _span(workflow, task_id), loose.name(task.get("activity_id")) or "task"
    kind = _KINDS.get(loose.text(task.get("subtype")) or "", "stage")
    place: Fields = {"run": workflow.run, "span": span}
    if kind == "stage":
        place["stage"] = name
    parent = loose.name(task.get("parent_task_id"))
    agent = loose.name(task.get("agent_id"))
    attributes = {key: value for key, value in task.items() if key not in _LEFT}
    yield SpanStarted(
        ts=_clock.format_ns(begun_ns),
        **place,
        name=name,
        span_kind=kind,
        parent=None if parent in {None, task_id} else _span(workflow, parent or ""),
        agent=agent,
        input=task.get("used"),
        attributes={"task_id": task_id, **attributes},
    )
    for number, earlier in enumerate(loose.sequence(task.get("dependencies"))):
        other = loose.name(earlier)
        if other is not None and other != task_id:
            yield Link(
                ts=_clock.format_ns(begun_ns),
                **place,
                id=keys.record_id(workflow.run, span, "dependency", str(number)),
                link_kind="triggered_by",
                source=_span(workflow, other),
                target=span,
            )
    if not has_ended:
        return
    ended = _clock.format_ns(ended_ns or begun_ns)
    length_ns = None if ended_ns is None else spans.duration_of(begun_ns, ended_ns)
    at: Fields = {"ts": ended, **place, "id": keys.record_id(workflow.run, span, "did")}
    ends: Fields = {"status": "error" if error else "ok", "error": error, "duration_ns": length_ns}
    if kind == "generation":
        yield _generation(at, name, task, ends)
        return
    if kind == "tool":
        yield ToolCall(
            **at, tool_name=name, input=task.get("used"), output=task.get("generated"), **ends
        )
        return
    generated = loose.mapping(task.get("generated"))
    if generated:
        yield Output(
            **at,
            output_id=task_id,
            output_kind="result",
            summary=_summary(generated),
            value=generated,
        )
    yield SpanEnded(ts=ended, **place, output=task.get("generated"), **ends)


def _note(
    workflow: _Workflow,
    task: Fields,
    begun_ns: int,
    ended_ns: int | None,
    error: Fields | None,
    *,
    has_ended: bool,
) -> None:
    """Take over what a task says of its workflow."""
    if begun_ns and (workflow.begun_ns is None or begun_ns < workflow.begun_ns):
        workflow.begun_ns = begun_ns
    latest_ns = ended_ns or begun_ns
    workflow.ended_ns = max(workflow.ended_ns or 0, latest_ns)
    workflow.open += not has_ended
    if error is not None and workflow.failed is None:
        workflow.failed = str(error["message"])
    if not workflow.is_told:
        named = ("campaign_id", "user", "adapter_id", "workflow_name", *_PLACE)
        stated_here = {name: task[name] for name in named if task.get(name) is not None}
        workflow.about = {**stated_here, **workflow.about}


def _error(task: Fields) -> Fields | None:
    stderr = task.get("stderr")
    if task.get("status") != "ERROR" and not task.get("error"):
        return None
    said = stderr if stderr is not None else task.get("error")
    message = said if isinstance(said, str) else "" if said is None or said is True else str(said)
    return {"type": "ERROR", "message": message}


def _generation(at: Fields, name: str, task: Fields, ends: Fields) -> Generation:
    used, generated = loose.mapping(task.get("used")), loose.mapping(task.get("generated"))
    about = loose.mapping(task.get("custom_metadata"))
    counted = loose.mapping(about.get("llm_usage"))
    estimated = counted.get("token_count_source") == "estimated_from_chars"
    given = loose.mapping(about.get("usage_metadata")) or ({} if estimated else counted)
    config = loose.mapping(about.get("config"))
    answer = generated.get("response", task.get("generated"))
    asked = used.get("prompt", task.get("used"))
    return Generation(
        **at,
        name=name,
        model=loose.name(counted.get("model")) or loose.name(config.get("model")),
        operation="chat",
        response_id=loose.name(counted.get("provider_request_id")),
        messages=None if asked is None else [{"role": "user", "content": asked}],
        output=None if answer is None else {"role": "assistant", "content": answer},
        parameters=config or None,
        usage=usage.of_stated(given),
        finish_reason=loose.name(counted.get("finish_reason")),
        **ends,
    )


def _summary(generated: Fields) -> str:
    """Return the first few plain values of a result in a sentence."""
    plain = [
        f"{key} {str(value)[:_SHOWN_CHARS]}"
        for key, value in generated.items()
        if isinstance(value, (str, int, float))
    ]
    return ", ".join(plain[:_SHOWN])


def _object(workflow: _Workflow, document: Fields) -> Output:
    object_id = loose.name(document.get("object_id")) or ""
    task_id = loose.name(document.get("task_id"))
    created_ns = next(
        (
            t
            for name in ("created_at", "utc_timestamp")
            if (t := stated.time_ns(document.get(name)))
        ),
        0,
    )
    return Output(
        ts=_clock.format_ns(created_ns),
        run=workflow.run,
        span=None if task_id is None else _span(workflow, task_id),
        id=keys.record_id(workflow.run, "object", object_id, str(document.get("version"))),
        output_id=object_id,
        output_kind=loose.name(document.get("object_type") or document.get("type")) or "object",
        attributes={name: value for name, value in document.items() if name != "_id"},
    )


def _of_workflow(workflow_id: str, workflow: _Workflow) -> Iterator[Record]:
    about = workflow.about
    begun_ns = next((t for name in _BEGUN[:3] if (t := stated.time_ns(about.get(name)))), None)
    if workflow.begun_ns is not None:  # a workflow's own document may be dated when it was sent
        begun_ns = workflow.begun_ns if begun_ns is None else min(begun_ns, workflow.begun_ns)
    started = _clock.format_ns(begun_ns or 0)
    parent = loose.name(about.get("parent_workflow_id"))
    name = loose.name(about.get("name")) or loose.name(about.get("workflow_name"))
    tags = [tag for one in loose.sequence(about.get("tags")) if (tag := loose.name(one))]
    yield RunStarted(
        ts=started,
        run=workflow.run,
        name=name or loose.name(about.get("campaign_id")) or "workflow",
        run_kind=loose.name(about.get("subtype")) or "workflow",
        external_id=workflow_id,
        parent_run=None if parent is None else keys.run_id(_FORMAT, parent),
        workflow=loose.name(about.get("campaign_id")),
        user=loose.name(about.get("user")),
        tags=tags or None,
        environment={name: about[name] for name in _PLACE if about.get(name)} or None,
    )
    told = {name: value for name, value in about.items() if name not in {"_id", "type"}}
    if told:
        yield Update(
            ts=started,
            run=workflow.run,
            id=keys.record_id(workflow.run, "told", repr(told)),
            attributes=told,
            output=about.get("generated"),
        )
    status, ended_ns = about.get("status"), stated.time_ns(about.get("ended_at"))
    if ended_ns is None and (status in _ENDED or (workflow.ended_ns and not workflow.open)):
        ended_ns = workflow.ended_ns or begun_ns
    if ended_ns is not None:
        failed = status == "ERROR" or workflow.failed is not None
        error = {"type": "ERROR", "message": workflow.failed or ""} if failed else None
        yield RunEnded(
            ts=_clock.format_ns(ended_ns),
            run=workflow.run,
            status="failed" if failed else "complete",
            duration_ns=spans.duration_of(begun_ns or 0, ended_ns),
            error=error,
        )
