"""A trace: what a research pipeline talks to while it runs.

Comes in: stages, decisions, evidence, prompts, rounds and outputs, by the methods of document 5
(pipeline observability) section 5. Each is kept here, where `to_dict` finds it, and recorded at
once in the core run behind the trace, so that a killed pipeline has told what it told. A trace that
nobody started, as tests make them, is kept in memory alone.

No method raises into the pipeline: what goes wrong here is logged. A field that is set from outside
(`trace.intent = "validating"`) is recorded too.
"""

from __future__ import annotations

import functools
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, cast

from whence import _clock
from whence.capture import guard
from whence.dialects.research.stages import StageTrace, as_mapping, decision_of, now
from whence.exports.research_shape import trace_document
from whence.ingest import research_parts as parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from whence.capture.noop import NoOp
    from whence.dialects.research.recording import Recording

P = ParamSpec("P")
log = logging.getLogger("whence.research")

_RUN_FIELDS = frozenset(
    {"project_id", "project_name", "query", "intent", "domain", "report_type", "research_type"}
)
_NS = 1_000_000_000


class Ender(Protocol):
    """What ends traces."""

    def close(self, trace: Trace, error: BaseException | None) -> None:
        """End a trace at the end of its block, in code that cannot wait."""
        ...

    async def aclose(self, trace: Trace, error: BaseException | None) -> object:
        """End a trace at the end of its asynchronous block."""
        ...


def quietly(
    method: Callable[Concatenate[Trace, P], None],
) -> Callable[Concatenate[Trace, P], None]:
    """Return the method so that it never raises, and so that the time it takes is counted."""

    @functools.wraps(method)
    def quiet(self: Trace, *args: P.args, **kwargs: P.kwargs) -> None:
        with self.lock:
            began_ns, before_ns = _clock.mono_ns(), self.overhead_ns
            try:
                method(self, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - tracing never raises into the pipeline
                log.error("%s failed: %s", method.__name__, guard.describe(error))  # noqa: TRY400 - its class and message are enough
            finally:
                # What a method called by this one counted is part of this one's time.
                self.overhead_ns = before_ns + _clock.mono_ns() - began_ns

    return quiet


@dataclass
class Trace:
    """Full trace of a research run.

    `TraceContext.start` makes one, the run fills it, `TraceContext.finish` keeps it. As a context
    manager, sync or async, it ends itself: as complete, or as incomplete when an exception passes
    through, unless the pipeline has said how it ended.
    """

    trace_id: str
    """`trc_YYYYMMDD_HHMMSS_` and eight hexadecimal digits."""
    project_id: str | None = None
    """The project, as the user's own system knows it."""
    project_name: str | None = None
    """The project, as people call it; names the folder of its traces."""
    query: str | None = None
    """What was asked."""
    intent: str | None = None
    """`exploring`, `validating`, `executing`, `learning`, or the user's own word."""
    domain: str | None = None
    """What field the question is from."""
    report_type: str | None = None
    """`market_research`, `roadmap` and the like."""
    research_type: str | None = None
    """`competitive`, `market`, `general` and the like."""
    started_at: str | None = None
    """When it began."""
    completed_at: str | None = None
    """When it was marked as ended."""
    duration_seconds: float | None = None
    """From start to that mark, by a clock that does not jump."""
    status: str = "in_progress"
    """`in_progress`, `complete`, `incomplete` or `failed`; `disabled` where nothing is recorded."""
    stages: dict[str, StageTrace] = field(default_factory=dict[str, StageTrace])
    """The stages by name, in order of their first mention."""
    iterations: list[Any] = field(default_factory=list[Any])
    """The rounds of a retry loop."""
    iteration_count: int = 1
    """How many there were."""
    quality_gate_failures: int = 0
    """How many of them failed the gate."""
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    """Paths of what was written: `report_path`, `evidence_paths`, `knowledge_paths`."""
    child_traces: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Traces that are part of this one: `trace_id`, `output_type`, `path`."""
    parent_trace_id: str | None = None
    """The trace that this one is part of."""
    _start_time: float = field(default=0.0, repr=False, compare=False)
    _stage_start_times: dict[str, float] = field(
        default_factory=dict[str, float], repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Add what is no part of the data of a trace."""
        self.recording: Recording | None = None
        """The core run behind it; None for a trace that nobody started."""
        self.ender: Ender | None = None
        """What ends it at the end of its block; None for a trace that nobody started."""
        self.outer: Trace | None = None
        """What was current before it."""
        self.result: dict[str, Any] | None = None
        """What became of it; None until it ends."""
        self.started_in = _working_folder()
        """The folder that a relative root is below, though the program may move on meanwhile."""
        self.flags: list[str] = []
        """What was told of it on the page of alerts."""
        self.overhead_ns = 0
        """Nanoseconds spent in tracing so far."""
        self.lock = threading.RLock()
        """Held by each method: components may run in threads."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; one that describes the run is recorded."""
        object.__setattr__(self, name, value)
        if name in _RUN_FIELDS:
            recording = cast("Recording | None", self.__dict__.get("recording"))
            if recording is not None:
                recording.note(**{name: value})

    @quietly
    def start_stage(self, stage_name: str) -> None:
        """Mark the start of a stage.

        A stage that was gone through before begins a new pass; the passes before it stay under
        `earlier`. One that decisions alone have opened is the same stage, which begins now.
        """
        known = self.stages.get(stage_name)
        if known is None or known.started_at is not None or known.completed_at is not None:
            earlier = [] if known is None else [*known.earlier, known]
            if known is not None:
                known.earlier = []
            known = self.stages[stage_name] = StageTrace(stage_name, earlier=earlier)
        known.started_at = now()
        self._stage_start_times[stage_name] = _clock.mono_ns() / _NS
        if self.recording is not None:
            self.recording.begin_stage(stage_name)

    @quietly
    def end_stage(
        self,
        stage_name: str,
        outputs: Mapping[str, Any] | None = None,
        error: str | BaseException | None = None,
    ) -> None:
        """Mark the end of a stage; a stage that nobody mentioned before only warns.

        Args:
            stage_name: The stage.
            outputs: What it gave back. `model`, `token_usage`, `cost_usd` say which model was
                called at what price; `principle_scores`, `overall_score`, `passed`, `threshold`
                are a verdict.
            error: Why it failed.
        """
        stage = self.stages.get(stage_name)
        if stage is None:
            log.warning("end_stage called for unstarted stage: %s", stage_name)
            return
        self.close_stage(stage, outputs, error)

    @quietly
    def close_stage(
        self,
        stage: StageTrace,
        outputs: Mapping[str, Any] | None,
        error: str | BaseException | None,
    ) -> None:
        """End a stage, as `end_stage` does, for one that is known."""
        stage.completed_at = now()
        began = self._stage_start_times.get(stage.name)
        if began is not None:
            stage.duration_seconds = _clock.mono_ns() / _NS - began
        if outputs:
            stage.outputs = as_mapping(outputs, "value")
        if error:
            stage.error = str(error) or type(error).__name__
        if self.recording is not None:
            raised = error if isinstance(error, BaseException) else None
            self.recording.end_stage(stage, raised)

    @quietly
    def record(self, stage_name: str, decision_type: str, data: Mapping[str, Any]) -> None:
        """Record a decision within a stage, which is opened if nobody started it.

        Args:
            stage_name: The stage: `intake`, `rubric`, `collection` and the like.
            decision_type: What kind of decision: `classified_intent`.
            data: `what`, `why`, `confidence`, `alternatives_considered`, `inputs`; also `made_by`,
                `factors` and `decision_point`.
        """
        decision = decision_of(decision_type, data)
        self._stage(stage_name).decisions.append(decision)
        if self.recording is not None:
            self.recording.decide(stage_name, decision, data)

    @quietly
    def record_evidence(self, stage_name: str, evidence_data: Mapping[str, Any]) -> None:
        """Record what a stage collected; a later call replaces an earlier one.

        Args:
            stage_name: The stage.
            evidence_data: `collected_count`, `by_source`, `query_terms_used`, and the lists `kept`
                and `filtered_out` with `url`, `title`, `scores`, `reason`.
        """
        evidence = as_mapping(evidence_data, "value")
        self._stage(stage_name).evidence = evidence
        if self.recording is not None:
            self.recording.collect(stage_name, evidence)

    @quietly
    def record_prompts(self, stage_name: str, prompts: Mapping[str, Any]) -> None:
        """Record what a model is asked in a stage: `system_prompt`, `user_message`."""
        given = as_mapping(prompts, "prompt")
        self._stage(stage_name).prompts = given
        if self.recording is not None:
            self.recording.prompt(stage_name, given)

    @quietly
    def record_iteration(self, iteration_data: Mapping[str, Any]) -> None:
        """Record a round of a retry loop.

        Args:
            iteration_data: `iteration`, `passed` or `quality_gate_result`, `overall_score`, `gaps`,
                `synthesis_tokens`, `synthesis_cost`, `changes_from_previous`.
        """
        self.iterations.append(iteration_data)
        self.iteration_count = len(self.iterations)
        if parts.failed_round(as_mapping(iteration_data, "value")):
            self.quality_gate_failures += 1
        if self.recording is not None:
            self.recording.go_round(
                iteration_data, self.iteration_count, self.quality_gate_failures
            )

    @quietly
    def set_outputs(self, outputs: Mapping[str, Any]) -> None:
        """Set what the run produced: `report_path`, `evidence_paths`, `knowledge_paths`."""
        self.outputs = as_mapping(outputs, "value")
        if self.recording is not None:
            self.recording.give(self.outputs)

    @quietly
    def mark_complete(self) -> None:
        """Mark the trace as completed in order."""
        self._mark("complete")

    @quietly
    def mark_failed(self, error: str) -> None:
        """Mark the trace as failed; the reason is kept in its outputs as `error`."""
        self.tell_error(str(error))
        self._mark("failed")

    @quietly
    def mark_incomplete(self) -> None:
        """Mark the trace as incomplete: what is there of it is kept."""
        self._mark("incomplete")

    @quietly
    def tell_error(self, error: str) -> None:
        """Put what went wrong into the outputs."""
        self.outputs["error"] = error
        if self.recording is not None:
            self.recording.give(self.outputs)

    def _mark(self, status: str) -> None:
        self.status, self.completed_at = status, now()
        if self._start_time:
            self.duration_seconds = _clock.mono_ns() / _NS - self._start_time
        if self.recording is not None:
            self.recording.note(
                status=status,
                completed_at=self.completed_at,
                duration_seconds=self.duration_seconds,
            )

    def take(self, recording: Recording, start_time: float) -> None:
        """Record from now on.

        Args:
            recording: The run to record in.
            start_time: When the trace began, in seconds of the clock that does not jump.
        """
        self.recording, self._start_time = recording, start_time

    def _stage(self, name: str) -> StageTrace:
        stage = self.stages.get(name)
        if stage is None:
            stage = self.stages[name] = StageTrace(name)
        return stage

    @property
    def overhead_ms(self) -> float:
        """Milliseconds spent in tracing so far."""
        return round(self.overhead_ns / 1_000_000, 3)

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as a document, in the form of document 5 section 3.1."""
        return trace_document(
            trace_id=self.trace_id,
            project_id=self.project_id,
            project_name=self.project_name,
            query=self.query,
            intent=self.intent,
            domain=self.domain,
            report_type=self.report_type,
            research_type=self.research_type,
            started_at=self.started_at,
            completed_at=self.completed_at,
            duration_seconds=self.duration_seconds,
            status=self.status,
            stages={name: stage.to_dict() for name, stage in self.stages.items()},
            iterations=list(self.iterations),
            outputs=self.outputs,
            child_traces=list(self.child_traces),
            parent_trace_id=self.parent_trace_id,
            overhead_ms=self.overhead_ms,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _stack: object) -> None:
        if self.ender is not None:
            self.ender.close(self, error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _stack: object) -> None:
        if self.ender is not None:
            await self.ender.aclose(self, error)


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return Path()


class NoOpTrace(Trace):
    """A trace that does nothing, for projects whose tracing is off.

    Its methods are spelled out because a guard around them would cost more than they do.
    """

    def __init__(self, hidden: NoOp | None = None) -> None:
        super().__init__(trace_id="noop", status="disabled")
        self._hidden = None if hidden is None else hidden.__enter__()

    def show_again(self) -> None:
        """Let verbs inside go where they went before it: while it is open they go nowhere."""
        if self._hidden is not None:
            self._hidden.__exit__(None, None, None)

    def start_stage(self, stage_name: str) -> None:
        """Record nothing."""

    def end_stage(
        self,
        stage_name: str,
        outputs: Mapping[str, Any] | None = None,
        error: str | BaseException | None = None,
    ) -> None:
        """Record nothing."""

    def record(self, stage_name: str, decision_type: str, data: Mapping[str, Any]) -> None:
        """Record nothing."""

    def record_evidence(self, stage_name: str, evidence_data: Mapping[str, Any]) -> None:
        """Record nothing."""

    def record_prompts(self, stage_name: str, prompts: Mapping[str, Any]) -> None:
        """Record nothing."""

    def record_iteration(self, iteration_data: Mapping[str, Any]) -> None:
        """Record nothing."""

    def set_outputs(self, outputs: Mapping[str, Any]) -> None:
        """Record nothing."""

    def mark_complete(self) -> None:
        """Record nothing."""

    def mark_failed(self, error: str) -> None:
        """Record nothing."""

    def mark_incomplete(self) -> None:
        """Record nothing."""
