"""The core run behind a trace: what a pipeline tells a trace, said in the verbs of capture.

Comes in: stages, decisions, evidence, prompts, rounds and outputs, as document 5 (pipeline
observability) has them. Goes out: a run with one span of kind `stage` a pass through a stage, and
in it decisions, sources, scores and generations, so that every reader of whence understands the
trace. What the standard records have no field for stands in attributes and events. The stage that
is open is the current span, so whatever else records in it belongs to it.

Nothing here keeps a trace in memory and nothing reads; `research_trace` is the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

import whence
from whence import _clock
from whence.capture.context import current_scope
from whence.capture.scopes import Scope
from whence.dialects.research import readback
from whence.dialects.research.stages import KNOWN_KEYS, as_mapping, more_of, stated_confidence
from whence.exports.research_shape import iso
from whence.ingest import research_parts as parts

if TYPE_CHECKING:
    from whence.capture.noop import NoOp
    from whence.capture.scopes import Run, Span
    from whence.dialects.research.readback import Mark
    from whence.dialects.research.stages import Decision, StageTrace
    from whence.dialects.research.trace import Trace

_PATHS = (
    ("report_path", "report"),
    ("evidence_paths", "evidence"),
    ("knowledge_paths", "knowledge"),
)
_DECISION_FIELDS = frozenset({"factors", "decision_point"})


def leave_ended_scope() -> None:
    """Make nothing current in this context if what is current has ended in another one."""
    scope = current_scope.get()
    if isinstance(scope, Scope) and scope.run.status != "running":
        current_scope.set(None)


class _Kept(msgspec.Struct):
    """What is recorded of the current pass through a stage."""

    decisions: int = 0
    passes: int = 0
    """How often evidence was stated."""
    outputs: Mapping[str, Any] = {}
    evidence: Mapping[str, Any] = {}
    prompts: Mapping[str, Any] = {}


class Recording:
    """A run that is open, and the spans of its stages.

    Args:
        run: The run, which is entered here.
        begun: Where the log stood before it.
    """

    def __init__(self, run: Run, begun: Mark) -> None:
        self._outer = current_scope.get()
        self.run = run.__enter__()
        self.begun = begun
        self._spans: dict[str, Span | NoOp] = {}
        self._unstarted: set[str] = set()
        self._kept: dict[str, _Kept] = {}
        self._outputs: dict[str, Any] = {}
        self._children: list[Any] = []
        self._paths: set[str] = set()
        self._judged: set[int] = set()
        self._rounds = 0

    def note(self, **attributes: Any) -> None:
        """Set attributes of the run."""
        self.run.set(**attributes)

    def begin_stage(self, name: str) -> None:
        """Open a stage and make it current; one that records alone have made is begun now."""
        before = known = self._spans.get(name)
        waits = name in self._unstarted
        self._unstarted.discard(name)
        if known is not None and waits and known.status == "running":
            known.set(unstarted=False, started_at=iso(_clock.wall_ns()))
        else:
            known = self._open(name)
            if before is not None:
                self.run.link("retry_of", known, source=before)
        if isinstance(known, Scope):
            current_scope.set(known)

    def _open(self, name: str, **fields: Any) -> Span | NoOp:
        opened = cast("Span", whence.stage(name, **fields)).start(self._around())
        self._spans[name] = opened
        self._kept[name] = _Kept()
        return opened

    def _around(self) -> Scope:
        """Return where a stage belongs: in what is open in this run, but in no other stage."""
        scope = current_scope.get()
        if not isinstance(scope, Scope) or scope.run_id != self.run.id:
            return self.run
        is_open = scope.status == "running" and scope not in self._spans.values()
        return scope if is_open else self.run

    def _span(self, name: str) -> Span | NoOp:
        known = self._spans.get(name)
        if known is None:
            self._unstarted.add(name)
            known = self._open(name, unstarted=True)
        return known

    def end_stage(self, stage: StageTrace, error: BaseException | None = None) -> None:
        """Record what a stage gave back, its verdict and its model call, and close it.

        Args:
            stage: The stage as it is now.
            error: What ended it, if it was not its own end.
        """
        span = self._span(stage.name)
        self.sync_stage(stage)
        self._record_call(span, stage)
        if error is None and stage.error:
            error = Exception(stage.error)
        if stage.error and span.status != "running":
            span.set(stage_error=stage.error)  # it had ended already
        span.finish(error)

    def sync_stage(self, stage: StageTrace) -> None:
        """Record what of a stage is not recorded yet, whoever put it there."""
        self._span(stage.name)
        kept = self._kept[stage.name]
        for decision in stage.decisions[kept.decisions :]:
            stated = {k: v for k, v in decision.to_dict().items() if k in KNOWN_KEYS}
            self.decide(stage.name, decision, stated)
        if stage.evidence != kept.evidence:
            self.collect(stage.name, stage.evidence)
        if stage.prompts != kept.prompts:
            self.prompt(stage.name, stage.prompts)
        if stage.outputs != kept.outputs:
            self._stage_outputs(stage)

    def _stage_outputs(self, stage: StageTrace) -> None:
        """Record what a stage gave back, and the verdict in it."""
        span = self._span(stage.name)
        self._kept[stage.name].outputs = dict(stage.outputs)
        span.set(output=stage.outputs)
        number = parts.round_number(stage.outputs.get("iteration"), self._rounds + 1)
        for fields in parts.scores_of(stage.name, stage.outputs):
            if fields["name"] == parts.OVERALL:
                self._judged.add(number)
            given = {key: value for key, value in fields.items() if value is not None}
            span.score(given.pop("name"), given.pop("value", None), iteration=number, **given)

    def _record_call(self, span: Span | NoOp, stage: StageTrace) -> None:
        """Record the model call that a stage states, unless the call itself was recorded."""
        fields = parts.generation_of(stage.name, stage.outputs, stage.prompts)
        if fields is None:
            return
        since_ns = 0 if stage.started_at is None else _clock.parse_ns(stage.started_at)
        if not readback.has_generation(self.begun, self.run.id, stage.name, since_ns):
            span.record_generation(**fields)

    def decide(self, stage: str, decision: Decision, data: Any) -> None:
        """Record a decision.

        Args:
            stage: The stage it was made in.
            decision: The decision.
            data: What the component said, of which the decision may not have everything.
        """
        more = more_of(data)
        fields = {key: more.pop(key) for key in _DECISION_FIELDS & more.keys()}
        span = self._span(stage)
        self._kept[stage].decisions += 1
        options = [parts.option_of(one) for one in decision.alternatives_considered]
        record_id = span.decide(
            decision.decision,
            decision.what,
            why=decision.why,
            confidence=stated_confidence(data),
            options=options or None,
            inputs=decision.inputs or None,
            made_by=decision.made_by,
            **fields,
        )
        if more:
            span.event("more about a decision", level="debug", decision=record_id, said=more)

    def collect(self, stage: str, evidence: Mapping[str, Any]) -> None:
        """Record evidence, a source a piece; a later call replaces an earlier one."""
        span = self._span(stage)
        kept = self._kept[stage]
        kept.passes, kept.evidence = kept.passes + 1, dict(evidence)
        lists = {name: parts.evidence_items(evidence, name) for name in ("kept", "filtered_out")}
        counts = {name: len(items) for name, items in lists.items() if items is not None}
        rest = {key: value for key, value in evidence.items() if key not in counts}
        span.set(evidence={parts.STATED: rest, "pass": kept.passes, **counts})
        for name, items in lists.items():
            for item in items or ():
                fields = parts.source_of(item, kept=name == "kept")
                attributes = fields.pop("attributes")
                span.source(**fields, **{"pass": kept.passes}, **attributes)

    def prompt(self, stage: str, prompts: Mapping[str, Any]) -> None:
        """Record at once what a model is going to be asked."""
        span = self._span(stage)
        self._kept[stage].prompts = dict(prompts)
        span.set(input=dict(prompts))

    def go_round(self, iteration: Any, count: int, failures: int) -> None:
        """Record a round of a retry loop, and its verdict unless the gate told it already."""
        self._rounds = count
        self.run.event(parts.ITERATION, iteration=iteration)
        self.run.set(iteration_count=count, quality_gate_failures=failures)
        given = as_mapping(iteration, "value")
        number = parts.round_number(given.get("iteration"), count)
        overall = parts.find_number(given.get("overall_score"))
        failed = parts.failed_round(given)
        if number not in self._judged and (failed or overall is not None):
            self._judged.add(number)
            self.run.score(
                parts.OVERALL, overall, scale=parts.SCALE, passed=not failed, iteration=number
            )

    def give(self, outputs: Mapping[str, Any]) -> None:
        """Record what the run produced: the whole, and each path once."""
        self._outputs = dict(outputs)
        self.run.set(output=self._outputs)
        for key, kind in _PATHS:
            stated = outputs.get(key)
            for path in (
                cast("list[Any]", stated) if isinstance(stated, (list, tuple)) else [stated]
            ):
                if path and str(path) not in self._paths:
                    self._paths.add(str(path))
                    self.run.output(str(path), kind=kind, path=str(path))

    def adopt(self, child: Recording, trace_id: str, output_type: str | None) -> None:
        """Record that another trace is part of this one."""
        self.run.link("triggered_by", child.run, trace_id=trace_id, output_type=output_type)

    def sync(self, trace: Trace) -> None:
        """Record what of a trace is not recorded yet: what was put into it without its methods."""
        for stage in trace.stages.values():
            self.sync_stage(stage)
        for iteration in trace.iterations[self._rounds :]:
            self.go_round(iteration, self._rounds + 1, trace.quality_gate_failures)
        if trace.outputs != self._outputs:
            self.give(trace.outputs)
        if trace.child_traces != self._children:
            self._children = [dict(one) for one in trace.child_traces]
            self.run.set(child_traces=self._children)

    def flag(self, reason: str) -> None:
        """Ask for a review of the run."""
        self.run.flag(reason)

    def leave(self) -> None:
        """Make current in this context what was so before the run."""
        scope = current_scope.get()
        if isinstance(scope, Scope) and scope.run_id == self.run.id:
            current_scope.set(self._outer)
            leave_ended_scope()

    def finish(self, error: BaseException | None = None) -> None:
        """End the run; stages that are open stay so, which is how readers see that they were."""
        self.run.finish(error)
