"""Logs of Inspect AI: `.eval` archives and `.json` files.

Comes in: the header of an evaluation and its samples. Goes out: a run for the evaluation, with its
metrics as scores, and under it a run for each sample and epoch (`inspect_sample`). What the header
declares about tokens stays with the evaluation, beside what the calls of its samples add up to: a
log may have been written without them. An archive is read a sample at a time, and one that was cut
or is still being written as far as it goes.

Source: UKGovernmentBEIS/inspect_ai, `inspect_ai/log/_log.py` and `log/_recorders/eval.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import archive, inspect_sample, json_files, keys, loose
from whence.ingest.base import Skipped
from whence.ingest.timeline import Timeline
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_ZIP = b"PK\x03\x04"
_HEADERS = ("header.json", "_journal/start.json")
"""Where the header is, the better one first."""
_SAMPLE = re.compile(r"samples/.+\.json", re.DOTALL)
"""An id is part of the name as it is, slashes included: `samples/HumanEval/0_epoch_1.json`."""
_SIGNS = frozenset({"version", "status", "eval"})
_STATUS = {"success": "complete", "cancelled": "cancelled", "error": "failed"}
_SHOWN = 80


def detect(source: Source) -> bool:
    """Return whether a file is an archive called `.eval`, or begins as a log in JSON does."""
    if source.head.startswith(_ZIP):
        return ".eval" in source.suffixes or b"_journal/start.json" in source.head[:_SHOWN]
    begins = json_files.peek(source)
    return not begins.is_list and begins.keys >= _SIGNS


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a log.

    Raises:
        IngestError: It has no header.
    """
    del known
    if source.head.startswith(_ZIP):
        yield from _read_archive(source)
        return
    content, skipped = json_files.document(source)
    header = loose.mapping(content)
    evaluation = _Evaluation(header, source)
    yield from evaluation.records()
    for number, sample in enumerate(loose.sequence(header.get("samples"))):
        yield from evaluation.sample(sample, f"{source.name}, sample {number}")
    yield from skipped


def _read_archive(source: Source) -> Iterator[Record | Skipped]:
    found: dict[str, Any] = {}
    damaged: list[Skipped] = []
    for file in archive.iter_files(source.path, source.name, _HEADERS.__contains__):
        if isinstance(file, Skipped):
            damaged.append(file)
            continue
        try:
            found[file[0]] = json_files.decoded(file[1])
        except IngestError as error:
            damaged.append(Skipped(f"{source.name}, {file[0]}", f"not JSON: {error}"))
    header = loose.mapping(found.get(_HEADERS[0])) or loose.mapping(found.get(_HEADERS[1]))
    yield from damaged
    evaluation = _Evaluation(header, source)
    yield from evaluation.records()
    for file in archive.iter_files(source.path, source.name, _is_sample):
        if isinstance(file, Skipped):
            if file not in damaged:
                yield file
            continue
        where = f"{source.name}, {file[0]}"
        try:
            sample = json_files.decoded(file[1])
        except IngestError as error:
            yield Skipped(where, f"not JSON: {error}")
            continue
        yield from evaluation.sample(sample, where)


def _is_sample(name: str) -> bool:
    return _SAMPLE.fullmatch(name) is not None and ".." not in name.split("/")


class _Evaluation:
    """One evaluation, while its log is read.

    Raises:
        IngestError: The log does not say what was evaluated.
    """

    def __init__(self, header: Fields, source: Source) -> None:
        self.header = header
        self.spec = loose.mapping(header.get("eval"))
        if not self.spec:
            raise IngestError(f"{source.name} does not say what was evaluated: no header was found")
        # What identifies it was written before its first sample and stays the same; converted to
        # another format, a log may say less about the evaluation, and is another one.
        self.run = keys.run_id("inspect", json_files.fingerprint(self.spec))
        self.task = loose.name(self.spec.get("task")) or "inspect"
        self.stats = loose.mapping(header.get("stats"))
        self.created_ns = loose.time_ns(self.stats.get("started_at"))
        if self.created_ns is None:
            self.created_ns = loose.time_ns(self.spec.get("created"))

    @property
    def external_id(self) -> str | None:
        return loose.name(self.spec.get("eval_id")) or loose.name(self.spec.get("run_id"))

    def records(self) -> Iterator[Record]:
        """Yield the records of the evaluation itself."""
        line = Timeline(self.run)
        tags = [tag for tag in loose.sequence(self.spec.get("tags")) if isinstance(tag, str)]
        attributes: Fields = {"eval": self.spec, "plan": self.header.get("plan")}
        if self.created_ns is None:
            attributes["undated"] = True
        yield RunStarted(
            ts=line.at(self.created_ns),
            run=self.run,
            name=self.task,
            run_kind="evaluation",
            external_id=self.external_id,
            workflow=loose.name(self.spec.get("run_id")),
            tags=tags or None,
            attributes=attributes,
            environment={k: self.spec[k] for k in ("packages", "revision") if k in self.spec}
            or None,
        )
        status = loose.name(self.header.get("status")) or "started"
        if status == "started":
            return
        ended_ns = loose.time_ns(self.stats.get("completed_at"))
        kept = {k: self.header[k] for k in ("results", "reductions") if k in self.header}
        used = self.stats.get("model_usage")
        if loose.mapping(used):
            kept["declared"] = inspect_sample.declared(used)
        point = line.point("result", status, at_ns=ended_ns)
        yield Update(**point, attributes=kept | {"status": status})
        yield from self._metrics(line, ended_ns)
        yield self._ended(status, line, ended_ns)

    def _metrics(self, line: Timeline, at_ns: int | None) -> Iterator[Score]:
        results = loose.mapping(self.header.get("results"))
        for place, scorer in enumerate(loose.mappings(results.get("scores"))):
            name = loose.name(scorer.get("name")) or "score"
            for key, metric in loose.mapping(scorer.get("metrics")).items():
                stated = loose.mapping(metric)
                yield Score(
                    **line.point("metric", place, key, at_ns=at_ns),
                    name=f"{name} {loose.name(stated.get('name')) or key}",
                    value=loose.number(stated.get("value")),
                    by=loose.name(scorer.get("scorer")),
                    attributes={"params": stated["params"]} if stated.get("params") else None,
                )

    def _ended(self, status: str, line: Timeline, ended_ns: int | None) -> RunEnded:
        error = loose.mapping(self.header.get("error"))
        known = _STATUS.get(status, status)
        length = None
        if ended_ns is not None and self.created_ns is not None and ended_ns >= self.created_ns:
            length = ended_ns - self.created_ns
        return RunEnded(
            ts=line.at(ended_ns),
            run=self.run,
            status=known,
            duration_ns=length,
            error=inspect_sample.error_of(error) if error else None,
        )

    def sample(self, sample: Any, where: str) -> Iterator[Record | Skipped]:
        """Yield the records of a sample, which is a run of its own."""
        given = loose.mapping(sample)
        key, epoch = loose.name(given.get("id")), loose.name(given.get("epoch"))
        if key is None:
            yield Skipped(where, "it is no sample: it has no id")
            return
        epoch = epoch or "1"
        yield from inspect_sample.records_of(
            given,
            Timeline(keys.run_id("inspect", self.run, key, epoch)),
            inspect_sample.Place(
                where=where,
                parent=self.run,
                task=self.task,
                external_id=loose.name(given.get("uuid"))
                or f"{self.external_id or self.task}/{key}/{epoch}",
                workflow=loose.name(self.spec.get("run_id")),
                created_ns=self.created_ns,
            ),
        )
