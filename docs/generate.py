"""Write `docs/reference/rows.md`: every table, every field, its type and meaning.

The fields come from `whence.store.fields`, their meanings from the strings under the fields in
`whence/store/rows.py`, so the page cannot say anything that the code does not. Run it after a field
was added: `.venv/bin/python docs/generate.py`.
"""

from __future__ import annotations

import ast
import sys
from itertools import pairwise
from pathlib import Path

from whence.store import rows
from whence.store.fields import fields_of

PAGE = Path(__file__).resolve().parent / "reference" / "rows.md"

INTRODUCTION = """\
# Rows

Written by `docs/generate.py` from the row structs; do not edit it by hand.

The same names are attributes of the rows in Python, fields of the filter language and columns of
the SQL tables. Types: `text`, `integer`, `number`, `boolean`, `tags` (a list of texts) and `json`
(any JSON value, reached into by key). A `_ns` field is a time in Unix nanoseconds, `_ms` is a
duration in milliseconds, `_usd` is money. Null means that nobody said; it is never zero.
"""


def main() -> int:
    """Write the page and return 0."""
    PAGE.write_text(render(), "utf-8")
    return 0


def render() -> str:
    """Return the page as markdown: a section a table, a line a field."""
    meanings = read_meanings(Path(rows.__file__).read_text("utf-8"))
    sections = [INTRODUCTION]
    for table, row_type in rows.TABLES.items():
        lines = [
            f"## {table}",
            "",
            f"{row_type.__doc__} By time: `{rows.TIME_FIELD[table]}`.",
            "",
            "| field | type | null | meaning |",
            "|---|---|---|---|",
        ]
        for field in fields_of(table).values():
            meaning = find_meaning(row_type, field.name, meanings).replace("|", "\\|")
            null = "yes" if field.nullable else ""
            lines.append(f"| `{field.name}` | {field.type} | {null} | {meaning} |")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def read_meanings(source: str) -> dict[tuple[str, str], str]:
    """Return the string under each annotated name of each class, by class and name."""
    found: dict[tuple[str, str], str] = {}
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    for node in classes:
        for field, text in pairwise(node.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                value = ast.literal_eval(text.value)
                found[node.name, ast.unparse(field.target)] = " ".join(value.split())
    return found


def find_meaning(row_type: type, field: str, meanings: dict[tuple[str, str], str]) -> str:
    """Return what the field means: as its own class says, else as the nearest base does."""
    for base in row_type.__mro__:
        if (base.__name__, field) in meanings:
            return meanings[base.__name__, field]
    return ""


if __name__ == "__main__":
    sys.exit(main())
