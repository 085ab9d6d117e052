"""Ends traces: what is kept of one, in which order, and what happens when a part of it fails.

First the run in the log, then the document and its summary beside the reports, then the row where
that is kept in a database. Each may fail without the others, and none of it reaches the pipeline: a
failure is logged, and said in the result (document 5, pipeline observability, section 10).
"""

from __future__ import annotations

import asyncio
import atexit
from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.capture import guard
from whence.capture.state import current as state
from whence.dialects.research import files, flags, keeping, live, readback, row, settings
from whence.dialects.research.trace import NoOpTrace, Trace, log
from whence.exports.research_trace import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whence.dialects.research.recording import Recording

SAVED = "supabase"
"""Key of the result for the row, under the name that document 5 gives it wherever it is kept."""
NOT_SAVED = "supabase_error"


def close(trace: Trace, error: BaseException | None) -> None:
    """End a trace at the end of its block, in code that cannot wait."""
    if trace.result is not None:
        return
    _settle(trace, error)
    document = _keep(trace, error)
    if document is not None and settings.current().postgres is not None:
        _save_row(trace, document)
    _leave(trace)


async def aclose(
    trace: Trace, error: BaseException | None = None, *, settle: bool = True
) -> dict[str, Any]:
    """End a trace and return what became of it; a second call changes nothing.

    Args:
        trace: The trace.
        error: What passed through its block.
        settle: Whether the end of a block says how it ended. Otherwise a trace that nobody marked
            is incomplete.

    Returns:
        See `TraceContext.finish`.
    """
    if trace.result is not None:
        return trace.result
    if settle:
        _settle(trace, error)
    document = _keep(trace, error)
    if document is not None:
        if settings.current().postgres is not None:
            await asyncio.to_thread(_save_row, trace, document)
        if settings.current().check_flags:
            found = await flags.check_calibration_flags(trace)
            result_of(trace)["flags"] = found
    return _leave(trace)


def result_of(trace: Trace) -> dict[str, Any]:
    """Return what became of a trace so far, to be added to."""
    if trace.result is None:
        trace.result = {"trace_id": trace.trace_id}
    return trace.result


def _settle(trace: Trace, error: BaseException | None) -> None:
    """Say how a trace ended whose block was left without anybody saying so."""
    if error is None:
        if trace.status == "in_progress":
            trace.mark_complete()
        return
    for stage in trace.stages.values():
        if stage.started_at is not None and stage.completed_at is None:
            trace.close_stage(stage, None, error)
    if trace.status != "failed":
        trace.tell_error(guard.describe(error))
        trace.mark_incomplete()


def _keep(trace: Trace, error: BaseException | None) -> dict[str, Any] | None:
    """End the run of a trace and write its files; return its document, None if it has none."""
    if isinstance(trace, NoOpTrace):
        trace.result = {"saved": False, "reason": "tracing_disabled"}
        return None
    result_of(trace)  # from here on, ending it again changes nothing
    if trace.status == "in_progress":
        trace.mark_incomplete()
    began_ns = _clock.mono_ns()
    if trace.recording is not None:
        _end_run(trace, trace.recording, error, began_ns)
        began_ns = _clock.mono_ns()
    document = _document(trace)
    _write_files(trace, document)
    trace.overhead_ns += _clock.mono_ns() - began_ns
    return document


def _end_run(
    trace: Trace, recording: Recording, error: BaseException | None, began_ns: int
) -> None:
    path = files.path_of(trace.project_name, trace.trace_id)
    try:
        _tell_parent(trace)
        recording.sync(trace)
        trace.overhead_ns += _clock.mono_ns() - began_ns
        recording.note(tracing_overhead_ms=trace.overhead_ms, trace_file_path=str(path))
        recording.finish(error)
    except Exception as failure:  # noqa: BLE001 - tracing never raises into the pipeline
        log.error("the run of trace %s was not ended: %s", trace.trace_id, guard.describe(failure))
    live.remove(recording.run.id)


def _tell_parent(trace: Trace) -> None:
    """Put into the parent's list where the report of this child is."""
    parent = live.find_open(trace.parent_trace_id) if trace.parent_trace_id else None
    if parent is None or parent.recording is None:
        return
    for child in parent.child_traces:
        if child.get("trace_id") == trace.trace_id:
            child["path"] = trace.outputs.get("report_path")
            child["output_type"] = child.get("output_type") or trace.report_type
    parent.recording.sync(parent)


def _document(trace: Trace) -> dict[str, Any]:
    """Return the document of a trace as its run was logged; from memory if the log has it not."""
    recording, result, tree = trace.recording, result_of(trace), None
    reason = "the trace was not begun by TraceContext.start"
    if recording is not None:
        try:
            tree = readback.read(recording.begun, recording.run.id)
            reason = getattr(state.writer, "last_reason", None) or "the log did not take the run"
        except Exception as error:  # noqa: BLE001 - as in `_end_run`
            reason = guard.describe(error)
        if tree is not None:
            result[SAVED] = "saved"
            return render(tree, readback.value_getter(recording.begun.home))
    result[NOT_SAVED] = reason
    log.error("Failed to write trace metadata: %s", reason)
    document = trace.to_dict()
    if state.careful:  # what was to be redacted or withheld is in memory as it was
        document |= {"stages": {}, "iterations": [], "outputs": {}, "child_traces": []}
        document["run"] |= {"query": None}
    return document


def _write_files(trace: Trace, document: Mapping[str, Any]) -> None:
    result, path = result_of(trace), files.path_of(trace.project_name, trace.trace_id)
    try:
        files.write_trace(document, trace.started_in / path)
        result["file_path"] = str(path)
        trace.outputs["trace_file_path"] = str(path)
        files.write_summary(document, trace.started_in / path)
    except Exception as error:  # noqa: BLE001 - as in `_end_run`
        result["file_error"] = guard.describe(error)
        log.error("Failed to write trace file: %s", result["file_error"])
        if "file_path" not in result and trace.recording is not None:
            trace.recording.note(trace_file_path=None)
    _warn_of_loss(trace)


def _save_row(trace: Trace, document: Mapping[str, Any]) -> None:
    """Write the row of a trace to the database that is configured."""
    result = result_of(trace)
    result.pop(SAVED, None)
    result.pop(NOT_SAVED, None)
    try:
        keeping.get_history().save(row.row_of(document, result.get("file_path")))
        result[SAVED] = "saved"
    except Exception as error:  # noqa: BLE001 - as in `_end_run`
        result[NOT_SAVED] = guard.describe(error)
        log.error("Failed to write trace metadata: %s", result[NOT_SAVED])
        _warn_of_loss(trace)


def _warn_of_loss(trace: Trace) -> None:
    result = result_of(trace)
    if "file_path" not in result and NOT_SAVED in result:
        log.warning("Trace %s: neither its file nor its row could be kept", trace.trace_id)


def _leave(trace: Trace) -> dict[str, Any]:
    live.leave(trace)
    result = result_of(trace)
    if isinstance(trace, NoOpTrace):
        trace.show_again()
    else:
        result["tracing_overhead_ms"] = trace.overhead_ms
        log.info("Trace finished: %s (status=%s)", trace.trace_id, trace.status)
    return result


def _finish_all() -> None:
    """Keep what is still open when the program ends as incomplete."""
    for trace in live.iter_open():
        if trace.result is None:
            trace.mark_incomplete()
            close(trace, None)


atexit.register(_finish_all)
