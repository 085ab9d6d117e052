"""One run of OpenLineage, gathered from its events: what its jobs read, wrote and came to.

Comes in: events. Goes out: the event's own record at once, and everything else when the run is
complete, since a dataset is told of anew with every event of a job, and its facets with the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.ingest import json_files, keys, loose, spans
from whence.ingest.loose import Fields
from whence.record.event import Event
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output, Score
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.record.base import Record

_STATUS = {"COMPLETE": "ok", "FAIL": "error", "ABORT": "cancelled"}
"""What ends a job to the status of its span."""
_RUN_STATUS = {"ok": "complete", "error": "failed", "cancelled": "cancelled"}
_OWN = frozenset({"_producer", "_schemaURL", "_deleted"})
_ROWS = ("rowCount", "records", "numRows")
_TICKS = 1_000

_JobKey = tuple[str, str]


class _Job(msgspec.Struct):
    """One job of a run."""

    namespace: str
    name: str
    span: str
    facets: Fields = {}
    """Facets of the job and of the run in its events, the last word of each."""
    inputs: dict[str, Fields] = {}
    """Key of a dataset to what is said of it."""
    outputs: dict[str, Fields] = {}
    begun_ns: int | None = None
    ended_ns: int | None = None
    status: str | None = None
    """Status of its span; None if it has not ended."""

    @property
    def parent(self) -> Fields:
        """What its parent facet says."""
        return loose.mapping(self.facets.get("parent"))


class OpenRun:
    """A run while its events come in.

    Args:
        run: Id of the run.
        known_as: Its `runId`; empty if it has none.
    """

    def __init__(self, run: str, known_as: str) -> None:
        self.run = run
        self._known_as = known_as
        self._jobs: dict[_JobKey, _Job] = {}
        self._times: list[int] = []
        self._said: dict[str, int] = {}
        self._about: Fields = {}
        self._made = 0

    def add(self, event: Fields) -> Event:
        """Return the record of an event, which is taken over.

        Raises:
            IngestError: It is nested too deeply.
        """
        print_ = json_files.fingerprint(event)
        job = self._job(loose.mapping(event.get("job")))
        time_ns = loose.time_ns(event.get("eventTime"))
        if time_ns is not None:
            # Begin and end are all that is needed of the times.
            self._times = sorted({*self._times[:1], *self._times[-1:], time_ns})
        kind = (loose.text(event.get("eventType")) or "OTHER").upper()
        for of in (event.get("job"), event.get("run")):
            job.facets |= _facets(loose.mapping(of).get("facets"))
        for name, known in (("inputs", job.inputs), ("outputs", job.outputs)):
            for dataset in loose.mappings(event.get(name)):
                _add_dataset(known, dataset)
        for name in ("producer", "schemaURL"):
            if name in event:
                self._about[name] = event[name]
        if kind in _STATUS:
            job.status, job.ended_ns = _STATUS[kind], time_ns
        elif time_ns is not None:
            job.begun_ns = time_ns if job.begun_ns is None else min(job.begun_ns, time_ns)
        times_said = self._said[print_] = self._said.get(print_, 0) + 1
        return Event(
            ts=_clock.format_ns(time_ns or self._begun_ns()),
            run=self.run,
            span=job.span,
            stage=job.name,
            id=keys.record_id(self.run, "event", print_, str(times_said)),
            message=f"{kind} {job.name}",
            data=event,
        )

    def _job(self, stated: Fields) -> _Job:
        namespace, name = (loose.name(stated.get(k)) or "" for k in ("namespace", "name"))
        key = (namespace, name)
        if key not in self._jobs:
            span = keys.record_id(self.run, "job", namespace, name)
            self._jobs[key] = _Job(namespace, name or "(unnamed job)", span)
        return self._jobs[key]

    def _begun_ns(self) -> int:
        return self._times[0] if self._times else 0

    def records(self) -> Iterator[Record]:
        """Yield what the events add up to."""
        tops = [job for job in self._jobs.values() if self._above(job) is None]
        top = (tops or list(self._jobs.values()))[0]
        yield self._started(top)
        for job in self._jobs.values():
            yield from self._of_job(job)
        ended = [job.status for job in tops or [top]]
        if None not in ended:
            last_ns = self._times[-1] if self._times else 0
            status = next((s for s in ("error", "cancelled") if s in ended), "ok")
            failed = next((job for job in tops or [top] if job.status == "error"), None)
            yield RunEnded(
                ts=_clock.format_ns(last_ns),
                run=self.run,
                status=_RUN_STATUS[status],
                duration_ns=spans.duration_of(self._begun_ns(), last_ns) if self._timed else None,
                error=None if failed is None else _error(failed),
            )

    @property
    def _timed(self) -> bool:
        return len(self._times) > 1

    def _started(self, top: _Job) -> RunStarted:
        parent = loose.mapping(top.parent.get("run"))
        root = loose.mapping(loose.mapping(top.parent.get("root")).get("run"))
        parent_id = self._other(parent.get("runId"))
        engine = loose.mapping(top.facets.get("processing_engine"))
        variables = loose.mapping(top.facets.get("environmentVariables"))
        about = {"processing_engine": engine, "variables": variables.get("environmentVariables")}
        job_type = loose.mapping(top.facets.get("jobType"))
        attributes = {"namespace": top.namespace, **self._about, "parent": top.parent}
        attributes["undated"] = not self._times
        return RunStarted(
            ts=_clock.format_ns(self._begun_ns()),
            run=self.run,
            name=top.name,
            run_kind=(loose.text(job_type.get("integration")) or "job").lower(),
            project=top.namespace or None,
            external_id=self._known_as or None,
            parent_run=None if parent_id is None else keys.run_id("openlineage", parent_id),
            workflow=self._other(root.get("runId")),
            tags=_tags(top.facets) or None,
            attributes={name: value for name, value in attributes.items() if value},
            environment={name: value for name, value in about.items() if value} or None,
        )

    def _other(self, run_id: Any) -> str | None:
        """Return the id of another run; None for none, and for this one's own."""
        known_as = loose.name(run_id)
        return None if known_as == self._known_as or "{{" in (known_as or "") else known_as

    def _above(self, job: _Job) -> _Job | None:
        """Return the job of this run that a job's parent facet names."""
        stated = loose.mapping(job.parent.get("job"))
        named = tuple(loose.name(stated.get(key)) or "" for key in ("namespace", "name"))
        above = self._jobs.get((named[0], named[1]))
        return None if above is job else above

    def _at(self, unix_ns: int, job: _Job, *key: str) -> Fields:
        """Return the fields that every record has; those of one time stay in order."""
        self._made += 1
        return {
            "ts": _clock.format_ns(unix_ns + self._made % _TICKS),
            "run": self.run,
            "span": job.span,
            "stage": job.name,
            "id": keys.record_id(self.run, job.span, *key),
        }

    def _of_job(self, job: _Job) -> Iterator[Record]:
        begun_ns = self._begun_ns() if job.begun_ns is None else job.begun_ns
        begun_ns = begun_ns if job.ended_ns is None else min(begun_ns, job.ended_ns)
        ended_ns = begun_ns if job.ended_ns is None else job.ended_ns
        above = self._above(job)
        yield SpanStarted(
            ts=_clock.format_ns(begun_ns),
            run=self.run,
            span=job.span,
            stage=job.name,
            name=job.name,
            span_kind="stage",
            parent=None if above is None else above.span,
            input=loose.mapping(job.facets.get("sql")).get("query"),
            attributes={"namespace": job.namespace, **job.facets},
        )
        for key, dataset in job.inputs.items():
            yield self._source(job, begun_ns, key, dataset)
            yield from self._assertions(job, ended_ns, key, dataset)
            at = self._at(begun_ns, job, "used", key)
            yield Link(**at, link_kind="used", source=key, target=job.span)
        for key, dataset in job.outputs.items():
            yield self._output(job, ended_ns, key, dataset)
            yield from self._assertions(job, ended_ns, key, dataset)
            at = self._at(ended_ns, job, "generated", key)
            yield Link(**at, link_kind="generated", source=job.span, target=key)
        if job.status is not None:
            yield SpanEnded(
                ts=_clock.format_ns(ended_ns),
                run=self.run,
                span=job.span,
                stage=job.name,
                status=job.status,
                duration_ns=None
                if job.begun_ns is None or job.ended_ns is None
                else spans.duration_of(begun_ns, ended_ns),
                error=_error(job) if job.status == "error" else None,
            )

    def _source(self, job: _Job, ts_ns: int, key: str, dataset: Fields) -> Source:
        facets = loose.mapping(dataset.get("facets"))
        described = loose.mapping(facets.get("dataSource"))
        return Source(
            **self._at(ts_ns, job, "input", key),
            source_type="dataset",
            source_key=key,
            title=loose.name(dataset.get("name")),
            records_used=_rows(facets),
            locator=loose.name(described.get("uri")),
            attributes=dataset,
        )

    def _output(self, job: _Job, ts_ns: int, key: str, dataset: Fields) -> Output:
        facets = loose.mapping(dataset.get("facets"))
        rows = _rows(facets)
        said = loose.text(loose.mapping(facets.get("documentation")).get("description"))
        return Output(
            **self._at(ts_ns, job, "output", key),
            output_id=key,
            output_kind="dataset",
            summary=said or ("" if rows is None else f"{rows:,} rows"),
            attributes=dataset,
        )

    def _assertions(self, job: _Job, ts_ns: int, key: str, dataset: Fields) -> Iterator[Score]:
        facet = loose.mapping(loose.mapping(dataset.get("facets")).get("dataQualityAssertions"))
        for number, stated in enumerate(loose.mappings(facet.get("assertions"))):
            name, column = loose.name(stated.get("assertion")), loose.name(stated.get("column"))
            success = stated.get("success")
            yield Score(
                **self._at(ts_ns, job, "assertion", key, str(number)),
                name=f"{name or 'assertion'}{f' of {column}' if column else ''}",
                passed=success if isinstance(success, bool) else None,
                by="rule",
                attributes={"dataset": key, **stated},
            )


def dataset_key(dataset: Fields) -> str:
    """Return the id of a dataset: its namespace and name, as OpenLineage names them together."""
    namespace, name = (loose.name(dataset.get(key)) or "" for key in ("namespace", "name"))
    between = "" if not namespace or name.startswith("/") else "/"
    return f"{namespace}{between}{name}"


def _add_dataset(known: dict[str, Fields], dataset: Fields) -> None:
    """Take over what an event says of a dataset; facets of its role are facets like others."""
    key = dataset_key(dataset)
    if not key:
        return
    before = known.get(key, {})
    facets = loose.mapping(before.get("facets"))
    for name in ("facets", "inputFacets", "outputFacets"):
        facets |= _facets(dataset.get(name))
    stated = {name: dataset[name] for name in ("namespace", "name") if name in dataset}
    known[key] = {**before, **stated, **({"facets": facets} if facets else {})}


def _facets(given: Any) -> Fields:
    """Return facets without what says who wrote them."""
    made: Fields = {}
    for name, facet in loose.mapping(given).items():
        if isinstance(facet, dict):
            plain = loose.mapping(facet)
            made[name] = {key: value for key, value in plain.items() if key not in _OWN}
        else:
            made[name] = facet
    return made


def _rows(facets: Fields) -> int | None:
    for name in ("outputStatistics", "inputStatistics", "dataQualityMetrics"):
        facet = loose.mapping(facets.get(name))
        for key in _ROWS:
            found = loose.count(facet.get(key))
            if found is not None:
                return found
    return None


def _tags(facets: Fields) -> list[str]:
    made: list[str] = []
    for tag in loose.mappings(loose.mapping(facets.get("tags")).get("tags")):
        key, value = loose.name(tag.get("key")), loose.name(tag.get("value"))
        if key is not None:
            made.append(key if value is None else f"{key}:{value}")
    return made


def _error(job: _Job) -> Fields:
    facet = loose.mapping(job.facets.get("errorMessage"))
    stack = facet.get("stackTrace")
    made = {"type": "FAIL", "message": loose.text(facet.get("message")) or ""}
    return {**made, "stack": stack} if stack else made
