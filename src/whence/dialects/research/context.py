"""Begins traces, finds the current one, and ends them: the door that pipelines come through.

Comes in: what a research run is about. Goes out: a trace that is current in this context (its task,
and the tasks it starts) until it is finished, by a call or at the end of its block. A trace that is
still open when the program ends is kept as incomplete. Nothing here raises into the pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import whence
from whence import _clock, _ids
from whence.capture import guard
from whence.capture.scopes import Run
from whence.dialects.research import ending, live, readback
from whence.dialects.research.recording import Recording, leave_ended_scope
from whence.dialects.research.trace import NoOpTrace, Trace, log
from whence.exports.research_shape import DIALECT, iso

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

_NS = 1_000_000_000


class TraceContext:
    """Begins traces, finds the current one, and ends them.

    The current trace belongs to a context: a task has its own, and passes it on to the tasks it
    starts. A function that runs in a thread finds it if it went through `whence.bind`.
    """

    @staticmethod
    def start(  # noqa: PLR0917 - the signature is the document's
        project_id: str | None = None,
        project_name: str | None = None,
        query: str | None = None,
        intent: str | None = None,
        domain: str | None = None,
        report_type: str | None = None,
        research_type: str | None = None,
        enabled: bool = True,  # noqa: FBT001, FBT002 - as above
        *,
        parent_trace_id: str | None = None,
        output_type: str | None = None,
    ) -> Trace:
        """Start a trace and make it the current one.

        Started while another trace is current and in progress, it is a child of that one.

        Args:
            project_id: The project, as the user's own system knows it.
            project_name: The project, as people call it.
            query: What is asked.
            intent: `exploring`, `validating`, `executing`, `learning`, or the user's own word.
            domain: What field the question is from.
            report_type: `market_research`, `roadmap` and the like.
            research_type: `competitive`, `market`, `general` and the like.
            enabled: False gives a trace that ignores everything.
            parent_trace_id: The trace it is part of, where that is not the current one.
            output_type: What it makes for its parent: `report`, `evidence_pack`.

        Returns:
            The trace; one that ignores everything where nothing is recorded, because tracing is off
            here, for this project, or altogether.
        """
        fields = {
            "project_id": project_id,
            "project_name": project_name,
            "query": query,
            "intent": intent,
            "domain": domain,
            "report_type": report_type,
            "research_type": research_type,
        }
        trace: Trace = NoOpTrace()
        if enabled:
            try:
                trace = _begin(fields, live.current(), parent_trace_id, output_type)
            except Exception as error:  # noqa: BLE001 - tracing never raises into the pipeline
                log.error("a trace could not be started: %s", guard.describe(error))
        trace.ender = ending
        live.enter(trace)
        return trace

    @staticmethod
    def current() -> Trace | None:
        """Return the trace of this context; None if there is none."""
        return live.current()

    @staticmethod
    def finish(trace: Trace) -> Coroutine[Any, Any, dict[str, Any]]:
        """End a trace and keep it: its run, its files, its row. To be awaited.

        A trace that nobody marked is incomplete. A second call changes nothing.

        Returns:
            `trace_id`; `file_path` or `file_error`; `supabase` (`saved`) or `supabase_error`, for
            the row wherever it is kept; `tracing_overhead_ms`; `flags` where they are checked.
            For a trace that ignores everything, `saved` (false) and `reason`.
        """
        # Now, not when it is awaited: `asyncio.run(finish(trace))` awaits it in another context.
        live.leave(trace)
        if trace.recording is not None:
            trace.recording.leave()
        return ending.aclose(trace, settle=False)


def _begin(
    fields: Mapping[str, Any],
    outer: Trace | None,
    parent_trace_id: str | None,
    output_type: str | None,
) -> Trace:
    began_ns = _clock.mono_ns()
    now_ns = _clock.wall_ns()
    trace_id = _new_id(now_ns)
    parent = _parent(outer, parent_trace_id)
    parent_id = parent_trace_id if parent is None else parent.trace_id
    above = None if parent is None else parent.recording
    begun = readback.mark()
    leave_ended_scope()
    run = whence.run(
        fields["report_type"] or DIALECT,
        project=fields["project_name"] or fields["project_id"],
        kind=DIALECT,
        external_id=trace_id,
        parent=None if above is None else above.run,
        dialect=DIALECT,
        **{key: value for key, value in fields.items() if value is not None},
        **({"parent_trace_id": parent_id} if parent_id else {}),
    )
    if not isinstance(run, Run):
        return NoOpTrace(run)
    recording = Recording(run, begun)
    trace = Trace(trace_id=trace_id, **fields, started_at=iso(now_ns), parent_trace_id=parent_id)
    trace.take(recording, began_ns / _NS)
    live.add(run.id, trace)
    if parent is not None and above is not None:
        parent.child_traces.append({"trace_id": trace_id, "output_type": output_type, "path": None})
        above.adopt(recording, trace_id, output_type)
    log.info("Trace started: %s", trace_id)
    trace.overhead_ns = _clock.mono_ns() - began_ns
    return trace


def _new_id(now_ns: int) -> str:
    stamp = _clock.format_ns(now_ns)
    date, time = stamp[:10].replace("-", ""), stamp[11:19].replace(":", "")
    return f"trc_{date}_{time}_{_ids.new_run_id()[-8:]}"


def _parent(outer: Trace | None, parent_trace_id: str | None) -> Trace | None:
    """Return the trace that a new one is part of, if it is open in this process."""
    if parent_trace_id is not None:
        return live.find_open(parent_trace_id)
    is_open = outer is not None and outer.status == "in_progress" and outer.recording is not None
    return outer if is_open else None
