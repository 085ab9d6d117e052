"""OpenLineage events become runs, in which a job is a stage with sources and outputs.

Comes in: events of runs, one a file, a list, or one a line, in any order. Goes out: the records of
each run. START and the event that ends a job make a span; the datasets it read are sources, those
it wrote outputs; facets are the attributes of what they are about; assertions on data are scores;
every event is kept as an event, verbatim. Jobs of different runs meet in the
datasets that one generated and another used, over links.

A run is known by its `runId`, and has one job. Events that have none (templates of tests do not)
are one run for each file, in which a job is inside the one that its parent facet names. Such a
run's id follows from the name of the file, without its folder, and the first of its events.

Source: OpenLineage 2-0-2 (spec/OpenLineage.json) and its facets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import documents, json_files, keys, loose
from whence.ingest.base import Skipped
from whence.ingest.openlineage_run import OpenRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

FORMAT = "openlineage"
MAX_OPEN = 5_000
"""How many runs wait for more events; beyond, the one that had none for longest is written as it
is."""
_PARTS = frozenset({"job", "run", "inputs", "outputs"})
_TEMPLATE = "{{"


def detect(source: Source) -> bool:
    """Return whether a file begins with an event of a run."""
    found = json_files.peek(source).keys
    return bool(found & {"eventType", "eventTime"} and found & _PARTS)


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:  # noqa: ARG001 - every format has this form
    """Yield the records of a file's events, and what was left out.

    Raises:
        IngestError: The file as a whole is no JSON.
        OSError: It cannot be read.
    """
    runs: dict[str, OpenRun] = {}
    for item in documents.iter_objects(source, "events"):
        if isinstance(item, Skipped):
            yield item
            continue
        where, event = item
        problem = _problem(event)
        if problem is not None:
            yield Skipped(where, problem)
            continue
        known_as = _known_as(event)
        try:
            run = runs.pop(known_as, None)
            if run is None:
                run = OpenRun(_run_id(known_as, event, source.path.name), known_as)
            runs[known_as] = run
            yield run.add(event)
        except IngestError as error:
            yield Skipped(where, str(error))
        if len(runs) > MAX_OPEN:
            yield from runs.pop(next(iter(runs))).records()
    for run in runs.values():
        yield from run.records()


def _problem(event: Fields) -> str | None:
    """Return why an event belongs to no run; None if it does."""
    if isinstance(event.get("run"), dict) or loose.text(event.get("eventType")):
        return None
    for about in ("dataset", "job"):
        if isinstance(event.get(about), dict):
            return f"it is about a {about} and belongs to no run"
    return "it is no event of OpenLineage"


def _known_as(event: Fields) -> str:
    run_id = loose.name(loose.mapping(event.get("run")).get("runId")) or ""
    return "" if _TEMPLATE in run_id else run_id


def _run_id(known_as: str, event: Any, file_name: str) -> str:
    if known_as:
        return keys.run_id(FORMAT, known_as)
    # Events without an id are often without a time too, and then alike in several files.
    return keys.run_id(FORMAT, "", file_name, json_files.fingerprint(event))
