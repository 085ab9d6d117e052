"""Research traces: the JSON file that a pipeline leaves beside its report, one run each.

Comes in: a document in the form of document 5 (pipeline observability) section 3, whoever wrote it.
Goes out: the records that the research dialect would have made of it: a run, a span a pass through
a stage, decisions with their options, evidence as sources, the verdict as scores, the model call as
a generation, rounds as events, children as links. Ids follow from the trace's own id, so a second
import finds them again; times are the document's. What has no time gets that of what it is in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from whence import _clock
from whence.errors import IngestError
from whence.ingest import captured, keys, usage
from whence.ingest import research_parts as parts
from whence.ingest.base import Known, Skipped
from whence.record.decision import Decision, Option
from whence.record.event import Event
from whence.record.generation import Generation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Output, Score
from whence.record.source import Source as SourceRecord
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from whence.ingest.base import Source
    from whence.record.base import Record

_FORMAT = "research-trace"
_MARKS = (b'"schema_version"', b'"trace_id"', b'"stages"')
_ID_TIME = re.compile(r"trc_(\d{4})(\d\d)(\d\d)(?:_(\d\d)(\d\d)(\d\d))?_.*")
_SECOND_NS = 1_000_000_000
_TICKS = 1_000
_ABOUT = ("query", "intent", "domain", "report_type", "research_type")
_PATHS = (
    ("report_path", "report"),
    ("evidence_paths", "evidence"),
    ("knowledge_paths", "knowledge"),
)
_ENDED = ("complete", "failed", "incomplete")
_LAST_NS = 2**63


def detect(source: Source) -> bool:
    """Whether the file is a research trace: a JSON object with the keys that only those have.

    Returns:
        True if its first bytes show them.
    """
    head = source.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"{") and all(mark in head for mark in _MARKS)


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a trace, and what was left out.

    A trace of a run that was recorded in this home is there already.

    Raises:
        IngestError: The file is damaged or no trace.
        OSError: It cannot be read.
    """
    try:
        document = parts.decode(source.content())
    except (ValueError, RecursionError) as error:
        raise IngestError(f"{source.name} is not JSON: {error}") from error
    trace_id = _mapping(document).get("trace_id")
    if not isinstance(trace_id, str) or not trace_id:
        raise IngestError(f"{source.name} is no research trace: it has no trace_id")
    reading = _Reading(source.name, cast("dict[str, Any]", document), trace_id)
    begun_ns = reading.start_ns()
    if begun_ns is not None and known.calls.has_run((trace_id,), begun_ns):
        yield from captured.already_there(reading.records(), known)
    else:
        yield from reading.records()


class _Reading:
    """One document while it is read."""

    def __init__(self, name: str, document: Mapping[str, Any], trace_id: str) -> None:
        self.name = name
        self.document = document
        self.trace_id = trace_id
        self.run = keys.run_id(_FORMAT, trace_id)
        self.about = _mapping(document.get("run"))
        self.judged: set[int] = set()

    def records(self) -> Iterator[Record | Skipped]:
        """Yield everything, in the order of the run."""
        start_ns = self.start_ns()
        if start_ns is None:
            yield Skipped(f"{self.name}:{self.trace_id}", "nothing in it says when it was")
            return
        yield self._run_started(start_ns)
        for name, stage in _mapping(self.document.get("stages")).items():
            yield from self._stage(str(name), _mapping(stage), start_ns)
        end_ns = self._end_ns(start_ns)
        yield from self._iterations(end_ns)
        yield from self._outputs(end_ns)
        yield from self._children(end_ns)
        yield from self._run_ended(end_ns)

    def start_ns(self) -> int | None:
        """Return when the run began: as stated, or the first time in it, or the one in its id."""
        stages = [_mapping(one) for one in _mapping(self.document.get("stages")).values()]
        decisions = [_mapping(one) for stage in stages for one in _list(stage.get("decisions"))]
        stated = [
            self.about.get("started_at"),
            *(stage.get("started_at") for stage in stages),
            *(decision.get("timestamp") for decision in decisions),
        ]
        for text in stated:
            moment = _time_ns(text)
            if moment is not None:
                return moment
        match = _ID_TIME.fullmatch(self.trace_id)
        if match is None:
            return None
        year, month, day, hour, minute, second = (part or "00" for part in match.groups())
        return _time_ns(f"{year}-{month}-{day}T{hour}:{minute}:{second}Z")

    def _end_ns(self, start_ns: int) -> int:
        end_ns = _time_ns(self.about.get("completed_at"))
        if end_ns is not None:
            return end_ns
        duration_ns = _duration_ns(self.about.get("duration_seconds"))
        return start_ns + (duration_ns or 0)

    def _run_started(self, start_ns: int) -> RunStarted:
        document, parent = self.document, self.document.get("parent_trace_id")
        metadata = _mapping(document.get("metadata"))
        project = document.get("project_name") or document.get("project_id")
        stated: dict[str, Any] = {
            "dialect": "research",
            "project_id": document.get("project_id"),
            "project_name": document.get("project_name"),
            **{name: self.about.get(name) for name in _ABOUT},
            "completed_at": self.about.get("completed_at"),
            "duration_seconds": parts.find_number(self.about.get("duration_seconds")),
            "tracing_overhead_ms": metadata.get("tracing_overhead_ms"),
            "parent_trace_id": parent,
            "child_traces": document.get("child_traces") or None,
        }
        if document.get("iterations"):
            stated["iteration_count"] = document.get("iteration_count")
            stated["quality_gate_failures"] = document.get("quality_gate_failures")
        return RunStarted(
            ts=_clock.format_ns(start_ns),
            run=self.run,
            name=str(self.about.get("report_type") or "research"),
            run_kind="research",
            project=str(project) if project else None,
            external_id=self.trace_id,
            parent_run=keys.run_id(_FORMAT, parent) if isinstance(parent, str) else None,
            attributes={key: value for key, value in stated.items() if value is not None},
        )

    def _run_ended(self, end_ns: int) -> Iterator[Record]:
        status = self.about.get("status")
        if status not in _ENDED:
            return
        said = _mapping(self.document.get("outputs")).get("error")
        yield RunEnded(
            ts=_clock.format_ns(end_ns),
            run=self.run,
            status=status,
            duration_ns=_duration_ns(self.about.get("duration_seconds")),
            error={"type": "error", "message": str(said)} if said else None,
        )

    def _stage(
        self, name: str, stage: Mapping[str, Any], start_ns: int
    ) -> Iterator[Record | Skipped]:
        before: str | None = None
        passes = [*map(_mapping, _list(stage.get("earlier"))), stage]
        for number, one in enumerate(passes, start=1):
            span = self._id("stage", name, number)
            yield from _Pass(self, name, number, span, one, start_ns).records()
            if before is not None:
                yield self._link("retry_of", before, span, start_ns, f"{name} {number}")
            before = span

    def _iterations(self, end_ns: int) -> Iterator[Record]:
        for count, stated in enumerate(_list(self.document.get("iterations")), start=1):
            yield Event(
                ts=_clock.format_ns(end_ns + count % _TICKS),
                run=self.run,
                id=self._id("iteration", str(count)),
                message=parts.ITERATION,
                data={"iteration": stated},
            )
            given = _mapping(stated)
            number = parts.round_number(given.get("iteration"), count)
            overall, failed = (
                parts.find_number(given.get("overall_score")),
                parts.failed_round(given),
            )
            if number not in self.judged and (failed or overall is not None):
                self.judged.add(number)
                yield Score(
                    ts=_clock.format_ns(end_ns),
                    run=self.run,
                    id=self._id("round", str(number)),
                    name=parts.OVERALL,
                    value=overall,
                    scale=parts.SCALE,
                    passed=not failed,
                    iteration=number,
                )

    def _outputs(self, end_ns: int) -> Iterator[Record]:
        outputs, ts = _mapping(self.document.get("outputs")), _clock.format_ns(end_ns)
        if not outputs:
            return
        yield Update(ts=ts, run=self.run, id=self._id("outputs"), output=dict(outputs))
        for key, kind in _PATHS:
            stated = outputs.get(key)
            for path in _list(stated) if isinstance(stated, list) else [stated]:
                if path:
                    yield Output(
                        ts=ts,
                        run=self.run,
                        id=self._id("output", str(path)),
                        output_id=str(path),
                        output_kind=kind,
                        path=str(path),
                    )

    def _children(self, end_ns: int) -> Iterator[Record]:
        for stated in map(_mapping, _list(self.document.get("child_traces"))):
            child = stated.get("trace_id")
            if isinstance(child, str) and child != self.trace_id:
                target = keys.run_id(_FORMAT, child)
                yield self._link("triggered_by", self.run, target, end_ns, child, trace_id=child)

    def _link(
        self, kind: str, source: str, target: str, ts_ns: int, key: str, **attributes: Any
    ) -> Link:
        return Link(
            ts=_clock.format_ns(ts_ns),
            run=self.run,
            id=self._id("link", kind, key),
            link_kind=kind,
            source=source,
            target=target,
            attributes=attributes or None,
        )

    def _id(self, *key: Any) -> str:
        return keys.record_id(_FORMAT, self.trace_id, *map(str, key))

    id_of = _id


class _Pass:
    """One pass through a stage of a document while it is read."""

    def __init__(  # noqa: PLR0917 - private, and called in one place
        self,
        reading: _Reading,
        name: str,
        number: int,
        span: str,
        stage: Mapping[str, Any],
        run_start_ns: int,
    ) -> None:
        self.reading = reading
        self.name = name
        self.key = (name, number)
        self.stage = stage
        self.outputs = _mapping(stage.get("outputs"))
        self.prompts = _mapping(stage.get("prompts"))
        self.stated_ns = _time_ns(stage.get("started_at"))
        first = _mapping(next(iter(_list(stage.get("decisions"))), None)).get("timestamp")
        self.start_ns = self.stated_ns or _time_ns(first) or run_start_ns
        duration_ns = _duration_ns(stage.get("duration_seconds"))
        end_ns = _time_ns(stage.get("completed_at"))
        self.made = 0
        self.duration_ns = duration_ns
        self.end_ns = self.start_ns + duration_ns if end_ns is None and duration_ns else end_ns
        self.place: dict[str, Any] = {"run": reading.run, "span": span, "stage": name}

    def records(self) -> Iterator[Record | Skipped]:
        """Yield the records of the pass, in the order in which a pipeline makes them."""
        evidence = _mapping(self.stage.get("evidence"))
        lists = {name: parts.evidence_items(evidence, name) for name in ("kept", "filtered_out")}
        counts = {name: len(items) for name, items in lists.items() if items is not None}
        attributes: dict[str, Any] = {}
        if evidence:
            rest = {key: value for key, value in evidence.items() if key not in counts}
            attributes["evidence"] = {parts.STATED: rest, "pass": 1, **counts}
        if self.stated_ns is None:
            attributes["unstarted"] = True
            if self.duration_ns is not None:
                attributes["duration_seconds"] = self.duration_ns / _SECOND_NS
        yield SpanStarted(
            ts=_clock.format_ns(self.start_ns),
            **self.place,
            name=self.name,
            span_kind="stage",
            input=dict(self.prompts) or None,
            attributes=attributes or None,
        )
        yield from self._decisions()
        for name, items in lists.items():
            for index, item in enumerate(items or ()):
                yield self._source(item, name, index)
        yield from self._verdict()
        yield from self._ended()

    def _at(self, *key: Any, ts_ns: int | None = None) -> dict[str, Any]:
        """Return where a record of the pass stands: its time, place and id.

        Records of one time are some nanoseconds apart, less than documents tell, so that their
        order stays.
        """
        moment_ns = (self.start_ns if ts_ns is None else ts_ns) + self.made % _TICKS
        self.made += 1
        return {
            "ts": _clock.format_ns(moment_ns),
            **self.place,
            "id": self.reading.id_of(*self.key, *key),
        }

    def _decisions(self) -> Iterator[Record | Skipped]:
        for index, stated in enumerate(_list(self.stage.get("decisions"))):
            if not isinstance(stated, Mapping):
                where = f"{self.reading.name}:{self.name}"
                yield Skipped(where, f"decision {index + 1} is no object")
                continue
            given = cast("Mapping[str, Any]", stated)
            made_by, inputs = given.get("made_by"), given.get("inputs")
            options = [_option(one) for one in _list(given.get("alternatives_considered"))]
            yield Decision(
                **self._at("decision", index, ts_ns=_time_ns(given.get("timestamp"))),
                name=str(given.get("decision") or "decision"),
                what=given.get("what"),
                why=str(given.get("why") or ""),
                confidence=parts.find_number(given.get("confidence")),
                options=options or None,
                inputs=dict(_mapping(inputs)) or None,
                made_by=None if made_by is None else str(made_by),
            )

    def _source(self, item: Any, name: str, index: int) -> Record:
        fields = parts.source_of(item, kept=name == "kept")
        attributes = {"pass": 1, **fields.pop("attributes")}
        return SourceRecord(**self._at(name, index), **fields, attributes=attributes)

    def _verdict(self) -> Iterator[Record]:
        """Yield the scores and the model call that the pass states, in its outputs or beside."""
        beside = {k: v for k, v in self.stage.items() if k in parts.LIFTED_KEYS}
        stated = {**beside, **self.outputs}
        number = parts.round_number(stated.get("iteration"), self.key[1])
        for fields in parts.scores_of(self.name, stated):
            if fields["name"] == parts.OVERALL:
                self.reading.judged.add(number)
            title = fields.pop("title", None)
            given = {key: value for key, value in fields.items() if value is not None}
            yield Score(
                **self._at("score", fields["name"], ts_ns=self.end_ns),
                **given,
                iteration=number,
                attributes={"title": title} if title else None,
            )
        call = parts.generation_of(self.name, stated, self.prompts)
        if call is not None:
            call["usage"] = usage.of_stated(call["usage"], call["provider"])
            source = None if call["cost_usd"] is None else "declared"
            at = self._at("generation", ts_ns=self.end_ns)
            yield Generation(**at, **call, cost_source=source)

    def _ended(self) -> Iterator[Record]:
        if self.end_ns is None:
            if self.outputs:
                yield Update(**self._at("outputs"), output=dict(self.outputs))
            return
        said = self.stage.get("error")
        yield SpanEnded(
            ts=_clock.format_ns(self.end_ns),
            **self.place,
            status="error" if said else "ok",
            duration_ns=self.duration_ns,
            output=dict(self.outputs) or None,
            error={"type": "error", "message": str(said)} if said else None,
        )


def _option(stated: Any) -> Option:
    fields = parts.option_of(stated)
    kept = {parts.STATED: fields[parts.STATED]} if parts.STATED in fields else None
    return Option(fields["name"], probability=fields.get("probability"), attributes=kept)


def _time_ns(stated: Any) -> int | None:
    """Return a time; None for what is none, such as the `...` of an abridged document."""
    try:
        moment_ns = _clock.parse_ns(stated) if isinstance(stated, str) else -1
    except (ValueError, OverflowError):
        return None
    return moment_ns if 0 <= moment_ns < _LAST_NS else None


def _duration_ns(seconds: Any) -> int | None:
    number = parts.find_number(seconds)
    if number is None or not 0 <= number < _LAST_NS // _SECOND_NS:
        return None
    return round(number * _SECOND_NS)


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else ()
