"""What a thing came from and what came from it: the links around one id, walked breadth first.

Comes in: an id. Goes out: nodes, edges from earlier to later, and the rings among them. A thing may
go by several ids (a run by its external id, an output by the user's id and its record's); they are
one node. Every thing is visited once, so a ring, which capture refuses but imported logs may hold,
is reported and never walked round.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import msgspec

from whence.errors import ConfigError, NotFoundError
from whence.query import find, restore, text, treetext
from whence.store import rows as r
from whence.store.base import Order
from whence.store.predicate import And, Compare, FieldRef, In, Not

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from whence.store.base import Store

Direction = Literal["both", "ancestors", "descendants"]

_LABEL_COLUMNS = 70
_OWN_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_MAX_NAMED_RUNS = 500
"""Runs that are looked at to name what is in them; beyond, nodes show their id."""
_ASKED_AT_ONCE = 500
"""Outputs of a run of which is asked in one question whether later runs have them too."""
_LATER_OUTPUTS = 1000


class Node(msgspec.Struct, frozen=True):
    """One thing that links name."""

    id: str
    """Its id: of a run, a span or a record, or the user's own of an output; as the link says it if
    nothing here has it."""
    label: str
    """What it is, on one printable line."""
    table: str | None
    """The table it is a row of; None if nothing in this store has the id."""
    run: str | None
    """Id of its run; None if nothing in this store has the id."""
    distance: int
    """How many links it is away: below zero for ancestors, above for descendants, zero for the
    thing itself."""


class Edge(msgspec.Struct, frozen=True):
    """One link, its ends named by the ids of nodes."""

    source: str
    """Node id of the earlier thing."""
    target: str
    """Node id of the later thing."""
    kind: str
    """`retry_of`, `used`, or the user's own word."""
    id: str
    """Id of the link's record."""
    confidence: float | None = None
    """How sure the edge is, 0 to 1."""
    inferred: bool = False
    """Whether a program concluded it."""


class Lineage(msgspec.Struct, frozen=True):
    """The links around one thing."""

    id: str
    """Node id of the thing."""
    nodes: list[Node]
    """The thing itself, then the others by how near they are."""
    edges: list[Edge]
    """The links between them, in the order they were met."""
    cycles: list[list[str]]
    """Rings among them, each as node ids from earlier to later."""

    @property
    def ancestors(self) -> list[Node]:
        """What the thing came from, the nearest first."""
        return [node for node in self.nodes if node.distance < 0]

    @property
    def descendants(self) -> list[Node]:
        """What came from the thing, the nearest first."""
        return [node for node in self.nodes if node.distance > 0]

    def to_dict(self) -> dict[str, Any]:
        """Return the lineage as JSON-ready data."""
        return {
            "id": restore.to_json(self.id),
            "nodes": [restore.to_plain(node) for node in self.nodes],
            "edges": [restore.to_plain(edge, sparse=False) for edge in self.edges],
            "cycles": restore.to_json(self.cycles),
        }

    def to_dot(self) -> str:
        """Return the lineage as a Graphviz digraph, arrows from the earlier to the later."""
        lines = ["digraph lineage {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
        for node in self.nodes:
            more = ", style=bold" if node.id == self.id else "" if node.table else ", style=dashed"
            lines.append(f"  {text.dot_id(node.id)} [label={_dot(node.label)}{more}];")
        for edge in self.edges:
            more = ", style=dashed" if edge.inferred else ""
            ends = f"{text.dot_id(edge.source)} -> {text.dot_id(edge.target)}"
            lines.append(f"  {ends} [label={_dot(edge.kind)}{more}];")
        return "\n".join([*lines, "}"]) + "\n"

    def to_text(self) -> str:
        """Return lines for a terminal: ancestors and descendants, indented by distance."""
        names = {node.id: node.label for node in self.nodes}
        reached = self._reached(names)
        lines = [f"{names[self.id]}  {text.printable(self.id, 80)}"]
        for title, nodes in (("came from", self.ancestors), ("led to", self.descendants)):
            lines += [title] if nodes else []
            lines += [
                "  " * min(abs(node.distance), 20) + reached.get(node.id, node.label)
                for node in nodes
            ]
        if len(lines) == 1:
            lines.append("no links lead to it or from it")
        lines += [f"ring: {' → '.join(names[one] for one in ring)}" for ring in self.cycles]
        return "\n".join(lines)

    def _reached(self, names: Mapping[str, str]) -> dict[str, str]:
        """Return for each node the edge that leads from it to a nearer one, as a sentence."""
        far = {node.id: abs(node.distance) for node in self.nodes}
        said: dict[str, str] = {}
        for edge in self.edges:
            farther = max((edge.source, edge.target), key=lambda node: far[node])
            sentence = treetext.phrase(edge.kind, names[edge.source], names[edge.target])
            said.setdefault(farther, sentence)
        return said

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return text.pre(self.to_text())


def trace(store: Store, any_id: str, direction: str = "both", depth: int | None = None) -> Lineage:
    """Return the links around `any_id`; see the module.

    Raises:
        NotFoundError: Neither a thing nor a link has that id.
        ConfigError: The direction or the depth is none.
    """
    if direction not in get_args(Direction):
        raise ConfigError(
            f"direction is {direction!r}; it has to be one of {', '.join(get_args(Direction))}"
        )
    if depth is not None and (type(depth) is not int or depth < 0):
        raise ConfigError(f"depth is {depth!r}; give a whole number from 0, or None for all")
    names = Names(store)
    try:
        start = names.node_id(names.first(any_id))
    except NotFoundError:
        # A link may name what was never recorded: a file, a ticket, a run of another system.
        if (
            type(any_id) is not str
            or not any_id
            or not (store.edges([any_id], forward=True) or store.edges([any_id], forward=False))
        ):
            raise
        start = names.node_id(any_id)
    distances: dict[str, int] = {start: 0}
    edges: dict[str, Edge] = {}
    for forward, wanted in ((False, "ancestors"), (True, "descendants")):
        if direction in {"both", wanted}:
            walk(store, names, [start], depth, forward=forward, distances=distances, edges=edges)
    order = sorted(distances.items(), key=lambda item: abs(item[1]))
    nodes = [names.node(node_id, distance) for node_id, distance in order]
    return Lineage(start, nodes, list(edges.values()), _rings(edges.values()))


def walk(
    store: Store,
    names: Names,
    start: Iterable[str],
    depth: int | None,
    *,
    forward: bool,
    distances: dict[str, int],
    edges: dict[str, Edge],
) -> None:
    """Follow links from `start`, adding to `distances` by node and to `edges` by record.

    What links of the runs at hand lead to is asked about ahead, in one question: most lineages stay
    in one run, and then it is the only one.
    """
    seen = set(start)
    frontier: list[str] = list(seen)
    asked: set[str] = set()
    links: dict[str, list[tuple[r.LinkRow, Edge]]] = {}
    steps = 0
    while frontier and (depth is None or steps < depth):
        steps += 1
        if not asked.issuperset(frontier):
            wanted = names.reachable(frontier, forward=forward) - asked
            asked |= wanted
            aliases = list(dict.fromkeys(a for node in wanted for a in names.aliases(node)))
            for row in store.edges(aliases, forward=forward):
                link = cast("r.LinkRow", row)
                edge = names.edge(link)
                links.setdefault(edge.source if forward else edge.target, []).append((link, edge))
        found = [pair for node in frontier for pair in links.get(node, ())]
        frontier = list[str]()
        for link, edge in sorted(found, key=lambda pair: (pair[0].ts_ns, pair[0].id)):
            edges.setdefault(f"{link.run}/{link.id}", edge)
            reached = edge.target if forward else edge.source
            if reached not in seen:
                seen.add(reached)
                frontier.append(reached)
                distances.setdefault(reached, steps if forward else -steps)


class Names:
    """What ids stand for, looked up once each."""

    def __init__(self, store: Store, known: find.Found | None = None) -> None:
        self._store = store
        self._rows: dict[str, Mapping[str, Sequence[r.Row]]] = {}
        self._found: dict[str, find.Found | None] = {}
        self._own: dict[str, find.Found] = {}
        self._outputs: dict[str, Mapping[str, find.Found]] = {}
        self._owners: dict[str, dict[str, str]] = {}
        self._named: dict[str, find.Found] = {}
        """Outputs by the node id that is the user's; else each would be looked for in all runs."""
        if known is not None:
            self._rows[known.run] = known.rows
            # Thousands of spans may be asked about together: that should not take as many look-ups.
            for row in known.rows.get("spans", ()):
                self._found[row.id] = find.Found(known.run, "spans", row, known.rows)

    def found(self, any_id: str) -> find.Found | None:
        """Return what an id stands for, None if nothing here has it."""
        if any_id not in self._found:
            self._found[any_id] = self._find(any_id)
        return self._found[any_id]

    def _find(self, any_id: str) -> find.Found | None:
        own = self._own.get(any_id)
        if own is not None:
            return own
        run_id = self._store.find_run(any_id) if any_id else None
        if run_id is None or not self._load(run_id):
            return None
        rows = self._rows[run_id]
        return find.thing(any_id, run_id, rows) if rows.get("runs") else None

    def _load(self, run_id: str) -> bool:
        """Read a run's rows, once; return whether they are at hand."""
        if run_id not in self._rows:
            if len(self._rows) >= _MAX_NAMED_RUNS:
                return False
            self._keep(run_id, self._store.run_rows(run_id))
        return True

    def _keep(self, run_id: str, rows: Mapping[str, Sequence[r.Row]]) -> None:
        self._rows[run_id] = rows
        # Ids that we made name one thing only; the user's may stand for several, the latest of
        # which is meant, and the store knows it.
        for table, items in rows.items():
            for row in items:
                if _OWN_ID.fullmatch(row.id):
                    self._own.setdefault(row.id, find.Found(run_id, table, row, rows))

    def first(self, any_id: str) -> str:
        """Return an id of what `any_id`, perhaps the beginning of a run id, stands for.

        Raises:
            NotFoundError: Nothing has that id.
        """
        found = find.find(self._store, any_id)
        self._keep(found.run, found.rows)
        self._found[found.ids[0]] = found
        return found.ids[0]

    def reachable(self, nodes: Iterable[str], *, forward: bool) -> set[str]:
        """Return the nodes, and what the links of the runs at hand lead to from them."""
        steps: dict[str, list[tuple[str, str]]] = {}
        for run_id, rows in list(self._rows.items()):
            for row in cast("Sequence[r.LinkRow]", rows.get("links", ())):
                source, target = (row.source, row.target) if forward else (row.target, row.source)
                steps.setdefault(self.node_id(source, run_id), []).append((target, run_id))
        reached = set(nodes)
        waiting = list(reached)
        while waiting:
            for target, run_id in steps.get(waiting.pop(), ()):
                node = self.node_id(target, run_id)
                if node not in reached:
                    reached.add(node)
                    waiting.append(node)
        return reached

    def node_id(self, any_id: str, said_in: str | None = None) -> str:
        """Return the one id that stands for a thing in a lineage.

        Several runs may each have an output of the user's id `report.md`. The latest is called so,
        as everywhere; the others go by the ids of their records.

        Args:
            any_id: An id of the thing.
            said_in: The run whose link names it, which means its own output if it has one.
        """
        found = self._outputs_of(said_in).get(any_id) if said_in else None
        found = found or self.found(any_id)
        if found is None:
            return any_id
        if not isinstance(found.row, r.OutputRow):
            return found.row.id
        output_id = found.row.output_id
        if self._owner(found.run, output_id) != found.run:
            return found.row.id
        self._named[output_id] = found
        return output_id

    def _owner(self, run_id: str, output_id: str) -> str:
        """Return the run whose output an id stands for, given one that has such an output.

        It is asked about many of the run's outputs at once, since a lineage may have thousands.
        """
        owners = self._owners.setdefault(run_id, {})
        if output_id not in owners:
            mine = self._outputs_of(run_id)
            others = (one for one in mine if one not in owners and one != output_id)
            asked = (output_id, *itertools.islice(others, _ASKED_AT_ONCE - 1))
            owners.update(dict.fromkeys(asked, run_id))
            where = And(
                (In(FieldRef("output_id"), asked), Not(Compare(FieldRef("run"), "=", run_id)))
            )
            found = self._store.select("outputs", where, Order("ts_ns"), _LATER_OUTPUTS)
            later = dict[str, r.OutputRow]()
            for row in cast("list[r.OutputRow]", found):
                later.setdefault(row.output_id, row)
            for one, row in later.items():
                own = cast("r.OutputRow", mine[one].row)
                if (row.ts_ns, row.run) > (own.ts_ns, own.run):
                    owners[one] = row.run
            if len(found) == _LATER_OUTPUTS:
                unseen = [one for one in asked if one not in later]
                owners.update((one, self._store.find_run(one) or run_id) for one in unseen)
        return owners[output_id]

    def _outputs_of(self, run_id: str) -> Mapping[str, find.Found]:
        """Return the outputs of a run at hand by the user's ids of them, the last one of each."""
        if run_id not in self._outputs and run_id in self._rows:
            rows = self._rows[run_id]
            outputs = cast("Sequence[r.OutputRow]", rows.get("outputs", ()))
            self._outputs[run_id] = {
                row.output_id: find.Found(run_id, "outputs", row, rows) for row in outputs
            }
        return self._outputs.get(run_id, {})

    def _thing(self, node_id: str) -> find.Found | None:
        """Return what a node is: under a user's id an output, though a run may have that id too."""
        return self._named.get(node_id) or self.found(node_id)

    def aliases(self, node_id: str) -> tuple[str, ...]:
        """Return every id that a thing goes by."""
        found = self._thing(node_id)
        return (node_id,) if found is None else found.ids

    def edge(self, link: r.LinkRow) -> Edge:
        """Return a link as an edge between nodes."""
        self._load(link.run)
        source, target = self.node_id(link.source, link.run), self.node_id(link.target, link.run)
        return Edge(source, target, link.kind, link.id, link.confidence, link.inferred)

    def node(self, node_id: str, distance: int) -> Node:
        """Return a thing as a node."""
        found = self._thing(node_id)
        if found is None:
            return Node(node_id, text.printable(node_id, _LABEL_COLUMNS), None, None, distance)
        return Node(node_id, self.label(node_id), found.table, found.run, distance)

    def label(self, node_id: str) -> str:
        """Return what a thing is, on one printable line."""
        found = self._thing(node_id)
        return treetext.label(found.row) if found else text.printable(node_id, _LABEL_COLUMNS)


def _rings(edges: Iterable[Edge]) -> list[list[str]]:
    """Return the rings that a depth-first walk closes, each once, beginning at its smallest id."""
    later: dict[str, list[str]] = {}
    for edge in edges:
        later.setdefault(edge.source, []).append(edge.target)
    rings: dict[tuple[str, ...], None] = {}
    done: set[str] = set()
    for root in later:
        path: dict[str, int] = {}
        stack = [(root, iter(later.get(root, ())))] if root not in done else []
        path.update({root: 0} if stack else {})
        while stack:
            node, targets = stack[-1]
            target = next(targets, None)
            if target is None:
                stack.pop()
                del path[node]
                done.add(node)
            elif target in path:
                ring = list(path)[path[target] :]
                first = ring.index(min(ring))
                rings[tuple(ring[first:] + ring[:first])] = None
            elif target not in done:
                path[target] = len(path)
                stack.append((target, iter(later.get(target, ()))))
    return [list(ring) for ring in rings]


def _dot(value: str) -> str:
    r"""Return a text as a quoted Graphviz label.

    A backslash is doubled, since Graphviz reads escapes such as `\N` in labels, and nothing that
    does not print is left.
    """
    quoted = text.escaped(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'
