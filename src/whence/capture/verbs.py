"""What can be said inside a run or span: one method a verb, each of which writes one record.

A verb never raises, with one exception: a link that would close a cycle. It returns the id of its
record where other records may refer to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence import _clock, _ids
from whence.capture import details, emit, state, values
from whence.capture.emit import never_raises
from whence.record.decision import Decision, Factor
from whence.record.event import Event
from whence.record.link import Link
from whence.record.score import Annotation, Output, Score
from whence.record.source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msgspec import Raw

_wall = _clock.wall_ns
_current = state.current
_write = emit.write
_plainly = emit.write_plain
_put = state.put_blob
_clean = values.clean
_text = values.text
_number = values.number


_DECISION = emit.shape(Decision)
_DecisionLine = _DECISION.line
_DECISION_HEAD = _DECISION.head
_DECISION_TEMPLATE = _DECISION.template
_FACTOR = emit.shape(Factor)
_SOURCE = emit.shape(Source)
_SCORE = emit.shape(Score)
_OUTPUT = emit.shape(Output)
_LINK = emit.shape(Link)
_EVENT = emit.shape(Event)
_ANNOTATION = emit.shape(Annotation)


class Verbs:
    """The verbs of a run or span.

    `run_id`, `span_id` and `stage` say where their records belong.
    """

    __slots__ = ()

    run_id: str
    span_id: str | None
    stage: str | None
    envelope: Raw
    """What all lines of this scope share, see `emit.envelope`."""

    def decide(
        self,
        name: str,
        what: Any,
        *,
        why: str = "",
        confidence: float | None = None,
        options: Sequence[Any] | Mapping[str, Any] | None = None,
        factors: Sequence[Any] | Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        made_by: str | None = None,
        decision_point: str | None = None,
    ) -> str:
        """Record a choice and return its id.

        Args:
            name: The question that was decided.
            what: What was chosen.
            why: The reason, in markdown.
            confidence: How sure the maker is, 0 to 1.
            options: What could have been chosen: names, `{name: probability}`, or mappings with
                `name`, `probability`, `score`, `reason_rejected`.
            factors: What weighed on it: mappings with the arguments of `factor`, or `{name:
                weight}`.
            inputs: What the maker saw.
            made_by: Who or what decided.
            decision_point: Where in the code or workflow the choice sits.

        Returns:
            The decision's id.
        """
        record_id = ""
        try:
            now = _wall()
            direct = _current.direct
            if direct is not None:
                made = direct(
                    _DECISION_TEMPLATE,
                    self.envelope,
                    now,
                    name,
                    what,
                    why,
                    confidence,
                    options,
                    factors,
                    inputs,
                    made_by,
                    decision_point,
                )
                if made is not None:
                    return made
            record_id = "%016x" % _ids.next_number()  # noqa: UP031 - faster than an f-string
            line = _DecisionLine(
                v=_DECISION_HEAD,
                run=self.envelope,
                id=record_id,
                name=name if type(name) is str else _text(name),
                what=what if type(what) is str else _clean(what, _put),
                why=why if type(why) is str else _text(why),
                confidence=confidence if confidence is None else _number(confidence),
                options=None if options is None else details.options(options, what, _put),
                factors=None if factors is None else details.factors(factors, _put),
                inputs=None if inputs is None else details.mapping(inputs, _put),
                made_by=None if made_by is None else _text(made_by),
                decision_point=None if decision_point is None else _text(decision_point),
            )
            _write(self, _DECISION, line, now)
            if line.confidence is None and confidence is not None:
                details.tell_unheld(self, name, {"confidence": confidence})
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, self.run_id)
        return record_id

    @never_raises
    def factor(
        self,
        name: str,
        raw_value: Any,
        *,
        normalized_value: float | None = None,
        weight: float | None = None,
        contribution: float | None = None,
        reasoning: str = "",
        decision: str | None = None,
    ) -> str:
        """Record one weighted consideration and return its id.

        Its contribution is normalized value x weight unless given.

        Returns:
            The factor's id.
        """
        now = _wall()
        normal, weighed = _number(normalized_value), _number(weight)
        given = _number(contribution)
        if (
            (normal is None and normalized_value is not None)
            or (weighed is None and weight is not None)
            or (given is None and contribution is not None)
        ):
            odd = {
                "normalized_value": normalized_value,
                "weight": weight,
                "contribution": contribution,
            }
            details.tell_unheld(self, name, odd)
        if given is None and normal is not None and weighed is not None:
            given = normal * weighed
        made = _plainly(
            self,
            _FACTOR,
            now,
            name,
            raw_value,
            normal,
            weighed,
            _number(given),
            reasoning,
            decision,
        )
        if made is not None:
            return made
        record_id = "%016x" % _ids.next_number()  # noqa: UP031 - faster than an f-string
        line = _FACTOR.line(
            v=_FACTOR.head,
            run=self.envelope,
            id=record_id,
            name=_text(name),
            raw_value=_clean(raw_value, _put),
            normalized_value=normal,
            weight=weighed,
            contribution=_number(given),
            reasoning=_text(reasoning),
            decision=None if decision is None else details.id_of(decision),
        )
        _write(self, _FACTOR, line, now)
        return record_id

    @never_raises
    def source(
        self,
        /,
        source_type: str,
        source_key: str,
        *,
        records_used: int | None = None,
        freshness_seconds: float | None = None,
        quality: float | None = None,
        scores: Mapping[str, Any] | None = None,
        kept: bool = True,
        reason: str | None = None,
        sample_ids: Sequence[Any] | None = None,
        digest: str | None = None,
        locator: str | None = None,
        title: str | None = None,
        **attributes: Any,
    ) -> str:
        """Record a data source or piece of evidence, kept or dropped, and return its id."""
        now = _wall()
        made = _plainly(
            self,
            _SOURCE,
            now,
            source_type,
            source_key,
            records_used,
            freshness_seconds,
            quality,
            scores,
            kept,
            reason,
            sample_ids,
            digest,
            locator,
            title,
            attributes or None,
        )
        if made is not None:
            return made
        record_id = "%016x" % _ids.next_number()  # noqa: UP031 - faster than an f-string
        attributes |= details.unheld({"freshness_seconds": freshness_seconds, "quality": quality})
        attributes |= details.unheld({"records_used": records_used}, details.whole_number)
        line = _SOURCE.line(
            v=_SOURCE.head,
            run=self.envelope,
            id=record_id,
            source_type=_text(source_type),
            source_key=_text(source_key),
            records_used=details.whole_number(records_used),
            freshness_s=_number(freshness_seconds),
            quality=_number(quality),
            scores=None if scores is None else details.mapping(scores, _put),
            kept=kept if kept is True else details.truth(kept),
            reason=None if reason is None else _text(reason),
            sample_ids=None if sample_ids is None else details.texts(sample_ids),
            digest=None if digest is None else _text(digest),
            locator=None if locator is None else _text(locator),
            title=None if title is None else _text(title),
            attributes=details.attributes(attributes, _put) if attributes else None,
        )
        _write(self, _SOURCE, line, now)
        return record_id

    @never_raises
    def score(
        self,
        /,
        name: str,
        value: float | None,
        *,
        threshold: float | None = None,
        scale: str | None = None,
        passed: bool | None = None,
        feedback: str = "",
        by: str | None = None,
        iteration: int | None = None,
        target: str | None = None,
        **attributes: Any,
    ) -> str:
        """Record a judgement and return its id.

        It passes when `value >= threshold` unless `passed` says otherwise.

        Returns:
            The score's id.
        """
        now = _wall()
        result, limit = _number(value), _number(threshold)
        if passed is None and result is not None and limit is not None:
            passed = result >= limit
        # What is no number that JSON can hold is kept as what it is.
        if (result is None and value is not None) or (limit is None and threshold is not None):
            attributes |= details.unheld({"value": value, "threshold": threshold})
        made = _plainly(
            self,
            _SCORE,
            now,
            name,
            result,
            target,
            scale,
            limit,
            passed,
            feedback,
            by,
            iteration,
            attributes or None,
        )
        if made is not None:
            return made
        record_id = "%016x" % _ids.next_number()  # noqa: UP031 - faster than an f-string
        attributes |= details.unheld({"iteration": iteration}, details.whole_number)
        line = _SCORE.line(
            v=_SCORE.head,
            run=self.envelope,
            id=record_id,
            name=_text(name),
            value=result,
            target=None if target is None else _text(target),
            scale=None if scale is None else _text(scale),
            threshold=limit,
            passed=None if passed is None else details.truth(passed),
            feedback=_text(feedback),
            by=None if by is None else _text(by),
            iteration=details.whole_number(iteration),
            attributes=details.attributes(attributes, _put) if attributes else None,
        )
        _write(self, _SCORE, line, now)
        return record_id

    @never_raises
    def output(
        self,
        /,
        id: str,  # noqa: A002 - the public name is fixed by the API document
        *,
        kind: str = "artifact",
        summary: str = "",
        value: Any = None,
        path: Any = None,
        confidence: float | None = None,
        quality: float | None = None,
        validation: Mapping[str, Any] | None = None,
        digest: str | None = None,
        **attributes: Any,
    ) -> str:
        """Record something the run produced under the user's id for it; return the record's id."""
        now = _wall()
        made = _plainly(
            self,
            _OUTPUT,
            now,
            id,
            kind,
            summary,
            value,
            path,
            confidence,
            quality,
            validation,
            digest,
            attributes or None,
        )
        if made is not None:
            return made
        record_id = "%016x" % _ids.next_number()  # noqa: UP031 - faster than an f-string
        attributes |= details.unheld({"confidence": confidence, "quality": quality})
        line = _OUTPUT.line(
            v=_OUTPUT.head,
            run=self.envelope,
            id=record_id,
            output_id=_text(id),
            output_kind=_text(kind),
            summary=_text(summary),
            value=value if type(value) is str else _clean(value, _put),
            path=None if path is None else _text(path),
            confidence=_number(confidence),
            quality=_number(quality),
            validation=None if validation is None else details.mapping(validation, _put),
            digest=None if digest is None else _text(digest),
            attributes=details.attributes(attributes, _put) if attributes else None,
        )
        _write(self, _OUTPUT, line, now)
        return record_id

    @never_raises
    def link(
        self,
        /,
        kind: str,
        target: Any,
        *,
        source: Any = None,
        confidence: float | None = None,
        inferred: bool = False,
        **attributes: Any,
    ) -> str:
        """Record a typed edge from `source`, the earlier thing, to `target`, the later one.

        Args:
            kind: One of the link kinds, or a word of your own.
            target: The later thing: an id, a run or a span.
            source: The earlier thing; this span or run if None.
            confidence: How sure the edge is, 0 to 1.
            inferred: Whether a program concluded it.
            **attributes: Whatever else is to be said about it.

        Returns:
            The link's id.

        Raises:
            LinkError: The edge points from a thing to itself, or the links of this process would
                form a cycle.
        """
        from whence.capture.links import declare  # noqa: PLC0415 - most programs declare no links

        earlier = details.id_of(source) if source is not None else self.span_id or self.run_id
        later = details.id_of(target)
        declare(earlier, later, _text(kind))
        now = _wall()
        made = _plainly(
            self, _LINK, now, kind, earlier, later, confidence, inferred, attributes or None
        )
        if made is not None:
            return made
        record_id = "%016x" % _ids.next_number()  # noqa: UP031 - faster than an f-string
        attributes |= details.unheld({"confidence": confidence})
        line = _LINK.line(
            v=_LINK.head,
            run=self.envelope,
            id=record_id,
            link_kind=_text(kind),
            source=earlier,
            target=later,
            confidence=_number(confidence),
            inferred=details.truth(inferred),
            attributes=details.attributes(attributes, _put) if attributes else None,
        )
        _write(self, _LINK, line, now)
        return record_id

    @never_raises
    def event(self, /, message: str, *, level: str = "info", **data: Any) -> str:
        """Record a log line with its data and return its id."""
        now = _wall()
        made = _plainly(self, _EVENT, now, message, level, data or None)
        if made is not None:
            return made
        record_id = "%016x" % _ids.next_number()  # noqa: UP031 - faster than an f-string
        line = _EVENT.line(
            v=_EVENT.head,
            run=self.envelope,
            id=record_id,
            message=_text(message),
            level=_text(level),
            data=details.attributes(data, _put) if data else None,
        )
        _write(self, _EVENT, line, now)
        return record_id

    @never_raises
    def tag(self, *names: str) -> None:
        """Add labels to the run or span."""
        if names:
            details.emit_update(self, {}, tags=details.texts(names))

    @never_raises
    def flag(self, reason: str) -> str:
        """Flag the run or span for review and return the id of the remark."""
        now = _wall()
        record_id = "%016x" % _ids.next_number()  # noqa: UP031 - faster than an f-string
        target = self.span_id or self.run_id
        line = _ANNOTATION.line(
            v=_ANNOTATION.head,
            run=self.envelope,
            id=record_id,
            target=target,
            flag=_text(reason),
        )
        _write(self, _ANNOTATION, line, now)
        return record_id

    @never_raises
    def record_generation(self, /, **fields: Any) -> str:
        """Record one model call and return its id.

        Args:
            **fields: `provider`, `model`, `response_model`, `operation`, `response_id`, `name`,
                `prompt_name`, `prompt_version`, `prompt_template`, `messages`, `output`,
                `parameters`, `usage` (the provider's own object or mapping, kept verbatim, or our
                buckets), `reasoning`, `finish_reason`, `attempt`, `duration_ms`, `first_chunk_ms`,
                `cost_usd`, `seed`, `media`, `policy`, `status`, `error`. Any other key becomes an
                attribute.

        Returns:
            The record's id.
        """
        return details.emit_generation(self, fields)

    @never_raises
    def tool_call(self, /, tool_name: str, **fields: Any) -> str:
        """Record one call of a tool and return its id.

        Args:
            tool_name: Which tool.
            **fields: `tool_type`, `input`, `output`, `cache_hit`, `cache_key`, `retry_count`,
                `rate_limit_delay_ms`, `duration_ms`, `status`, `error`. Any other key becomes an
                attribute.

        Returns:
            The record's id.
        """
        return details.emit_tool_call(self, tool_name, fields)

    @never_raises
    def transformation(self, /, name: str, **fields: Any) -> str:
        """Record a change of data from one shape into another and return its id.

        Args:
            name: What was done.
            **fields: `method`, `parameters`, `input_schema`, `output_schema`, `input_sample`,
                `output_sample`, `input_size`, `output_size`, `duration_ms`. Any other key becomes
                an attribute.

        Returns:
            The record's id.
        """
        return details.emit_transformation(self, name, fields)
