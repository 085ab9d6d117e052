"""The links around a thing, in both directions and round in rings."""

from __future__ import annotations

import json

import pytest
from madeup import RUN

import whence
from whence.store import rows as r


@pytest.fixture
def chain(recording):  # noqa: ARG001 - it records into that home
    """Record three runs of which each derives from the one before, the last by its output's id."""
    ids = []
    for number in range(3):
        with whence.run(f"run {number}", external_id=f"trc_{number}") as run:
            run.output(f"out-{number}")
            if ids:
                run.link("derived_from", run, source=ids[-1])
        ids.append(run.id)
    return ids


def test_ancestors_and_descendants_over_links(store, chain):
    """Nodes are ordered by distance, which is negative for ancestors."""
    found = store.lineage(chain[1])

    assert [(node.id, node.distance) for node in found.nodes] == [
        (chain[1], 0),
        (chain[0], -1),
        (chain[2], 1),
    ]
    assert [node.id for node in found.ancestors] == [chain[0]]
    assert [(edge.source, edge.target) for edge in found.edges] == [
        (chain[0], chain[1]),
        (chain[1], chain[2]),
    ]


def test_direction_and_depth_narrow_it(store, chain):
    """Only one way, and only so far."""
    assert [node.id for node in store.lineage(chain[2], "ancestors").ancestors] == chain[1::-1]
    assert len(store.lineage(chain[0], "descendants", depth=1).nodes) == 2
    assert len(store.lineage(chain[0], "ancestors").nodes) == 1
    assert len(store.lineage(chain[0], depth=0).nodes) == 1
    for wrong in ({"direction": "up"}, {"depth": -1}, {"depth": 1.5}):
        with pytest.raises(whence.ConfigError):
            store.lineage(chain[0], **wrong)


def test_a_thing_is_one_node_under_all_its_ids(store, chain):
    """Links may name a run by its external id or an output by its record's."""
    with whence.run("later") as later:
        record = later.output("final")
        later.link("used", record, source="trc_2")

    found = store.lineage("final")
    assert [node.id for node in found.nodes] == ["final", chain[2], chain[1], chain[0]]
    assert store.lineage(record).id == "final"
    assert [node.table for node in found.nodes] == ["outputs", "runs", "runs", "runs"]


def test_outputs_of_one_name_in_several_runs_are_several_things(store):
    """Each leads to what its own run made it from, and a link means the output of its own run."""
    records = []
    for number in range(3):
        with whence.run("writer") as run:
            run.output(f"notes-{number}")
            records.append(run.output("report.md"))
            run.link("derived_from", "report.md", source=f"notes-{number}")
    with whence.run("reader") as run:
        run.link("used", run, source=records[0])
        run.link("used", run, source="report.md")

    for number, record in enumerate(records):
        came_from = store.lineage(record, "ancestors").ancestors
        assert [node.id for node in came_from] == [f"notes-{number}"]
    assert [store.lineage(record).id for record in records] == [*records[:2], "report.md"]
    assert [node.id for node in store.lineage("notes-1").descendants] == [records[1]]
    assert {node.id for node in store.lineage(run.id).ancestors} == {
        records[0],
        "report.md",
        "notes-0",
        "notes-2",
    }


def test_an_id_of_a_run_and_of_an_output_means_the_same_whatever_was_asked_first(store):
    """An external id comes first, as everywhere; a run's own output is meant by its own links."""
    with whence.run("plan", external_id="X") as plan:
        pass
    with whence.run("writer") as writer:
        record = writer.output("X")
        writer.output("Y")
        writer.link("derived_from", "Y", source="X")
    with whence.run("reader") as reader:
        reader.output("Z")
        reader.link("derived_from", "Z", source="X")
        reader.link("derived_from", "Z", source="Y")

    assert [node.id for node in store.lineage("X").descendants] == ["Z"]
    assert store.lineage("X").id == plan.id
    assert {node.id: node.table for node in store.lineage("Z").ancestors} == {
        plan.id: "runs",
        "Y": "outputs",
        "X": "outputs",
    }
    assert [node.id for node in store.lineage(record, "descendants").descendants] == ["Y", "Z"]


def test_ids_that_were_never_recorded_are_nodes_too(store):
    """A file or a ticket that only links name can be asked about; what nothing names cannot."""
    with whence.run("x", external_id="x") as run:
        run.link("derived_from", run, source="ticket 7")

    assert [node.table for node in store.lineage("ticket 7").nodes] == [None, "runs"]
    with pytest.raises(whence.NotFoundError):
        store.lineage("ticket 8")


def link(source: str, target: str, kind: str = "derived_from") -> r.LinkRow:
    """Return a link as an imported log may hold it."""
    return r.LinkRow(
        id=f"{source}>{target}", run=RUN, ts_ns=1, kind=kind, source=source, target=target
    )


def test_a_ring_is_reported_and_never_walked_round(made):
    """Rings and self-edges end the walk and are named."""
    reader = made(links=[link("a", "b"), link("b", "c"), link("c", "a"), link("c", "c")])

    found = reader.lineage("b")
    assert sorted(node.id for node in found.nodes) == ["a", "b", "c"]
    assert sorted(found.cycles) == [["a", "b", "c"], ["c"]]
    assert "ring: a → b → c" in str(found)
    assert reader.why(RUN).run.id == RUN


def test_a_wide_and_deep_graph_is_walked_once(made):
    """Every node once, however many paths lead to it."""
    links = [
        link(f"{level}-{i}", f"{level + 1}-{j}")
        for level in range(30)
        for i in (0, 1)
        for j in (0, 1)
    ]
    links += [
        link(f"30-{i}" if n == 0 else f"deep {n}", f"deep {n + 1}")
        for i in (0,)
        for n in range(500)
    ]

    found = made(links=links).lineage("0-0")
    assert len(found.nodes) == 1 + 30 * 2 + 500
    assert found.cycles == []


def test_dot_and_json_hold_whatever_ids_there_are(made):
    """Quotes, backslashes and line breaks cannot leave their place in Graphviz."""
    evil = 'a"]; evil [label="\\N\n\x1b'
    found = made(links=[link(evil, "b", kind='"kind\\"')]).lineage("b")

    dot = found.to_dot()
    assert '"a\\"]; evil [label=\\"\\\\N\\x0a\\x1b"' in dot
    assert dot.count("\n") == 7
    assert json.loads(json.dumps(found.to_dict()))["nodes"][1]["id"] == evil
