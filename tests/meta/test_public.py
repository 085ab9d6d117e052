"""What users meet is written down, and no file knows the machine it was made on."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
from pathlib import Path

import pytest

from whence import errors
from whence.store.fields import fields_of
from whence.store.rows import TABLES

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
NOT_OURS = {"__pycache__", "build", "dist", "node_modules"}
ERRORS = [
    name
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.WhenceError)
]


MADE_HERE = re.compile(r"\.local\.|\.so$")
"""Names of files that are made on this machine and not version controlled."""


def files_of_the_project():
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [
            name
            for name in subfolders
            if name not in NOT_OURS and (name == ".ci" or not name.startswith("."))
        ]
        yield from (Path(folder, name) for name in names if not MADE_HERE.search(name))


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_documented(name):
    """Each class of `whence.errors` is a heading or a term of the errors page."""
    page = (REFERENCE / "errors.md").read_text("utf-8")

    assert f"`{name}`" in page


def test_the_page_of_rows_is_what_the_generator_writes():
    """`docs/reference/rows.md` is fresh; `docs/generate.py` makes it so."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)

    assert (REFERENCE / "rows.md").read_text("utf-8") == generate.render()


@pytest.mark.parametrize("table", TABLES)
def test_every_field_of_a_row_has_a_meaning(table):
    """Each field of each table stands in the page of rows with a sentence beside it."""
    page = (REFERENCE / "rows.md").read_text("utf-8")
    section = page.split(f"\n## {table}\n", 1)[1].split("\n## ", 1)[0]

    silent = [
        name for name in fields_of(table) if not re.search(rf"\| `{name}` \|.*[\w`]\. \|", section)
    ]

    assert silent == []


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_named_where_reading_is_explained(table):
    """The reading page names each table, and so the method that pages through it."""
    page = (REFERENCE / "reading-api.md").read_text("utf-8")

    assert f"`{table}`" in page


def test_every_folder_of_the_source_is_in_the_architecture():
    """Someone who opens the source finds each of its folders explained."""
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    source = ROOT / "src" / "whence"
    folders = [
        path.name for path in source.iterdir() if path.is_dir() and path.name != "__pycache__"
    ]

    missing = [name for name in folders if f"{name}/" not in page]

    assert missing == []


def test_no_file_knows_the_machine_it_was_made_on():
    """No file names an absolute path of a developer's machine."""
    machine = re.compile(rb"(?<![\w.])/(?:work|root)/")

    found = [path for path in files_of_the_project() if machine.search(path.read_bytes())]

    assert found == []
