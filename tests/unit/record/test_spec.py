"""The specification is fresh, its examples keep to it, and what was written once stays readable."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest

from whence.record import codec

SPEC = Path(__file__).resolve().parents[3] / "spec"


def load_generator():
    spec = importlib.util.spec_from_file_location("spec_generate", SPEC / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()
VALIDATOR = jsonschema.Draft202012Validator(json.loads(generate.SCHEMA.read_text("utf-8")))
LINES = [
    pytest.param(line, id=f"{path.parent.name}/{path.stem}-{number}")
    for path in [
        *sorted((SPEC / "golden" / "v1").iterdir()),
        SPEC / "golden/v0/records.as-v1.jsonl",
    ]
    for number, line in enumerate(path.read_bytes().splitlines(), 1)
]


def test_the_schema_is_what_the_structs_say():
    """`spec/generate.py` would write the same schema again."""
    assert generate.SCHEMA.read_text("utf-8") == generate.render_schema()


@pytest.mark.parametrize("tag", generate.KINDS)
def test_the_examples_are_what_the_structs_say(tag):
    """`spec/generate.py` would write the same examples again."""
    path = generate.GOLDEN / f"{tag}.jsonl"

    assert path.read_text("utf-8") == generate.render_examples(tag)


def test_every_field_has_a_meaning():
    """Each property of each kind has a sentence."""
    silent = [
        f"{name}.{field}"
        for name, component in json.loads(generate.SCHEMA.read_text("utf-8"))["$defs"].items()
        for field, schema in component["properties"].items()
        if field != "kind" and not schema.get("description")
    ]

    assert silent == []


@pytest.mark.parametrize("line", LINES)
def test_an_example_keeps_to_the_schema(line):
    """It is valid, and written as it was read."""
    VALIDATOR.validate(json.loads(line))

    assert codec.encode(codec.decode(line)) == line


def test_the_schema_refuses_what_is_no_record():
    """It is not so lax that it lets everything through."""
    line = json.loads((generate.GOLDEN / "decision.jsonl").read_bytes().splitlines()[0])

    for broken in (
        {**line, "kind": "nonsense"},
        {**line, "confidence": "high"},
        {"kind": "decision"},
    ):
        assert not VALIDATOR.is_valid(broken)


def test_lines_of_version_0_read_as_they_did():
    """The prototype's lines become the same lines of version 1, byte for byte."""
    old = (SPEC / "golden/v0/records.jsonl").read_bytes().splitlines()
    new = (SPEC / "golden/v0/records.as-v1.jsonl").read_bytes().splitlines()

    assert [codec.encode(codec.decode(line)) for line in old] == new
