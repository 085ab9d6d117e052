"""W3C PROV: activities are spans, entities outputs and sources, relations links."""

from __future__ import annotations

import json
import socket
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest
from graphdata import EX, prov_document, prov_xml, written
from trajectorydata import expected, of_kind, records_of

import whence
from whence.ingest.importer import import_paths
from whence.record.decision import Decision
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.link import Link
from whence.record.run import RunStarted
from whence.record.score import Output
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted

PROV = "{http://www.w3.org/ns/prov#}"
TABLES = ("spans", "outputs", "sources", "links", "events")
XML_TYPES = {
    **dict.fromkeys(("person", "organization", "softwareAgent"), "agent"),
    **dict.fromkeys(("plan", "collection", "emptyCollection", "bundle"), "entity"),
    **dict.fromkeys(("wasRevisionOf", "wasQuotedFrom", "hadPrimarySource"), "wasDerivedFrom"),
}


@pytest.fixture
def records(tmp_path):
    """The records of a chart, and of the bundle that publishes it."""
    found, skipped = records_of(written(tmp_path / "chart.json", prov_document()), "prov")
    assert skipped == []
    return found


def read(tmp_path, document):
    """Return the records of a document with the prefix `ex`, and what was left out."""
    whole = {"prefix": {"ex": EX}, **document}
    return records_of(written(tmp_path / "document.json", whole), "prov")


def stated_in(home):
    """Return how often each type of record stands in the rows of each run."""
    found = set()
    with whence.open(home) as store:
        for table in TABLES:
            for row in store.rows(table, limit=None):
                said = row.data if table == "events" else row.attributes
                found.add((row.run, said["prov.record"], said["prov.id"]))
    return Counter((run, kind) for run, kind, _ in found)


def test_a_document_is_a_run_and_a_bundle_one_inside_it(records):
    """They count what the document has; a bundle is known by its full name."""
    whole, bundle = of_kind(records, RunStarted)

    assert (whole.name, whole.run_kind, whole.external_id) == ("chart", "prov", None)
    assert whole.attributes["prov"] == {
        "records": {
            "entity": 4,
            "activity": 2,
            "agent": 1,
            "used": 2,
            "wasGeneratedBy": 2,
            "wasDerivedFrom": 1,
            "wasAssociatedWith": 1,
            "wasInvalidatedBy": 1,
            "wasEndedBy": 1,
        },
        "bundles": 1,
        "syntax": "json",
    }
    assert whole.attributes["prefix"]["ex"] == EX
    assert bundle.parent_run == whole.run
    assert bundle.external_id == f"{EX}publishing"
    assert bundle.attributes["prov"]["bundle"] == "ex:publishing"
    assert bundle.attributes["prov"]["records"]["used"] == 1


def test_an_activity_is_a_stage_with_its_times_and_its_agent(records):
    """What has no field of its own stays an attribute."""
    spans = {one.name: one for one in of_kind(records, SpanStarted)}
    ends = {one.span: one for one in of_kind(records, SpanEnded)}

    draw = spans["draw"]
    assert (draw.span_kind, draw.stage, draw.agent) == ("stage", "draw", "Ada")
    assert draw.ts == "2026-01-01T10:00:05.000000000Z"
    assert draw.attributes["ex:width"] == 640
    assert ends[draw.span].duration_ns == 4 * 10**9
    assert ends[spans["publish"].span].duration_ns is None


def test_what_was_made_is_an_output_and_what_was_only_used_a_source(records):
    """Each entity is one of them, once, in the activity that made it or used it."""
    outputs = {one.output_id: one for one in of_kind(records, Output)}
    sources = {one.source_key: one for one in of_kind(records, Source)}
    spans = {one.name: one.span for one in of_kind(records, SpanStarted)}

    chart = outputs[f"{EX}chart"]
    assert (chart.summary, chart.value, chart.span) == ("the chart", "42", spans["draw"])
    assert chart.ts.startswith("2026-01-01T10:00:08.")
    assert outputs[f"{EX}table"].output_kind == "Table"
    # Whoever invalidated it did not make it.
    assert outputs[f"{EX}old"].span is None
    raw = sources[f"{EX}raw"]
    assert (raw.title, raw.source_type, raw.span) == ("raw rows", "entity", spans["clean"])
    assert raw.locator == "../../etc/passwd"
    ada = sources[f"{EX}ada"]
    assert (ada.source_type, ada.title, ada.span) == ("agent", "Ada", spans["draw"])


def test_relations_are_links_from_the_earlier_to_the_later(records):
    """Under our kinds where there is one, else under the word of PROV."""
    spans = {one.name: one.span for one in of_kind(records, SpanStarted)}
    links = {(one.link_kind, one.source, one.target) for one in of_kind(records, Link)}

    assert links == {
        ("used", f"{EX}raw", spans["clean"]),
        ("used", f"{EX}table", spans["draw"]),
        ("generated", spans["clean"], f"{EX}table"),
        ("generated", spans["draw"], f"{EX}chart"),
        ("derived_from", f"{EX}table", f"{EX}chart"),
        ("wasAssociatedWith", f"{EX}ada", spans["draw"]),
        ("wasInvalidatedBy", spans["draw"], f"{EX}old"),
        ("used", f"{EX}chart", spans["publish"]),
        ("generated", spans["publish"], f"{EX}page"),
        # Into the activity of the document, which the bundle only names.
        ("wasInformedBy", spans["draw"], spans["publish"]),
    }
    used = next(one for one in of_kind(records, Link) if one.source == f"{EX}raw")
    assert used.attributes["prov:role"] == "input"


def test_a_relation_without_an_end_is_told(records):
    """That an activity ended, nobody says by what."""
    (event,) = of_kind(records, Event)

    assert (event.message, event.level) == ("ex:draw wasEndedBy", "debug")
    assert event.data["prov:activity"] == "ex:draw"


@pytest.mark.parametrize(
    ("kind", "ends", "made"),
    [
        ("wasStartedBy", {"trigger": "e", "activity": "a"}, [("triggered_by", "e", "a")]),
        ("wasStartedBy", {"starter": "b", "activity": "a"}, [("triggered_by", "b", "a")]),
        ("wasEndedBy", {"trigger": "e", "activity": "a"}, [("wasEndedBy", "e", "a")]),
        ("wasAttributedTo", {"entity": "e", "agent": "g"}, [("wasAttributedTo", "g", "e")]),
        (
            "wasAssociatedWith",
            {"activity": "a", "agent": "g", "plan": "e"},
            [("wasAssociatedWith", "g", "a"), ("hadPlan", "e", "a")],
        ),
        ("actedOnBehalfOf", {"delegate": "g", "responsible": "h"}, [("actedOnBehalfOf", "h", "g")]),
        (
            "wasInfluencedBy",
            {"influencee": "e", "influencer": "a"},
            [("wasInfluencedBy", "a", "e")],
        ),
        (
            "specializationOf",
            {"specificEntity": "e", "generalEntity": "f"},
            [("specializationOf", "f", "e")],
        ),
        ("alternateOf", {"alternate1": "e", "alternate2": "f"}, [("alternateOf", "f", "e")]),
        (
            "hadMember",
            {"collection": "c", "entity": ["e", "f"]},
            [("hadMember", "e", "c"), ("hadMember", "f", "c")],
        ),
        (
            "mentionOf",
            {"specificEntity": "e", "generalEntity": "f", "bundle": "c"},
            [("mentionOf", "f", "e")],
        ),
        ("wasInformedBy", {"informed": "a", "informant": "b"}, [("wasInformedBy", "b", "a")]),
        (
            "wasInformedBy",
            {"informed": "a", "informant": "b", "type": "wh:retryOf"},
            [("retry_of", "b", "a")],
        ),
        (
            "wasRevisionOf",
            {"generatedEntity": "e", "usedEntity": "f"},
            [("derived_from", "f", "e")],
        ),
    ],
)
def test_every_relation_has_its_direction(kind, ends, made, tmp_path):
    """From what influenced to what was influenced, also where nothing of it is described."""
    statement = {f"prov:{end}": of for end, of in ends.items()}

    found, skipped = read(tmp_path, {"prefix": {"default": EX}, kind: {"_:r": statement}})

    assert skipped == []
    links = [(one.link_kind, one.source, one.target) for one in of_kind(found, Link)]
    assert links == [(word, f"{EX}{source}", f"{EX}{target}") for word, source, target in made]


def test_an_unknown_relation_is_told_as_it_is(tmp_path):
    """Nobody knows which of its ends is the earlier."""
    document = {
        "prefix": {"ex": EX, "other": EX},
        "entity": {"ex:e": {}},
        "ex:likes": {"_:l": {"ex:who": "ex:e", "ex:n": [1]}},
        "other:likes": {"_:l": {}},
    }

    found, skipped = read(tmp_path, document)

    event, other = of_kind(found, Event)
    assert skipped == []
    assert other.message == "other:likes"
    assert event.message == "ex:likes"
    assert event.data == {
        "prov.record": "ex:likes",
        "prov.id": "_:l",
        "ex:who": "ex:e",
        "ex:n": [1],
    }


def test_several_statements_of_one_thing_are_one(tmp_path):
    """What they say differently is a list; of the times the first counts."""
    document = {
        "activity": {
            "ex:a": [{"prov:startTime": "2026-01-01T00:00:01Z"}, {"ex:n": 1}, {"ex:n": 2}]
        },
        "wasStartedBy": {"_:s": {"prov:activity": "ex:a", "prov:time": "2026-01-01T00:00:00Z"}},
        "wasEndedBy": {"_:e": {"prov:activity": "ex:a", "prov:time": "2026-01-01T00:00:03Z"}},
    }

    found, _ = read(tmp_path, document)

    (span,), (end,) = of_kind(found, SpanStarted), of_kind(found, SpanEnded)
    assert span.ts == "2026-01-01T00:00:01.000000000Z"
    assert end.duration_ns == 2 * 10**9
    assert span.attributes["ex:n"] == [1, 2]


def test_names_are_the_same_whatever_their_prefix(tmp_path):
    """Two prefixes for one namespace, the default one, and the full name itself."""
    document = {
        "prefix": {"ex": EX, "other": EX, "default": EX},
        "entity": {"ex:e": {}},
        "wasDerivedFrom": {
            f"_:{number}": {"prov:generatedEntity": written_as, "prov:usedEntity": "ex:source"}
            for number, written_as in enumerate(
                ["other:e", "e", f"{EX}e", {"$": "ex:e", "type": "prov:QUALIFIED_NAME"}]
            )
        },
    }

    found, _ = read(tmp_path, document)

    assert {one.target for one in of_kind(found, Link)} == {f"{EX}e"}
    assert [one.output_id for one in of_kind(found, Output)] == [f"{EX}e"]


def test_names_without_a_namespace_hold_in_their_document_alone(home, tmp_path):
    """Two documents that speak of `_:x` do not speak of the same."""
    for number in (1, 2):
        document = {
            "entity": {f"ex:made{number}": {}},
            "wasDerivedFrom": {
                "_:d": {"prov:generatedEntity": f"ex:made{number}", "prov:usedEntity": "_:x"}
            },
        }
        whole = {"prefix": {"ex": EX}, **document}
        import_paths(home, [written(tmp_path / f"{number}.json", whole)])

    with whence.open(home) as store:
        lineage = store.lineage(f"{EX}made1")
        assert [node.label for node in lineage.nodes] == [
            f"entity {EX}made1",
            "kept undescribed _:x",
        ]


def test_why_and_lineage_lead_back_to_what_it_was_made_from(home, tmp_path):
    """Through generation and use, and out of the bundle into its document."""
    import_paths(home, [written(tmp_path / "chart.json", prov_document())])

    with whence.open(home) as store:
        chain = {(-node.distance, node.label) for node in store.lineage(f"{EX}page").ancestors}
        assert chain == {
            (1, "stage publish"),
            (2, "stage draw"),
            (2, f"entity {EX}chart"),
            (3, f"Table {EX}table"),
            (3, f"{EX}ada"),
            (4, "stage clean"),
            (5, f"{EX}raw"),
        }
        why = store.why(f"{EX}chart")
        assert [stage.name for stage in why.stages if stage.span] == ["clean", "draw"]
        assert {row.title for row in why.sources.kept} == {"raw rows", "Ada"}
        assert store.run(f"{EX}publishing").run.parent_run == why.run.id


def test_a_document_without_times_tells_an_order(home, tmp_path):
    """What led to a thing is before it, and nothing has a length."""
    document = prov_document()
    del document["bundle"]
    text = json.dumps(document)
    for name in ("startTime", "endTime", "time"):
        text = text.replace(f"prov:{name}", f"ex:{name}")
    import_paths(home, [written(tmp_path / "chart.json", text)])

    with whence.open(home) as store:
        (run,) = store.runs(limit=None)
        assert run.attributes["undated"] is True
        assert (run.started_ns, run.duration_ms, run.status) == (0, None, "complete")
        spans = {row.name: row for row in store.rows("spans", limit=None)}
        assert spans["clean"].ended_ns < spans["draw"].started_ns
        assert {row.duration_ms for row in spans.values()} == {None}
        stages = store.why(f"{EX}chart").stages
        assert [stage.name for stage in stages if stage.span] == ["clean", "draw"]


def test_rings_are_kept_and_named(home, tmp_path):
    """Things derived from each other, from themselves, and activities inside each other."""
    document = {
        "prefix": {"ex": EX},
        "entity": {"ex:a": {}, "ex:b": {}},
        "activity": {"ex:x": {"ex:partOf": "ex:y"}, "ex:y": {"ex:partOf": "ex:x"}},
        "wasDerivedFrom": {
            "_:1": {"prov:generatedEntity": "ex:a", "prov:usedEntity": "ex:b"},
            "_:2": {"prov:generatedEntity": "ex:b", "prov:usedEntity": "ex:a"},
            "_:3": {"prov:generatedEntity": "ex:a", "prov:usedEntity": "ex:a"},
        },
    }

    report = import_paths(home, [written(tmp_path / "rings.json", document)])

    assert (report.spans, report.skipped) == (2, [])
    with whence.open(home) as store:
        assert store.count("links") == 3
        assert store.lineage(f"{EX}a").cycles == [[f"{EX}a"], [f"{EX}a", f"{EX}b"]]
        (outer,) = store.run(next(iter(store.runs(limit=None))).id).spans
        assert [inner.row.name for inner in outer.children] in (["x"], ["y"])


def test_a_model_call_is_a_generation_and_a_tool_a_tool_call(tmp_path):
    """By the classes of PROV-AGENT, with the figures that are stated."""
    document = {
        "entity": {
            "ex:p": {"prov:type": "provagent:Prompt", "prov:value": "why?"},
            "ex:m": {"prov:type": "provagent:AIModel", "prov:label": "gpt-5"},
            "ex:r": {"prov:type": "provagent:ResponseData", "prov:value": "because"},
            "ex:q": {"prov:label": "query", "prov:value": "cats"},
        },
        "activity": {
            "ex:ask": {
                "prov:type": {"$": "provagent:AIModelInvocation", "type": "xsd:QName"},
                "ex:input_tokens": {"$": "12", "type": "xsd:int"},
                "ex:output_tokens": 0,
                "ex:cost_usd": 0.5,
            },
            "ex:search": {"prov:type": "provagent:AgentTool"},
        },
        "used": {
            "_:1": {"prov:activity": "ex:ask", "prov:entity": "ex:p"},
            "_:2": {"prov:activity": "ex:ask", "prov:entity": "ex:m"},
            "_:3": {"prov:activity": "ex:search", "prov:entity": "ex:q"},
        },
        "wasGeneratedBy": {"_:1": {"prov:activity": "ex:ask", "prov:entity": "ex:r"}},
    }

    found, _ = read(tmp_path, document)

    (call,), (tool,) = of_kind(found, Generation), of_kind(found, ToolCall)
    assert (call.model, call.output) == ("gpt-5", {"role": "assistant", "content": "because"})
    assert call.messages == [{"role": "user", "content": "why?"}]
    assert (call.usage.input_uncached, call.usage.output_visible, call.cost_usd) == (12, 0, 0.5)
    assert (tool.tool_name, tool.input, tool.output) == ("search", {"query": "cats"}, None)
    assert of_kind(found, SpanEnded) == []


def test_a_decision_has_its_options_and_its_outcome(tmp_path):
    """Options are what it used as considered or rejected, the outcome is what it generated."""
    document = {
        "entity": {
            "ex:web": {"prov:label": "web"},
            "ex:books": {"prov:label": "books", "ex:rationale": "too old"},
            "ex:out": {"prov:value": "web", "ex:confidence": "0.75", "ex:rationale": "fresher"},
        },
        "activity": {"ex:choose": {"prov:type": "ex:Decision"}},
        "used": {
            "_:1": {
                "prov:activity": "ex:choose",
                "prov:entity": "ex:web",
                "prov:role": "x:considered",
            },
            "_:2": {
                "prov:activity": "ex:choose",
                "prov:entity": "ex:books",
                "prov:role": "rejected",
            },
        },
        "wasGeneratedBy": {"_:1": {"prov:activity": "ex:choose", "prov:entity": "ex:out"}},
    }

    found, _ = read(tmp_path, document)

    (decision,), (span,) = of_kind(found, Decision), of_kind(found, SpanStarted)
    assert (decision.what, decision.why, decision.confidence) == ("web", "fresher", 0.75)
    assert [(o.name, o.reason_rejected, o.chosen) for o in decision.options] == [
        ("web", None, True),
        ("books", "too old", False),
    ]
    assert (span.span, span.span_kind) == (decision.span, "step")


def test_wrong_parts_are_named(tmp_path):
    """Nothing is lost without a word."""
    document = {
        "entity": {"ex:ok": {}, "ex:null": None, "ex:list": [{}, 1], "ex:empty": []},
        "used": 3,
        "bundle": {"ex:b": [], "ex:c": {"entity": {"ex:e": {}}, "bundle": {}}},
        "note": "kept",
        "prov": "no counts",
    }

    found, skipped = read(tmp_path, document)

    assert [(one.where.rpartition(", ")[2], one.why) for one in skipped] == [
        ("entity ex:null", "not an object, nor a list of objects"),
        ("entity ex:list", "not an object, nor a list of objects"),
        ("entity ex:empty", "not an object, nor a list of objects"),
        ("used", "not an object"),
        ("bundle ex:b", "not an object"),
        ("bundle ex:c", "a bundle in a bundle is no PROV"),
    ]
    whole, _ = of_kind(found, RunStarted)
    assert whole.attributes["prov"]["records"] == {"entity": 1}
    assert whole.attributes["note"] == "kept"


def test_both_syntaxes_tell_the_same(tmp_path):
    """A document of PROV-XML becomes what the same in PROV-JSON does."""
    document = {
        "prefix": {"ex": EX},
        "entity": {
            "ex:table": {},
            "ex:chart": {
                "prov:label": {"$": "the chart", "lang": "en"},
                "prov:type": {"$": "ex:Chart", "type": "xsd:QName"},
                "prov:value": "42",
                "ex:tag": ["a", "b"],
            },
        },
        "activity": {"ex:draw": {"prov:startTime": "2026-01-01T10:00:05Z"}},
        "agent": {"ex:ada": {"prov:type": "prov:Person"}},
        "used": {"_:used5": {"prov:activity": "ex:draw", "prov:entity": "ex:table"}},
        "wasGeneratedBy": {
            "ex:g": {
                "prov:entity": "ex:chart",
                "prov:activity": "ex:draw",
                "prov:time": "2026-01-01T10:00:08Z",
            }
        },
        "wasDerivedFrom": {
            "_:wasRevisionOf7": {
                "prov:type": "prov:Revision",
                "prov:generatedEntity": "ex:chart",
                "prov:usedEntity": "ex:table",
            }
        },
        "bundle": {
            "ex:more": {
                "entity": {"ex:page": {}},
                "wasDerivedFrom": {
                    "_:wasDerivedFrom9": {
                        "prov:generatedEntity": "ex:page",
                        "prov:usedEntity": "ex:chart",
                    }
                },
            }
        },
    }

    from_json, _ = records_of(written(tmp_path / "a.json", document), "prov")
    from_xml, skipped = records_of(written(tmp_path / "a.xml", prov_xml()), "prov")

    assert skipped == []
    said = [
        [
            (type(one).__name__, one.ts, getattr(one, "attributes", None))
            for one in records
            if type(one) is not RunStarted
        ]
        for records in (from_json, from_xml)
    ]
    assert said[0] == said[1]
    links = [
        [(one.link_kind, one.target) for one in of_kind(records, Link) if "exa" in one.target]
        for records in (from_json, from_xml)
    ]
    assert links[0] == links[1] != []


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1", "utf-8-sig"])
def test_other_encodings_are_read(encoding, tmp_path):
    """As the declaration or the first bytes say."""
    named = encoding.removesuffix("-sig")
    text = prov_xml('<prov:entity prov:id="ex:café"/>').replace("UTF-8", named)
    path = tmp_path / "a.xml"
    path.write_bytes(text.encode(encoding))

    report = import_paths(tmp_path / "home", [path])

    assert (report.format, report.runs, report.skipped) == ("prov", 1, [])
    with whence.open(tmp_path / "home") as store:
        assert store.why(f"{EX}café").table == "outputs"


def test_a_prefix_means_what_it_means_where_it_stands(tmp_path):
    """Also where a bundle declares it anew, and where PROV has another prefix or none."""
    body = (
        '<entity id="e" p:id="ex:e" xmlns:p="http://www.w3.org/ns/prov#"/>'
        '<bundleContent prov:id="ex:b" xmlns:ex="http://other.org/">'
        '<entity prov:id="ex:e"><prov:type>ex:T</prov:type></entity></bundleContent>'
    )
    document = prov_xml(body, more=' xmlns="http://www.w3.org/ns/prov#"')

    found, skipped = records_of(written(tmp_path / "a.xml", document), "prov")

    assert skipped == []
    outputs = [(one.output_id, one.output_kind) for one in of_kind(found, Output)]
    assert outputs == [(f"{EX}e", "entity"), ("http://other.org/e", "T")]
    assert of_kind(found, RunStarted)[1].external_id == "http://other.org/b"


def test_what_is_no_record_is_named(tmp_path):
    """Elements of other namespaces beside records, with their line."""
    body = '<ex:note>x</ex:note><prov:entity prov:id="ex:e">loose</prov:entity><prov:prefix/>'

    found, skipped = records_of(written(tmp_path / "a.xml", prov_xml(body)), "prov")

    assert [one.attributes["$"] for one in of_kind(found, Output)] == ["loose"]
    assert [(one.where.rpartition(":")[2], one.why) for one in skipped] == [
        ("2", "`ex:note` is no record of PROV here"),
        ("2", "`prov:prefix` is no record of PROV here"),
    ]


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "declared",
    [
        pytest.param('<!DOCTYPE d [<!ENTITY x SYSTEM "file://{secret}">]>', id="a file"),
        pytest.param('<!DOCTYPE d [<!ENTITY x SYSTEM "http://127.0.0.1:{port}/x">]>', id="a host"),
        pytest.param('<!DOCTYPE d SYSTEM "http://127.0.0.1:{port}/x.dtd">', id="another's types"),
        pytest.param(
            '<!DOCTYPE d [<!ENTITY % p SYSTEM "http://127.0.0.1:{port}/x">%p;]>', id="a parameter"
        ),
        pytest.param(
            f'<!DOCTYPE d [<!ENTITY a0 "ha">{BOMB}<!ENTITY x "&a9;">]>', id="a billion laughs"
        ),
        pytest.param(f'<!DOCTYPE d [<!ENTITY x "{"y" * 50_000}">]>', id="one long entity"),
        pytest.param("<!DOCTYPE d>", id="a bare type"),
    ],
)
def test_a_document_type_is_refused(declared, home, tmp_path):
    """No file is opened, no host is asked, nothing unfolds, and the report says why."""
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        declared = declared.replace("{secret}", str(secret))
        declared = declared.replace("{port}", str(server.getsockname()[1]))
        body = f'<prov:entity prov:id="ex:e"><prov:label>{"&x;" * 1000}</prov:label></prov:entity>'
        path = written(tmp_path / "a.xml", prov_xml(body, declared))

        report = import_paths(home, [path])

        with pytest.raises(TimeoutError):
            server.accept()
    assert (report.format, report.runs, report.new) == ("prov", 0, 0)
    (skipped,) = report.skipped
    assert skipped.where == str(path)
    assert "declares a document type" in skipped.why
    assert not any("the secret" in file.read_text() for file in home.rglob("*.jsonl"))


def test_an_entity_that_is_nowhere_declared_ends_the_document(home, tmp_path):
    """What was before it is there."""
    body = '<prov:entity prov:id="ex:e"/><prov:entity prov:id="ex:f">&x;</prov:entity>'

    report = import_paths(home, [written(tmp_path / "a.xml", prov_xml(body))])

    assert [one.why.partition(":")[0] for one in report.skipped] == ["the rest is lost"]
    with whence.open(home) as store:
        assert [row.output_id for row in store.rows("outputs", limit=None)] == [f"{EX}e"]


def test_the_corpus_has_exactly_the_expected_records(home):
    """Asked of the home: each document's records by type, its bundles, and theirs."""
    folder, totals = expected("w3c-prov")

    report = import_paths(home, [folder])

    left = {Path(one.where.partition(",")[0]).name: one.why for one in report.skipped}
    assert left.pop("bad_record_content.json") == "not an object, nor a list of objects"
    unread = {".ttl", ".trig", ".md"}
    assert {name for name in left if Path(name).suffix not in unread} == {
        "expected.json",
        "not_json.json",
        "top_level_list.json",
        "empty_root.xml",
        "wrong_root.xml",
    }
    turtles = totals["totals"]["files"]["ttl"] + totals["totals"]["files"]["trig"]
    assert sum(Path(name).suffix in {".ttl", ".trig"} for name in left) == turtles
    with whence.open(home) as store:
        runs = list(store.runs(limit=None))
    about = {run.id: run.attributes["prov"] for run in runs}
    named = {
        run.name: run for run in runs if not run.parent_run and about[run.id]["syntax"] == "json"
    }
    files = totals["files"]
    assert len(files) == totals["totals"]["prov_json_documents"]
    for name, wanted in files.items():
        run = named[Path(name).stem]
        assert about[run.id]["records"] == wanted["records"], name
        assert about[run.id]["bundles"] == wanted["bundles"], name
        inside = [about[one.id] for one in runs if one.parent_run == run.id]
        assert {one["bundle"]: one["records"] for one in inside} == wanted["bundle_records"], name
    # What the runs count is what there are rows of, and not a number that was copied.
    rows = stated_in(home)
    for run in runs:
        for kind, count in about[run.id]["records"].items():
            assert rows[run.id, kind] == count, (run.name, kind)


def test_the_corpus_in_xml_has_as_many_records_as_it_has_elements(home):
    """Counted by another reader; several elements of one id are one record."""
    folder, totals = expected("w3c-prov")
    files = sorted(folder.rglob("*.xml"))
    assert len(files) == totals["totals"]["files"]["xml"]

    import_paths(home, files)

    with whence.open(home) as store:
        runs = list(store.runs(limit=None))
    named = {run.name: run for run in runs if not run.parent_run}
    read_files = 0
    for file in files:
        root = ET.parse(file).getroot()  # noqa: S314 - files of the corpus
        if root.tag != f"{PROV}document":
            continue
        read_files += 1
        wanted = Counter()
        ids = set()
        bundles = 0
        for element in root:
            tag = element.tag.removeprefix(PROV)
            bundles += tag == "bundleContent"
            kind, key = XML_TYPES.get(tag, tag), element.get(f"{PROV}id")
            if tag != "bundleContent" and (key is None or (kind, key) not in ids):
                wanted[kind] += 1
                ids.add((kind, key))
        about = named[file.stem].attributes["prov"]
        assert (about["records"], about["bundles"]) == (dict(wanted), bundles), file.name
    assert read_files == len(files) - 2
