"""RO-Crates: actions are spans, files outputs and sources, and the rest is told."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from graphdata import crate, workflow_run, written
from trajectorydata import expected, of_kind, records_of

import whence
from whence.ingest.importer import import_paths
from whence.record.decision import Decision
from whence.record.event import Event
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted

NAME = "ro-crate-metadata.json"


def read(tmp_path, document):
    """Return the records of a crate, and what was left out."""
    return records_of(written(tmp_path / NAME, document), "ro-crate")


def action(key, kind="CreateAction", **properties):
    """Return an action; ids that it names are given as texts or lists of texts."""
    named = {
        name: [{"@id": one} for one in of] if isinstance(of, list) else of
        for name, of in properties.items()
    }
    return {"@id": key, "@type": kind, "name": key, **named}


@pytest.fixture
def records(tmp_path):
    """The records of a workflow run of two steps."""
    found, skipped = read(tmp_path, workflow_run())
    assert skipped == []
    return found


def test_a_crate_is_a_run_that_counts_its_entities(records):
    """With its root and descriptor, its workflow, and the time of its actions."""
    (run,), (end,) = of_kind(records, RunStarted), of_kind(records, RunEnded)

    assert (run.name, run.run_kind, run.workflow) == ("two steps", "ro-crate", "flow")
    assert run.attributes["ro_crate"] == {
        "entities": 18,
        "types": {
            "CreativeWork": 2,
            "Dataset": 1,
            "File": 4,
            "ComputationalWorkflow": 1,
            "SoftwareApplication": 3,
            "OrganizeAction": 1,
            "ControlAction": 2,
            "CreateAction": 3,
            "ImageObject": 1,
            "PropertyValue": 1,
            "Person": 1,
        },
        "conforms_to": [{"@id": "https://w3id.org/ro/wfrun/provenance/0.5"}],
        "specification": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    assert run.attributes["root"]["mainEntity"] == {"@id": "flow.cwl"}
    assert run.ts == "2026-01-01T10:00:00.000000000Z"
    assert (end.status, end.duration_ns) == ("complete", 9 * 10**9)


def test_actions_are_nested_as_they_were_organized(records):
    """The engine around the workflow, around its steps, around what they ran."""
    spans = {one.name: one for one in of_kind(records, SpanStarted)}
    parents = {one.span: one.name for one in spans.values()}

    assert {name: parents.get(one.parent) for name, one in spans.items()} == {
        "engine run": None,
        "run": "engine run",
        "step 1": "run",
        "step 2": "run",
        "clean": "step 1",
        "draw": "step 2",
    }
    kinds = {name: one.span_kind for name, one in spans.items()}
    assert (kinds["engine run"], kinds["step 1"], kinds["draw"]) == ("step", "step", "stage")
    assert spans["engine run"].agent == "Ada"


def test_an_action_ends_as_its_status_says(records):
    """A failure with its error; what says nothing went well."""
    spans = {one.span: one.name for one in of_kind(records, SpanStarted)}
    ends = {spans[one.span]: one for one in of_kind(records, SpanEnded)}

    assert (ends["draw"].status, ends["draw"].duration_ns) == ("error", 3 * 10**9)
    assert ends["draw"].error == {"type": "FailedActionStatus", "message": "no ink"}
    assert (ends["clean"].status, ends["step 1"].duration_ns) == ("ok", None)


def test_an_action_that_goes_on_has_no_end_and_a_planned_one_says_so(tmp_path):
    """So that the run is open."""
    active, planned = (
        action(f"#{word}", actionStatus={"@id": f"http://schema.org/{word}ActionStatus"})
        for word in ("Active", "Potential")
    )

    found, _ = read(tmp_path, crate(active, planned))

    (end,) = of_kind(found, SpanEnded)
    assert end.status == "potential"
    assert len(of_kind(found, SpanStarted)) == 2
    assert of_kind(found, RunEnded) == []


def test_a_failed_action_fails_its_run(home, tmp_path):
    """If nothing organized it."""
    failed = action("#a", actionStatus="http://schema.org/FailedActionStatus", error="no ink")

    report = import_paths(home, [written(tmp_path / NAME, crate(failed))])

    assert report.errors == 1
    with whence.open(home) as store:
        (run,) = store.runs(limit=None)
        assert (run.status, run.error["message"]) == ("failed", "no ink")


def test_what_was_made_is_an_output_and_what_was_used_a_source(records):
    """In the innermost action that made it, else the outermost that used it."""
    spans = {one.span: one.name for one in of_kind(records, SpanStarted)}
    outputs = {one.output_id: one for one in of_kind(records, Output)}
    sources = {one.source_key: one for one in of_kind(records, Source)}

    assert {key: spans[one.span] for key, one in outputs.items()} == {
        "table.csv": "clean",
        "out/chart.png": "draw",
    }
    table = outputs["table.csv"]
    assert (table.output_kind, table.summary, table.path) == ("File", "cleaned rows", "table.csv")
    raw = sources["raw.csv"]
    assert (raw.title, raw.digest, spans[raw.span]) == ("raw rows", "ab" * 32, "run")
    assert (sources["#width"].source_type, sources["#width"].title) == ("PropertyValue", "width")
    assert sources["#width"].attributes["value"] == 640
    kinds = {key: one.source_type for key, one in sources.items()}
    assert kinds["https://orcid.org/0000-0000-0000-0001"] == "agent"
    assert (kinds["#draw.py"], kinds["flow.cwl"]) == ("agent", "File")


def test_what_is_only_described_is_told(records):
    """A licence is no evidence for anything."""
    (event,) = of_kind(records, Event)

    assert (event.message, event.level) == ("CreativeWork CC0", "debug")
    assert event.data["@id"] == "https://spdx.org/licenses/CC0-1.0"


def test_every_entity_is_recorded_once(records):
    """As one record, or in the attributes of the run."""
    (run,) = of_kind(records, RunStarted)
    said = [
        one.data if isinstance(one, Event) else one.attributes
        for one in records
        if isinstance(one, (SpanStarted, Output, Source, Event))
    ]
    said += [run.attributes["root"], run.attributes["descriptor"]]

    assert sorted(one["@id"] for one in said) == sorted(e["@id"] for e in workflow_run()["@graph"])


def test_why_and_lineage_lead_back_to_what_it_was_made_from(home, tmp_path):
    """Through what the steps made and used, with what they were done by."""
    import_paths(home, [written(tmp_path / NAME, workflow_run())])

    with whence.open(home) as store:
        why = store.why("out/chart.png")
        stages = [stage.name.rpartition(" / ")[2] for stage in why.stages]
        assert [name for name in stages if name in {"run", "clean", "draw"}] == [
            "run",
            "clean",
            "draw",
        ]
        assert {"raw rows", "width", "clean.py"} <= {row.title for row in why.sources.kept}
        labels = [node.label for node in store.lineage("out/chart.png").ancestors]
        assert {
            "stage draw",
            "File table.csv",
            "stage clean",
            "kept File raw rows",
            "kept agent clean.py",
        } <= set(labels)
        assert [node.label for node in store.lineage("table.csv").descendants] == [
            "stage draw",
            "File out/chart.png",
        ]


def test_what_is_based_on_something_is_derived_from_it(tmp_path):
    """And what a data set consists of belongs to where it came from."""
    document = crate(
        {"@id": "a/", "@type": "Dataset", "hasPart": {"@id": "a/1.csv"}},
        {"@id": "a/1.csv", "@type": "File", "isBasedOn": {"@id": "https://doi.org/10.1/x"}},
    )

    found, _ = read(tmp_path, document)

    ids = {one.id: one.output_id for one in of_kind(found, Output)}
    links = {
        (one.link_kind, ids.get(one.source, one.source), ids.get(one.target, one.target))
        for one in of_kind(found, Link)
    }
    assert links == {
        ("hasPart", "a/1.csv", "a/"),
        ("derived_from", "https://doi.org/10.1/x", "a/1.csv"),
    }


def test_a_choice_is_a_decision(tmp_path):
    """With its options, and what came of it."""
    document = crate(
        action(
            "#choose",
            "ChooseAction",
            actionOption=["#web", "#books"],
            result=["#web"],
            description="the web is fresher",
        ),
        {"@id": "#web", "@type": "Thing", "name": "web"},
        {"@id": "#books", "@type": "Thing", "name": "books"},
    )

    found, _ = read(tmp_path, document)

    (decision,) = of_kind(found, Decision)
    assert (decision.what, decision.why) == ("web", "the web is fresher")
    assert [(one.name, one.chosen) for one in decision.options] == [("web", True), ("books", False)]


def test_addresses_meet_across_crates_and_local_names_do_not(home, tmp_path):
    """A file of one crate is not the file of that name of another; a DOI is the same everywhere."""
    made = action("#make", object=["in.csv"], result=["https://doi.org/10.1/made"])
    used = action("#use", object=["https://doi.org/10.1/made"], result=["out.csv"])
    other = action("#other", object=["in.csv"], result=["other.csv"])
    file = {"@type": "File"}
    paths = [
        written(tmp_path / folder / NAME, crate(one, {"@id": result, **file}, name=folder))
        for folder, one, result in (
            ("a", made, "https://doi.org/10.1/made"),
            ("b", used, "out.csv"),
            ("c", other, "other.csv"),
        )
    ]
    import_paths(home, paths)

    with whence.open(home) as store:
        labels = [node.label for node in store.lineage("out.csv").nodes]
        assert labels == [
            "File out.csv",
            "stage #use",
            "File https://doi.org/10.1/made",
            "stage #make",
            "kept undescribed in.csv",
        ]


def test_paths_are_names_and_nothing_is_opened(home, tmp_path):
    """Whether they lead out of the crate, to a pipe, or to a host."""
    outside = tmp_path / "outside"
    os.mkfifo(outside)  # whoever opens it waits for ever
    file = {"@type": "File"}
    document = crate(
        action("#a", object=["../outside", f"file://{outside}"], result=["../../etc/passwd"]),
        {"@id": "../outside", **file},
        {"@id": f"file://{outside}", **file},
        {"@id": "../../etc/passwd", **file, "contentUrl": "http://127.0.0.1:9/x"},
        hasPart=[{"@id": "../outside"}],
    )

    report = import_paths(home, [written(tmp_path / "crate" / NAME, document)])

    assert (report.runs, report.skipped) == (1, [])
    with whence.open(home) as store:
        labels = [node.label for node in store.lineage("../../etc/passwd").ancestors]
        assert labels[:2] == ["stage #a", "kept File ../outside"]
        assert labels[2].startswith("kept File file:///")


def test_entities_of_any_form_are_kept(home, tmp_path):
    """Without an id or a type, an id twice, types that are none, and actions in a ring."""
    document = crate(
        {"name": "nameless"},
        {"@id": "x", "@type": ["File", 3, None]},
        {"@id": "x", "@type": "File"},
        {"@id": 5, "@type": {"a": 1}},
        action("#a", "ControlAction", object=["#b"]),
        action("#b", "ControlAction", object=["#a"]),
        action("#c", object=[None, "#c"], result=["#c"]),
    )
    document["@graph"] += [None, 1, "x", []]

    report = import_paths(home, [written(tmp_path / NAME, document)])

    assert [one.why for one in report.skipped] == ["not an object"] * 4
    assert [one.where.rpartition(", ")[2] for one in report.skipped] == [
        f"entity {number}" for number in (10, 11, 12, 13)
    ]
    with whence.open(home) as store:
        (run,) = store.runs(limit=None)
        assert run.attributes["ro_crate"]["entities"] == 9
        assert run.attributes["ro_crate"]["types"]["File"] == 2
        assert len(store.rows("outputs", limit=None).items) == 2
        assert str(store.run(run.id))


def test_a_crate_without_root_and_descriptor_is_read(tmp_path):
    """By name, or by force; it has no name of its own."""
    found, skipped = read(tmp_path, {"@graph": [{"@id": "a.csv", "@type": "File"}]})

    assert skipped == []
    assert [one.name for one in of_kind(found, RunStarted)] == ["crate"]
    assert [one.output_id for one in of_kind(found, Output)] == ["a.csv"]


def test_properties_may_be_written_with_their_vocabulary(tmp_path):
    """As JSON-LD that was not compacted to the end has them."""
    document = crate(
        {
            "@id": "#a",
            "@type": "CreateAction",
            "http://schema.org/name": "convert",
            "schema:startTime": "2026-01-01T00:00:00Z",
            "schema:result": {"@id": "b"},
        }
    )

    found, _ = read(tmp_path, document)

    (span,) = of_kind(found, SpanStarted)
    assert (span.name, span.ts) == ("convert", "2026-01-01T00:00:00.000000000Z")
    assert [one.link_kind for one in of_kind(found, Link)] == ["generated"]


def told(row):
    """Return what was said of an entity in the row that it became."""
    return getattr(row, "data", None) or getattr(row, "attributes", None) or {}


def types_of(entity):
    """Return the types of an entity."""
    stated = entity.get("@type", [])
    return stated if isinstance(stated, list) else [stated]


def test_the_corpus_has_exactly_the_expected_entities(home):
    """Asked of the home: each crate's entities, their types, and what its root conforms to."""
    folder, totals = expected("ro-crate")
    crates = totals["crates"]
    assert len(crates) == totals["totals"]["crates"]

    report = import_paths(home, [folder])

    left = {str(Path(one.where).relative_to(folder)): one.why for one in report.skipped}
    broken = {name for name, wanted in crates.items() if "parse_error" in wanted}
    assert set(left) == broken | {"SOURCE.md", "expected.json"}
    assert all("is not JSON" in left[name] or "is not UTF-8" in left[name] for name in broken)
    read_crates = {name: wanted for name, wanted in crates.items() if name not in broken}
    # Crates of the same content, wherever they are, are one run.
    same = {
        json.dumps(json.loads((folder / name).read_text()), sort_keys=True) for name in read_crates
    }
    assert report.runs == len(same)
    wanted = Counter(figures(one) for one in read_crates.values())
    with whence.open(home) as store:
        runs = list(store.runs(limit=None))
        assert {figures(about(run)) for run in runs} == set(wanted)
        for run in runs:
            # What the run counts is what there are rows of, and not a number that was copied.
            where = f'run = "{run.id}"'
            said = [
                told(row)
                for table in ("spans", "outputs", "sources", "events")
                for row in store.rows(table, where, limit=None)
            ]
            said = [one for one in said if "@type" in one]
            said += [run.attributes["root"], run.attributes["descriptor"]]
            assert len(said) == about(run)["entities"]
            assert Counter(t for one in said for t in types_of(one)) == about(run)["types"]


def about(run):
    """Return what a run counts of its crate, in the form of what is expected."""
    counts = run.attributes["ro_crate"]
    return {
        "conformsTo_root": counts.get("conforms_to"),
        "entities": counts["entities"],
        "types": counts["types"],
    }


def figures(wanted):
    """Return the figures of a crate as a text that can be compared."""
    return json.dumps(wanted, sort_keys=True)


@pytest.mark.parametrize("kind", ["process", "workflow", "provenance"])
def test_each_crate_of_the_corpus_has_its_own_totals(kind, home):
    """One crate in a home of its own, for each profile of runs."""
    folder, totals = expected("ro-crate")
    name = f"valid/{kind}-run-crate/{NAME}"

    report = import_paths(home, [folder / name])

    wanted = totals["crates"][name]
    assert (report.runs, report.skipped) == (1, [])
    with whence.open(home) as store:
        (run,) = store.runs(limit=None)
        assert about(run) == wanted
        actions = sum(n for one, n in wanted["types"].items() if one.endswith("Action"))
        assert store.count("spans") == report.spans == actions
        made = [row for row in store.rows("outputs", limit=None) if row.span]
        assert made
        for row in made:
            assert any(node.table == "spans" for node in store.lineage(row.output_id).ancestors)
