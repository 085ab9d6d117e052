"""Write the format of the log as JSON Schema, and one example of every kind of record.

Everything comes from the structs in `whence.record`: the schema's descriptions are the sentences
under their fields, so the specification cannot say anything that the code does not. Run it after a
field was added: `.venv/bin/python spec/generate.py`. The lines in `golden/v0` are written by hand
and stay.
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import msgspec

from whence.record import codec
from whence.record.base import FORMAT_VERSION
from whence.record.event import Foreign

SPEC = Path(__file__).resolve().parent
SCHEMA = SPEC / f"record-v{FORMAT_VERSION}.schema.json"
GOLDEN = SPEC / "golden" / f"v{FORMAT_VERSION}"
KINDS = {tag: kind for tag, kind in codec.KINDS.items() if kind is not Foreign}
ENVELOPE = {
    "v": FORMAT_VERSION,
    "seq": 1,
    "ts": "2026-01-31T23:59:59.123456789Z",
    "run": "019b2f76ac2870008000000000000001",
}


def main() -> int:
    """Write the schema and the examples, and return 0."""
    SCHEMA.write_text(render_schema(), "utf-8")
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for tag in KINDS:
        (GOLDEN / f"{tag}.jsonl").write_text(render_examples(tag), "utf-8")
    return 0


def render_schema() -> str:
    """Return the JSON Schema of one line of a log."""
    _, components = msgspec.json.schema_components(
        list(KINDS.values()), ref_template="#/$defs/{name}"
    )
    for name, component in components.items():
        _describe(component, STRUCTS[name])
    for kind in KINDS.values():
        required = components[kind.__name__]["required"]
        components[kind.__name__]["required"] = sorted({*required, "kind", "v", "seq"})
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a whence log, format version {FORMAT_VERSION}",
        "description": (
            "One record. Readers keep keys and kinds they do not know. An object with the key "
            "`$whence` is a marker value: it stands for what JSON has no form for."
        ),
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in KINDS.values()],
        "$defs": components,
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def _describe(component: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    """Put in the sentences under the fields, and let unknown keys through, as readers do."""
    component.pop("additionalProperties", None)
    component["properties"].pop("$extra", None)
    for name, schema in component["properties"].items():
        meaning = meaning_of(struct, name)
        if meaning:
            schema["description"] = meaning
    component["properties"].get("v", {})["minimum"] = FORMAT_VERSION


def meaning_of(struct: type, field: str) -> str:
    """Return the sentence under a field, of the struct or its nearest base; empty without one."""
    for base in struct.__mro__:
        if base.__module__.startswith("whence.record"):
            meaning = _meanings(base.__module__).get((base.__name__, field))
            if meaning:
                return meaning
    return ""


@cache
def _meanings(module: str) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.ClassDef):
            for field, text in pairwise(node.body):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    sentence = " ".join(ast.literal_eval(text.value).split())
                    found[node.name, ast.unparse(field.target)] = sentence
    return found


def render_examples(tag: str) -> str:
    """Return two lines of a kind: with the least it must have, and with every field set."""
    kind = KINDS[tag]
    needed = {f.name for f in msgspec.structs.fields(kind) if f.required}
    lines = [codec.encode(kind(**ENVELOPE, **_values(kind, needed - ENVELOPE.keys())))]
    every = {f.name for f in msgspec.structs.fields(kind)} - ENVELOPE.keys() - {"extra"}
    lines.append(codec.encode(kind(**ENVELOPE | {"seq": 2}, **_values(kind, every))))
    return b"\n".join([*lines, b""]).decode()


def _values(kind: type[msgspec.Struct], names: set[str]) -> dict[str, Any]:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return {name: _example(name, fields[name]) for name in sorted(names)}


def _example(name: str, kind: Any) -> Any:
    """Return a value of a field's type that tells which field it is."""
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if get_origin(kind) in {Union, types.UnionType}:
        return _example(name, next(inner for inner in get_args(kind) if inner is not type(None)))
    if get_origin(kind) is list:
        return [_example(name, get_args(kind)[0])]
    if get_origin(kind) is dict:
        return {"key": 7 if get_args(kind)[1] is int else f"a value of {name}"}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind(**_values(kind, {f.name for f in msgspec.structs.fields(kind)} - {"extra"}))
    return {str: name, int: 7, float: 0.25, bool: True}.get(
        kind, {"any": [name, 1, 0.5, True, None]}
    )


_EXAMPLES: dict[str, Any] = {
    "id": "c7500317b6dc53a8",
    "span": "c7500317b6dc53a7",
    "parent": "c7500317b6dc53a6",
    "stage": "collect",
    "since": "2026-01-31T23:59:58.000000000Z",
    "raw_value": {"$whence": "float", "value": "inf"},
    "value": 0.75,
    "cost_source": "declared",
    "kept": False,
}


def _structs_under(kind: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    found = {kind.__name__: kind}
    for field in msgspec.structs.fields(kind):
        pending = [field.type]
        while pending:
            inner = pending.pop()
            pending.extend(get_args(inner))
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                found[inner.__name__] = inner
    return found


STRUCTS = {name: struct for kind in KINDS.values() for name, struct in _structs_under(kind).items()}


if __name__ == "__main__":
    sys.exit(main())
