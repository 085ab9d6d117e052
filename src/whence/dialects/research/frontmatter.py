"""Ties a report to its trace: YAML front matter that names the trace, and the way back.

Comes in: a markdown file and a trace. Goes out: the same file with four keys in its front matter
(document 5, pipeline observability, section 3.3), everything else as it was to the byte: other
keys, comments, line ends, the body. Doing it again changes nothing. The trace learns where its
report is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence.dialects.research.stages import now
from whence.ingest import research_parts as parts
from whence.log.replacing import replace

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from whence.dialects.research.trace import Trace

KEYS = ("trace_id", "generated_at", "quality_score", "quality_gate")
_FENCE = re.compile(rb"---[ \t]*(\r\n|\n|\r|\Z)")
_END = re.compile(rb"(?m)^(?:---|\.\.\.)[ \t]*(?:\r\n|\n|\r|\Z)")
_BOM = b"\xef\xbb\xbf"
_PLAIN = re.compile(r"[A-Za-z][\w.-]*")
_NUMBER_OR_TIME = re.compile(r"-?\d+(\.\d+)?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ESCAPE = re.compile(r"\\(?:U([0-9a-f]{8})|(.))")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def add_frontmatter(report_path: str | os.PathLike[str], trace: Trace) -> Path:
    """Write into a report which trace it came from; return its path.

    The keys are `trace_id`, `generated_at`, `quality_score` and `quality_gate` (`passed` or
    `failed`); what the trace does not know is left out. A report that names this trace already
    keeps its `generated_at`. The trace's outputs get the path as `report_path` unless they have
    one.

    Args:
        report_path: A markdown file, with or without front matter.
        trace: The trace.

    Returns:
        The path.

    Raises:
        OSError: The file cannot be read or written.
    """
    path = Path(report_path)
    content = path.read_bytes()
    known = _values(content)
    same = known.get("trace_id") == trace.trace_id
    generated = known.get("generated_at") if same else None
    fields = _fields(trace, generated)
    changed = with_fields(content, fields)
    if changed != content:
        replace(path, changed, mode=path.stat().st_mode & 0o7777)
    if not trace.outputs.get("report_path"):
        trace.set_outputs({**trace.outputs, "report_path": str(report_path)})
    return path


def read_frontmatter(report_path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the keys of a report that `add_frontmatter` writes, as text; those it has.

    Raises:
        OSError: The file cannot be read.
    """
    return _values(Path(report_path).read_bytes())


def _fields(trace: Trace, generated: str | None) -> dict[str, str]:
    gate = trace.stages.get(parts.GATE)
    outputs: Mapping[str, Any] = {} if gate is None else gate.outputs
    score = parts.find_number(outputs.get("overall_score"))
    passed = outputs.get("passed", outputs.get("passing"))
    fields = {
        "trace_id": trace.trace_id,
        "generated_at": generated or f"{(trace.completed_at or now())[:19]}Z",
    }
    if score is not None:
        fields["quality_score"] = f"{score:g}"
    if isinstance(passed, bool):
        fields["quality_gate"] = "passed" if passed else "failed"
    return fields


def with_fields(content: bytes, fields: Mapping[str, str]) -> bytes:
    """Return a markdown file with these keys in its front matter and all else as it was.

    Args:
        content: The file, with or without front matter.
        fields: Keys and values; a key of ours that is not among them is taken out.
    """
    bom = _BOM if content.startswith(_BOM) else b""
    rest = content[len(bom) :]
    found = _find(rest)
    if found is None:
        line_end = _line_end(rest)
        lines = [_line(key, value) for key, value in fields.items()]
        block = line_end.join([b"---", *lines, b"---", b""])
        return bom + block + rest
    start, end = found
    line_end = _FENCE.match(rest)
    newline = (line_end[1] if line_end else b"") or b"\n"
    return bom + rest[:start] + _merged(rest[start:end], fields, newline) + rest[end:]


def _find(rest: bytes) -> tuple[int, int] | None:
    """Return where the lines between the fences begin and end; None without front matter."""
    opening = _FENCE.match(rest)
    if opening is None or not opening[1]:
        return None
    closing = _END.search(rest, opening.end())
    return None if closing is None else (opening.end(), closing.start())


def _merged(block: bytes, fields: Mapping[str, str], newline: bytes) -> bytes:
    """Return the lines of a front matter with our keys replaced where they stand, or added."""
    waiting = dict(fields)
    made: list[bytes] = []
    skipping = False
    for line in block.splitlines(keepends=True):
        key = _key_of(line)
        if key is None and skipping and line[:1] in {b" ", b"\t", b"-"}:
            continue  # what belonged to a value of ours that went over several lines
        skipping = key in KEYS
        if key not in KEYS:
            made.append(line)
        elif key in waiting:
            made.append(_line(key, waiting.pop(key)) + newline)
    if made and not made[-1].endswith((b"\n", b"\r")):
        made[-1] += newline
    made += [_line(key, value) + newline for key, value in waiting.items()]
    return b"".join(made)


def _key_of(line: bytes) -> str | None:
    key, colon, _ = line.partition(b":")
    if not colon or line[:1] in b" \t#-":
        return None
    return key.strip().strip(b"'\"").decode("utf-8", "replace")


def _values(content: bytes) -> dict[str, str]:
    rest = content.removeprefix(_BOM)
    found = _find(rest)
    values: dict[str, str] = {}
    for line in rest[slice(*found)].splitlines() if found else ():
        key = _key_of(line)
        if key in KEYS:
            value = line.partition(b":")[2].strip().decode("utf-8", "replace")
            values[key] = _text(value)
    return values


def _line(key: str, value: str) -> bytes:
    is_figure = key != "trace_id" and _NUMBER_OR_TIME.fullmatch(value)
    return f"{key}: {value if is_figure else _scalar(value)}".encode("utf-8", "backslashreplace")


def _scalar(value: str) -> str:
    """Return a text as a YAML scalar that means this text and nothing else."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    escaped = "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
    return f'"{escaped}"'


def _text(scalar: str) -> str:
    """Return the text that a scalar of ours means; of anybody else's, what is in its quotes."""
    if not scalar.startswith('"'):
        return scalar.strip("'")
    inner = scalar.removeprefix('"').removesuffix('"')
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], inner)


def _line_end(content: bytes) -> bytes:
    """Return the line end that a file uses."""
    first = re.search(rb"\r\n|\n|\r", content)
    return first[0] if first else b"\n"
