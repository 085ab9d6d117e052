"""The context in which an insight is computed, for document 1 (intelligence provenance).

Comes in: calls like `add_data_source`. Goes out: one run of kind `insight` with core records, each
written when it is said; what is set (the insight, its confidence, quality and validation) is one
output, written at the end, on every way out. An exception passes untouched and marks the run as
failed. Nothing here raises into the user's program, and nothing is read back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from whence import _ids
from whence.capture import api, details, values
from whence.capture.noop import NOOP, NoOp
from whence.dialects.insights.words import RUN_KIND, word

if TYPE_CHECKING:
    from whence.capture.scopes import Run, Span

DIALECT = "insights"
_SCALE = "0-1"


class ProvenanceContext:
    """One insight being computed: open it with `with` or `async with`.

    Every method may be called from any thread or task, which ends the steps that it began, and each
    gives the context back, so that calls may be chained. Inside, `run` takes every verb of whence,
    and spans opened in the block belong to it.

    Attributes:
        provenance_id: Id of the provenance record, a UUID as text; every look-up accepts it.
        run: The run, or the no-op object where nothing is recorded.
    """

    def __init__(
        self,
        worker_name: str,
        execution_id: str,
        insight_type: str,
        category_key: str | None = None,
        *,
        project: str | None = None,
        user: str | None = None,
        dialect: str = DIALECT,
    ) -> None:
        self._worker_name = worker_name
        self._about: dict[str, Any] = {
            "workflow": execution_id,
            "project": project,
            "user": user,
            "dialect": dialect,
            "insight_type": word(insight_type),
        }
        if category_key is not None:
            self._about["category_key"] = values.text(category_key)
        self._begin()

    def _begin(self) -> None:
        self.provenance_id = _new_provenance_id()
        self.run: Run | NoOp = NOOP
        self._steps: list[tuple[Span | NoOp, int]] = []
        self._step_count = 0
        self._insight: dict[str, Any] = {}
        self._metadata: dict[Any, Any] = {}

    def __enter__(self) -> Self:
        if self.run is not NOOP:  # opened a second time: another insight, and so another record
            self._begin()
        opened = api.run(
            self._worker_name, kind=RUN_KIND, external_id=self.provenance_id, **self._about
        )
        self.run = opened.__enter__()
        return self

    async def __aenter__(self) -> Self:
        return self.__enter__()

    def __exit__(self, _kind: object, error: BaseException | None, _stack: object) -> None:
        try:
            while self._steps:
                self._steps.pop()[0].finish(error)
            self._write_output()
        finally:
            self.run.__exit__(None, error, None)  # not `finish`: a muted run has a place to leave

    async def __aexit__(self, kind: object, error: BaseException | None, stack: object) -> None:
        self.__exit__(kind, error, stack)

    def add_data_source(  # noqa: PLR0917 - the signature of document 1
        self,
        source_type: str,
        source_key: str,
        records_used: int | None = None,
        freshness_seconds: float | None = None,
        quality_score: float | None = None,
        sample_ids: Sequence[Any] | None = None,
    ) -> Self:
        """Record where data came from.

        Args:
            source_type: What sort of source: `youtube_cache`.
            source_key: Which one: `youtube:games:fortnite`.
            records_used: How many of its records were used.
            freshness_seconds: Age of the data, in seconds.
            quality_score: How good it is, 0 to 1.
            sample_ids: Ids of some of the records.

        Returns:
            The context.
        """
        self._here().source(
            source_type,
            source_key,
            records_used=records_used,
            freshness_seconds=freshness_seconds,
            quality=quality_score,
            sample_ids=sample_ids,
        )
        return self

    def start_step(self, operation: str, description: str = "", algorithm: str = "default") -> Self:
        """Begin a step of the reasoning; a step begun inside another one is part of it.

        Args:
            operation: What is done: `filter`, `score`, `rank`.
            description: The same in a sentence.
            algorithm: The method used.

        Returns:
            The context.
        """
        self._step_count += 1
        step = api.step(
            operation, algorithm=algorithm, description=description, step_number=self._step_count
        )
        # Current where the caller is in this run, so that what it calls belongs to the step; a
        # thread that is in no run, or in another one, keeps what it has.
        opened = step.__enter__() if self._is_here() else step.start(within=self.run)
        self._steps.append((opened, threading.get_ident()))
        return self

    def end_step(
        self,
        input_count: int | None = None,
        output_count: int | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Self:
        """End the step that was begun last here; without one, nothing happens.

        Args:
            input_count: How many items went in.
            output_count: How many came out.
            parameters: Settings of the algorithm.

        Returns:
            The context.
        """
        place = self._find_step()
        if place is None:
            return self
        step, _ = self._steps.pop(place)
        known = {
            "input_count": input_count,
            "output_count": output_count,
            "parameters": parameters,
        }
        known = {name: value for name, value in known.items() if value is not None}
        if known:
            step.set(**known)
        step.finish()
        return self

    def add_decision_factor(
        self,
        factor_name: str,
        raw_value: Any,
        normalized_value: float | None = None,
        weight: float | None = None,
        reasoning: str = "",
    ) -> Self:
        """Record one weighted consideration; it contributes normalized value x weight.

        Args:
            factor_name: What was weighed.
            raw_value: As it was measured; what is no number, text or boolean is kept as text.
            normalized_value: The same, brought to 0..1.
            weight: How much it counts, 0 to 1.
            reasoning: Why, in a sentence.

        Returns:
            The context.
        """
        if raw_value is not None and not isinstance(raw_value, (int, float, str)):
            raw_value = values.text(raw_value)
        self._here().factor(
            factor_name,
            raw_value,
            normalized_value=normalized_value,
            weight=weight,
            reasoning=reasoning,
        )
        return self

    def set_insight(
        self, insight_id: str, insight_summary: str = "", insight_value: Any = None
    ) -> Self:
        """Say what was computed: your id for it, a sentence for people, and the thing itself."""
        self._insight |= {
            "id": values.text(insight_id),
            "summary": insight_summary,
            "value": insight_value,
        }
        return self

    def set_confidence(self, score: float, reasoning: str | None = None) -> Self:
        """Say how sure the insight is, 0 to 1, and why."""
        self._insight["confidence"] = score
        if reasoning is not None:
            self._insight["confidence_reasoning"] = reasoning
        return self

    def set_quality(self, score: float) -> Self:
        """Say how good the insight is, 0 to 1."""
        self._insight["quality"] = score
        return self

    def set_validation(
        self,
        passed: bool = True,  # noqa: FBT001, FBT002 - the signature of document 1
        errors: Sequence[str] | str | None = None,
    ) -> Self:
        """Say whether the insight is valid, and what is wrong with it."""
        found = [] if errors is None else details.texts(errors)
        self._insight["validation"] = {"passed": details.truth(passed), "errors": found}
        return self

    def add_tags(self, *tags: str | Sequence[str]) -> Self:
        """Add labels, as arguments or as lists of them."""
        self.run.tag(*(name for tag in tags for name in details.texts(tag)))
        return self

    def set_metadata(
        self, metadata: Mapping[str, Any] | str | None = None, value: Any = None, /, **more: Any
    ) -> Self:
        """Add whatever else is to be known about the insight.

        Args:
            metadata: A mapping, or the name of a single `value`.
            value: The value, if `metadata` is a name.
            **more: Further names and values.

        Returns:
            The context.
        """
        if isinstance(metadata, Mapping):
            self._metadata |= dict(metadata)
        elif metadata is not None:
            self._metadata[values.text(metadata)] = value
        self._metadata |= more
        return self

    def set_algorithm_version(self, version: str) -> Self:
        """Say which version of the worker's algorithm computed it; `1.0` where nobody does."""
        self.run.set(algorithm_version=values.text(version))
        return self

    def _is_here(self) -> bool:
        """Whether the code at hand is in this run."""
        return self.run is not NOOP and api.current_run() is self.run

    def _here(self) -> Run | Span | NoOp:
        """Return the span of this run that the code at hand is in; the run itself outside any."""
        return api.current_span() if self._is_here() else self.run

    def _find_step(self) -> int | None:
        """Return the place of the step to end.

        The one that the code at hand is in, so that steps of tasks that run side by side are not
        mixed up; else the last one of this thread; else the last one.
        """
        here, thread, last = self._here(), threading.get_ident(), None
        for place in range(len(self._steps) - 1, -1, -1):
            step, started_by = self._steps[place]
            if step is here:
                return place
            if last is None and started_by == thread:
                last = place
        return last if last is not None or not self._steps else len(self._steps) - 1

    def _write_output(self) -> None:
        said = self._insight
        if not said and not self._metadata:
            return
        more: dict[str, Any] = {"metadata": self._metadata} if self._metadata else {}
        if "confidence_reasoning" in said:
            more["confidence_reasoning"] = said["confidence_reasoning"]
        confidence, quality, validation = map(said.get, ("confidence", "quality", "validation"))
        output = self.run.output(
            said.get("id") or self.provenance_id,
            kind=RUN_KIND,
            summary=said.get("summary", ""),
            value=said.get("value"),
            confidence=confidence,
            quality=quality,
            validation=validation,
            **more,
        )
        if quality is not None:
            self.run.score("quality", quality, scale=_SCALE, target=output)
        if validation is not None:
            problems = "; ".join(validation["errors"])
            self.run.score(
                "validation", None, passed=validation["passed"], feedback=problems, target=output
            )


def provenance_context(
    worker_name: str,
    execution_id: str,
    insight_type: str,
    category_key: str | None = None,
    *,
    project: str | None = None,
    user: str | None = None,
) -> ProvenanceContext:
    """Return the context of one insight, to be opened with `with` or `async with`.

    Args:
        worker_name: What computes it; the name of the run.
        execution_id: The execution it is part of, which several insights may share.
        insight_type: An `InsightType`, or a word of your own.
        category_key: What it is about: `fortnite`.
        project: The project that the run belongs to.
        user: For whom it is computed.
    """
    return ProvenanceContext(
        worker_name, execution_id, insight_type, category_key, project=project, user=user
    )


def _new_provenance_id() -> str:
    """Return a new id in the form of a UUID (RFC 9562), in order of time."""
    digits = _ids.new_run_id()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
