"""W3C PROV documents become runs: one for the document, and one inside it for each bundle.

Comes in: PROV-JSON or PROV-XML. Goes out: activities as spans, entities as outputs and sources,
agents as sources, relations as links from the earlier to the later thing (`whence.ingest.graph`).
A run's attribute `prov` counts the records of each type, as the document has them, and its bundles.
What a relation does not say in full, such as an end without an ender, is an event.

A document has no id, so that its run's follows from its content. Things are known by their full
names, which are the same in every document; blank nodes and names without a namespace only in
theirs.

Source: PROV-DM, PROV-JSON (W3C member submission of 2013-04-24), PROV-XML (W3C note of 2013-04-30).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import json_files, json_strict, keys, loose, prov_graph, prov_xml
from whence.ingest.base import Skipped
from whence.ingest.prov_graph import RELATIONS, THINGS, Section
from whence.ingest.prov_names import Prefixes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_FORMAT = "prov"
_TYPES = frozenset(THINGS) | frozenset(RELATIONS)
_AROUND = frozenset({"prefix", "bundle"})
_SHOWN_CHARS = 80


def detect(source: Source) -> bool:
    """Return whether a file begins as PROV-JSON or PROV-XML do."""
    if prov_xml.detect(source):
        return True
    found = json_files.peek(source)
    if found.is_list or not found.keys & (_TYPES | {"bundle"}):
        return False
    # With its namespaces declared, a document may hold other things too.
    return found.keys <= _TYPES | _AROUND or {"prefix"} <= found.keys


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:  # noqa: ARG001 - every format has this form
    """Yield the records of a document and of its bundles, and what was left out.

    Raises:
        IngestError: It is no PROV, or refused as a whole.
        OSError: It cannot be read.
    """
    is_xml = prov_xml.is_xml(source)
    found, skipped = prov_xml.document(source) if is_xml else json_strict.document(source)
    document = loose.mapping(found)
    if not document.keys() & (_TYPES | _AROUND):
        raise IngestError(f"{source.name} has no record of PROV")
    yield from skipped
    sections, left = _sections(source, document)
    yield from left
    if (skipped or left) and not any(section.records for section in sections):
        return
    graphs = [prov_graph.graph_of(section) for section in sections]
    # A bundle without times tells of what is dated elsewhere in its document, so it follows that.
    latest_ns = max((time for graph in graphs for time in graph.stated_ns), default=0)
    for section, graph in zip(sections, graphs, strict=True):
        prov_graph.connect(graph, graphs)
        yield from graph.records(_started(source, section, sections), latest_ns)


def _started(source: Source, section: Section, sections: list[Section]) -> Fields:
    """Return the fields of a run's start."""
    counts = {kind: len(records) for kind, records in section.records.items()}
    about: Fields = {"records": counts}
    if section.written is None:
        about |= {"bundles": len(sections) - 1, "syntax": section.syntax}
    else:
        about["bundle"] = section.written
    document = source.path.name.removesuffix(".gz").rpartition(".")
    return {
        "name": section.written or document[0] or document[2],
        "run_kind": _FORMAT,
        "external_id": None if section.name is None else section.name.public,
        "parent_run": None if section.written is None else sections[0].run,
        "attributes": {**section.others, "prov": about},
    }


def _sections(source: Source, document: Fields) -> tuple[list[Section], list[Skipped]]:
    """Return the document and its bundles, and what of them is no PROV."""
    print_ = json_files.fingerprint(document)
    syntax = "xml" if prov_xml.is_xml(source) else "json"
    outer = Prefixes(loose.mapping(document.get("prefix")))
    whole = Section(keys.run_id(_FORMAT, print_), outer, syntax)
    left: list[Skipped] = []
    bundles = document.get("bundle", {})
    _fill(whole, document, source.name, left)
    sections = [whole]
    if not isinstance(bundles, dict):
        left.append(Skipped(f"{source.name}, bundle", "not an object"))
    for written, content in loose.mapping(bundles).items():
        where = f"{source.name}, bundle {written[:_SHOWN_CHARS]}"
        if not isinstance(content, dict):
            left.append(Skipped(where, "not an object"))
            continue
        inner = loose.mapping(content)
        prefixes = Prefixes(loose.mapping(inner.get("prefix")), outer)
        run = keys.run_id(_FORMAT, print_, written)
        bundle = Section(run, prefixes, syntax, written, outer.name(written))
        _fill(bundle, inner, where, left)
        if "bundle" in inner:
            left.append(Skipped(where, "a bundle in a bundle is no PROV"))
        sections.append(bundle)
    return sections, left


def _fill(section: Section, content: Fields, where: str, left: list[Skipped]) -> None:
    """Take the records of a document or bundle, and note what is none."""
    for kind, records in content.items():
        if kind in _AROUND:
            section.others |= {} if kind == "bundle" else {kind: records}
            continue
        if not isinstance(records, dict):
            if kind in _TYPES:
                left.append(Skipped(f"{where}, {kind}", "not an object"))
            else:
                section.others[kind] = records
            continue
        for key, stated in loose.mapping(records).items():
            statements = _statements(stated)
            if statements is None:
                named = f"{where}, {kind} {key[:_SHOWN_CHARS]}"
                left.append(Skipped(named, "not an object, nor a list of objects"))
            else:
                section.records.setdefault(kind, {})[key] = statements


def _statements(stated: Any) -> list[Fields] | None:
    """Return what is stated under an id, once or several times; None if it is something else."""
    listed = loose.sequence(stated) if isinstance(stated, list) else [stated]
    found = loose.mappings(listed)
    return found if found and len(found) == len(listed) else None
