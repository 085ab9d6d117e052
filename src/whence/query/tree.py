"""One run as a tree: spans inside spans, and in each what was recorded there, in order of time.

Comes in: the rows of a run. Goes out: a typed tree that prints. Rows are taken as they are, however
broken the run: a record whose span is unknown stands at the run itself, a span whose parent is
unknown is a root, and a ring of parents is opened at the span that began first. Nothing is dropped
and nothing appears twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.query import brevity, restore, text, treetext
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

POINT_TABLES = tuple(table for table in r.TABLES if table not in {"runs", "spans"})
_REPR_LINES = 200


class SpanNode(msgspec.Struct, frozen=True):
    """One span with what is in it; its fields are attributes too: `node.name`, `node.status`."""

    row: r.SpanRow
    """The span."""
    children: list[SpanNode]
    """The spans inside it, in order of their start."""
    records: list[r.PointRow]
    """What was recorded in it and in no span inside it, in order of time."""

    def __getattr__(self, name: str) -> Any:
        """Return a field of the span's row."""
        return _field_of(self.row, name, type(self).__name__)

    def iter_spans(self) -> Iterator[SpanNode]:
        """Yield this span and all spans inside it, each before what is inside it."""
        return _iter_nodes([self])

    def __repr__(self) -> str:
        kind, name = text.printable(self.row.kind, 20), text.printable(self.row.name, 60)
        return f"SpanNode({kind} {name!r}, {len(self.children)} children)"


class RunTree(msgspec.Struct, frozen=True):
    """One run with everything in it; its fields are attributes too: `tree.id`, `tree.status`.

    Where a field of the run and a table have the same name (`decisions`, `spans`), `tree` has the
    rows and `tree.run` the number.
    """

    run: r.RunRow
    """The run."""
    spans: list[SpanNode]
    """The outermost spans, in order of their start."""
    records: list[r.PointRow]
    """What was recorded at the run itself and in no span, in order of time."""
    tables: dict[str, list[Any]]
    """All rows of the run by table, in order of time."""

    def __getattr__(self, name: str) -> Any:
        """Return a field of the run's row."""
        return _field_of(self.run, name, type(self).__name__)

    @property
    def decisions(self) -> list[r.DecisionRow]:
        """All decisions of the run, in order of time."""
        return self.tables["decisions"]

    @property
    def factors(self) -> list[r.FactorRow]:
        """All factors of the run, in order of time."""
        return self.tables["factors"]

    @property
    def sources(self) -> list[r.SourceRow]:
        """All sources of the run, in order of time."""
        return self.tables["sources"]

    @property
    def generations(self) -> list[r.GenerationRow]:
        """All model calls of the run, in order of time."""
        return self.tables["generations"]

    @property
    def tool_calls(self) -> list[r.ToolCallRow]:
        """All tool calls of the run, in order of time."""
        return self.tables["tool_calls"]

    @property
    def transformations(self) -> list[r.TransformationRow]:
        """All transformations of the run, in order of time."""
        return self.tables["transformations"]

    @property
    def scores(self) -> list[r.ScoreRow]:
        """All scores of the run, in order of time."""
        return self.tables["scores"]

    @property
    def outputs(self) -> list[r.OutputRow]:
        """All outputs of the run, in order of time."""
        return self.tables["outputs"]

    @property
    def links(self) -> list[r.LinkRow]:
        """All links that the run recorded, in order of time."""
        return self.tables["links"]

    @property
    def events(self) -> list[r.EventRow]:
        """All events of the run, in order of time."""
        return self.tables["events"]

    @property
    def annotations(self) -> list[r.AnnotationRow]:
        """All remarks on the run and on what is in it, in order of time."""
        return self.tables["annotations"]

    @property
    def gaps(self) -> list[r.GapRow]:
        """What of the run is known to be lost."""
        return self.tables["gaps"]

    def iter_spans(self) -> Iterator[SpanNode]:
        """Yield all spans, each before what is inside it."""
        return _iter_nodes(self.spans)

    def iter_records(self) -> Iterator[r.PointRow]:
        """Yield everything that was recorded in the run, in order of time."""
        rows = [cast("r.PointRow", row) for table in POINT_TABLES for row in self.tables[table]]
        return iter(sorted(rows, key=_when))

    def find(self, name: str) -> SpanNode | None:
        """Return the first span called `name`, None if there is none."""
        return next((node for node in self.iter_spans() if node.row.name == name), None)

    def find_all(self, name: str) -> list[SpanNode]:
        """Return all spans called `name`, each before what is inside it."""
        return [node for node in self.iter_spans() if node.row.name == name]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data: `run`, `spans` with `children` and `records`, and `records`."""
        made: dict[int, dict[str, Any]] = {}
        # From the leaves up, not by recursion: a run may nest deeper than the stack.
        for node in reversed(list(self.iter_spans())):
            plain = restore.to_plain(node.row)
            plain["records"] = [record_dict(record) for record in node.records]
            plain["children"] = [made.pop(id(child)) for child in node.children]
            made[id(node)] = plain
        return {
            "run": restore.to_plain(self.run),
            "spans": [made[id(node)] for node in self.spans],
            "records": [record_dict(record) for record in self.records],
        }

    def to_text(self, depth: int | None = None, *, full: bool = False) -> str:
        """Return the tree as lines for a terminal.

        Args:
            depth: How many levels of spans to show; None for all. A span of the last level says how
                many it holds.
            full: Show long texts whole.
        """
        cuts = brevity.of(full=full, whole_texts=False)
        return "\n".join(treetext.lines_of(self, depth, cuts))

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        lines = treetext.lines_of(self)
        more = len(lines) - _REPR_LINES
        return "\n".join([*lines[:_REPR_LINES], *([f"({more:,} more lines)"] if more > 0 else [])])

    def _repr_html_(self) -> str:
        return text.pre(self.to_text())


def record_dict(record: r.PointRow) -> dict[str, Any]:
    """Return a record as JSON-ready data, with the name of its table under `table`."""
    return {"table": table_of(record), **restore.to_plain(record)}


def table_of(row: r.Row) -> str:
    """Return the name of the table that a row is of."""
    return _TABLE_OF[type(row)]


_TABLE_OF = {kind: table for table, kind in r.TABLES.items()}


def build(rows: Mapping[str, Sequence[r.Row]], get_blob: restore.GetBlob) -> RunTree:
    """Return the tree of one run from its rows by table, and restore them on the way."""
    tables: dict[str, list[Any]] = {
        table: [restore.restored(row, get_blob) for row in rows.get(table, ())]
        for table in r.TABLES
    }
    nodes = {row.id: SpanNode(row, [], []) for row in cast("list[r.SpanRow]", tables["spans"])}
    at_run: list[r.PointRow] = []
    for table in POINT_TABLES:
        for record in cast("list[r.PointRow]", tables[table]):
            node = nodes.get(record.span or "")
            (at_run if node is None else node.records).append(record)
    for node in nodes.values():
        node.records.sort(key=_when)
    at_run.sort(key=_when)
    return RunTree(tables["runs"][0], _nest(nodes), at_run, tables)


def _nest(nodes: Mapping[str, SpanNode]) -> list[SpanNode]:
    """Put each span into its parent and return those that have none."""
    parents = {key: node.row.parent for key, node in nodes.items() if node.row.parent in nodes}
    for key in _ring_openings(nodes, parents):
        del parents[key]
    ordered = sorted(nodes.values(), key=lambda node: (node.row.started_ns, node.row.id))
    roots: list[SpanNode] = []
    for node in ordered:
        parent = parents.get(node.row.id)
        (roots if parent is None else nodes[parent].children).append(node)
    return roots


def _ring_openings(nodes: Mapping[str, SpanNode], parents: Mapping[str, str | None]) -> list[str]:
    """Return of each ring of parents the span that began first."""
    settled: set[str] = set()
    openings: list[str] = []
    for key in nodes:
        path: dict[str, None] = {}
        at: str | None = key
        while at is not None and at not in settled and at not in path:
            path[at] = None
            at = parents.get(at)
        if at is not None and at in path:
            walked = list(path)
            ring = walked[walked.index(at) :]
            openings.append(min(ring, key=lambda one: (nodes[one].row.started_ns, one)))
        settled.update(path)
    return openings


def _iter_nodes(roots: Sequence[SpanNode]) -> Iterator[SpanNode]:
    stack = list(reversed(roots))
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def _when(record: r.PointRow) -> tuple[int, str]:
    return (record.ts_ns, record.id)


def _field_of(row: r.Row, name: str, owner: str) -> Any:
    if name in row.__struct_fields__:
        return getattr(row, name)
    raise AttributeError(
        f"{owner!r} has no attribute {name!r}; it has the fields of {type(row).__name__}"
    )
