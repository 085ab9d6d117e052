"""Small graphs of provenance, made by hand: PROV in both syntaxes, and crates of runs.

Each function returns the document as Python data, or as text, to be changed by the tests that need
another case; `FILES` has one file of each, for what holds for all of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EX = "http://example.org/"
DAY = "2026-01-01T"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"


def prov_document() -> dict[str, Any]:
    """Return a chart drawn from a table that was cleaned, with a bundle that publishes it."""
    return {
        "prefix": {"ex": EX, "default": f"{EX}plain/"},
        "entity": {
            "ex:raw": {"prov:location": "../../etc/passwd", "prov:label": "raw rows"},
            "ex:table": {"prov:type": {"$": "ex:Table", "type": "prov:QUALIFIED_NAME"}},
            "ex:chart": {"prov:value": {"$": "42", "type": "xsd:int"}, "prov:label": "the chart"},
            "ex:old": {},
        },
        "activity": {
            # The later one stands first, so that nothing can rest on the order of the document.
            "ex:draw": {
                "prov:startTime": f"{DAY}10:00:05Z",
                "prov:endTime": f"{DAY}10:00:09Z",
                "ex:width": 640,
            },
            "ex:clean": {"prov:startTime": f"{DAY}10:00:00Z", "prov:endTime": f"{DAY}10:00:04Z"},
        },
        "agent": {"ex:ada": {"prov:label": "Ada", "prov:type": "prov:Person"}},
        "used": {
            "_:u1": {"prov:activity": "ex:clean", "prov:entity": "ex:raw", "prov:role": "input"},
            "_:u2": {"prov:activity": "ex:draw", "prov:entity": "ex:table"},
        },
        "wasGeneratedBy": {
            "ex:g1": {"prov:entity": "ex:table", "prov:activity": "ex:clean"},
            "ex:g2": {
                "prov:entity": "ex:chart",
                "prov:activity": "ex:draw",
                "prov:time": f"{DAY}10:00:08Z",
            },
        },
        "wasDerivedFrom": {
            "_:d1": {"prov:generatedEntity": "ex:chart", "prov:usedEntity": "ex:table"}
        },
        "wasAssociatedWith": {"_:a1": {"prov:activity": "ex:draw", "prov:agent": "ex:ada"}},
        "wasInvalidatedBy": {"_:i1": {"prov:entity": "ex:old", "prov:activity": "ex:draw"}},
        "wasEndedBy": {"_:e1": {"prov:activity": "ex:draw"}},
        "bundle": {
            "ex:publishing": {
                "activity": {"ex:publish": {}},
                "entity": {"ex:page": {}},
                "used": {"_:u1": {"prov:activity": "ex:publish", "prov:entity": "ex:chart"}},
                "wasGeneratedBy": {
                    "_:g1": {"prov:entity": "ex:page", "prov:activity": "ex:publish"}
                },
                "wasInformedBy": {
                    "_:i1": {"prov:informed": "ex:publish", "prov:informant": "ex:draw"}
                },
            }
        },
    }


def prov_xml(body: str = "", declared: str = "", more: str = "") -> str:
    """Return a document of PROV-XML.

    Args:
        body: Its records; those of a chart that Ada drew if it is empty.
        declared: What stands before its root.
        more: Attributes of its root.
    """
    records = body or (
        '<prov:entity prov:id="ex:table"/>'
        '<prov:entity prov:id="ex:chart"><prov:label xml:lang="en">the chart</prov:label>'
        '<prov:type xsi:type="xsd:QName">ex:Chart</prov:type><prov:value>42</prov:value>'
        "<ex:tag>a</ex:tag><ex:tag>b</ex:tag></prov:entity>"
        '<prov:activity prov:id="ex:draw">'
        f"<prov:startTime>{DAY}10:00:05Z</prov:startTime></prov:activity>"
        '<prov:person prov:id="ex:ada"/>'
        '<prov:used><prov:activity prov:ref="ex:draw"/>'
        '<prov:entity prov:ref="ex:table"/></prov:used>'
        '<prov:wasGeneratedBy prov:id="ex:g"><prov:entity prov:ref="ex:chart"/>'
        f'<prov:activity prov:ref="ex:draw"/><prov:time>{DAY}10:00:08Z</prov:time>'
        "</prov:wasGeneratedBy>"
        '<prov:wasRevisionOf><prov:generatedEntity prov:ref="ex:chart"/>'
        '<prov:usedEntity prov:ref="ex:table"/></prov:wasRevisionOf>'
        '<prov:bundleContent prov:id="ex:more"><prov:entity prov:id="ex:page"/>'
        '<prov:wasDerivedFrom><prov:generatedEntity prov:ref="ex:page"/>'
        '<prov:usedEntity prov:ref="ex:chart"/></prov:wasDerivedFrom></prov:bundleContent>'
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{declared}'
        '<prov:document xmlns:prov="http://www.w3.org/ns/prov#"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        f' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:ex="{EX}"{more}>'
        f"{records}</prov:document>\n"
    )


def crate(*entities: dict[str, Any], **root: Any) -> dict[str, Any]:
    """Return a crate of these entities, with its descriptor and its root."""
    about = {"@id": "./"}
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": about,
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    dataset = {"@id": "./", "@type": "Dataset", "name": "two steps", **root}
    return {"@context": CONTEXT, "@graph": [descriptor, dataset, *entities]}


def workflow_run() -> dict[str, Any]:
    """Return a crate of a workflow run: an engine, a workflow, two steps, the second failed."""
    return crate(
        {"@id": "flow.cwl", "@type": ["File", "ComputationalWorkflow"], "name": "flow"},
        {"@id": "#engine", "@type": "SoftwareApplication", "name": "engine 1.0"},
        {"@id": "#organized", "@type": "OrganizeAction", "name": "engine run"}
        | _of("instrument", "#engine")
        | _of("agent", "https://orcid.org/0000-0000-0000-0001")
        | _of("object", "#step1", "#step2")
        | _of("result", "#run"),
        {"@id": "#step1", "@type": "ControlAction", "name": "step 1"} | _of("object", "#clean"),
        {"@id": "#step2", "@type": "ControlAction", "name": "step 2"} | _of("object", "#draw"),
        _action("#run", (0, 9), "flow.cwl", ["raw.csv"], ["out/chart.png"]),
        # The later one stands first.
        _action("#draw", (5, 8), "#draw.py", ["table.csv", "#width"], ["out/chart.png"])
        | {"actionStatus": "http://schema.org/FailedActionStatus", "error": "no ink"},
        _action("#clean", (1, 4), "#clean.py", ["raw.csv"], ["table.csv"]),
        {"@id": "#draw.py", "@type": "SoftwareApplication", "name": "draw.py"},
        {"@id": "#clean.py", "@type": "SoftwareApplication", "name": "clean.py"},
        {"@id": "raw.csv", "@type": "File", "name": "raw rows", "sha256": "ab" * 32},
        {"@id": "table.csv", "@type": "File", "description": "cleaned rows"},
        {"@id": "out/chart.png", "@type": ["File", "ImageObject"]},
        {"@id": "#width", "@type": "PropertyValue", "name": "width", "value": 640},
        {"@id": "https://orcid.org/0000-0000-0000-0001", "@type": "Person", "name": "Ada"},
        {"@id": "https://spdx.org/licenses/CC0-1.0", "@type": "CreativeWork", "name": "CC0"},
        conformsTo=[{"@id": "https://w3id.org/ro/wfrun/provenance/0.5"}],
        mainEntity={"@id": "flow.cwl"},
    )


def _of(name: str, *ids: str) -> dict[str, Any]:
    """Return a property that names other entities."""
    named = [{"@id": one} for one in ids]
    return {name: named[0] if len(named) == 1 else named}


def _action(
    key: str, seconds: tuple[int, int], tool: str, given: list[str], made: list[str]
) -> dict[str, Any]:
    begun, ended = (f"{DAY}10:00:0{second}Z" for second in seconds)
    action = {"@id": key, "@type": "CreateAction", "name": key[1:], "startTime": begun}
    action["endTime"] = ended
    return action | _of("instrument", tool) | _of("object", *given) | _of("result", *made)


def written(path: Path, content: Any) -> Path:
    """Write a text as it is and anything else as JSON, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


FILES: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "prov-json": ("prov", "chart.json", prov_document),
    "prov-xml": ("prov", "chart.xml", prov_xml),
    "ro-crate": ("ro-crate", "ro-crate-metadata.json", workflow_run),
}
"""What it is to its format, the name of a file, and the function that makes its content."""


def made(folder: Path, what: str) -> tuple[str, Path]:
    """Write the file of something into a folder; return its format and its path."""
    name, file_name, content = FILES[what]
    return name, written(folder / file_name, content())
