"""Goes through the rows of tables: CSV and Parquet, as platforms export them.

Comes in: a source. Goes out: mappings of column name to value, one a row. A cell of CSV is text,
and None where it is empty; what a text stands for, whoever knows the column decides. Parquet is
read with DuckDB, and its times become text.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whence import _extras
from whence.errors import IngestError, MissingExtraError
from whence.ingest import json_files, loose
from whence.ingest.base import MAX_LINE_BYTES, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Source
    from whence.ingest.loose import Fields

PARQUET = b"PAR1"
_FETCHED_ROWS = 1000
_SETTINGS = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_MOST_COLUMNS = 5000


def is_parquet(source: Source) -> bool:
    """Return whether a file begins as Parquet does."""
    return source.head[:4] == PARQUET


def header(source: Source) -> list[str]:
    """Return the column names of a CSV file; none if its first line is no such thing."""
    first = source.head.partition(b"\n")[0].decode("utf-8-sig", "replace")
    try:
        return next(csv.reader([first], strict=True), list[str]())
    except csv.Error:
        return []


def iter_csv(source: Source) -> Iterator[tuple[str, Fields] | Skipped]:
    """Yield where it stands and content of every row of a CSV file with column names.

    Yields:
        A `Skipped` for a row of another length, and for the rest of a file that is damaged.

    Raises:
        OSError: The file cannot be read.
    """
    lines = _Lines(source)
    reader = csv.reader(lines, strict=True)
    names: list[str] | None = None
    while True:
        begins = lines.number + 1
        where = f"{source.name}:{begins}"
        before = csv.field_size_limit(MAX_LINE_BYTES)  # one limit for all of Python, so put back
        try:
            row = next(reader, None)
        except csv.Error as error:
            torn = "; the file ends in the middle of the row" if lines.is_at_end else ""
            yield Skipped(where, f"not CSV: {error}{torn}")
            if lines.is_at_end:
                break
            continue
        finally:
            csv.field_size_limit(before)
        if row is None:
            break
        if names is None:
            names = row[:_MOST_COLUMNS]
        elif len(row) != len(names):
            if row:
                yield Skipped(where, f"it has {len(row)} cells, and there are {len(names)} columns")
        else:
            yield where, {k: v or None for k, v in zip(names, row, strict=True)}
    if lines.problem is not None:
        yield Skipped(f"{source.name}:{lines.number + 1}", lines.problem)


class _Lines:
    """The lines of a file as text; what cannot be unpacked ends them."""

    def __init__(self, source: Source) -> None:
        self.number = 0
        self.problem: str | None = None
        self.is_at_end = False
        self._lines = self._iter(source)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._lines)

    def _iter(self, source: Source) -> Iterator[str]:
        encoding = "utf-8-sig"
        with source.open() as file:
            while True:
                try:
                    line = file.readline(MAX_LINE_BYTES)
                except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                    self.problem = f"cannot be unpacked: {error}"
                    line = b""
                if not line:
                    self.is_at_end = True
                    return
                self.number += 1
                yield line.decode(encoding, "surrogateescape")
                encoding = "utf-8"


def iter_parquet(source: Source) -> Iterator[tuple[str, Fields]]:
    """Yield where it stands and content of every row of a Parquet file.

    Raises:
        IngestError: It is damaged, or DuckDB is not installed.
    """
    try:
        duckdb: Any = _extras.require("duckdb", "cli", "reading Parquet")
    except MissingExtraError as error:
        raise IngestError(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="whence-parquet-") as folder:
        # DuckDB takes some characters in names of files for patterns.
        link = Path(folder) / "in.parquet"
        link.symlink_to(source.path.absolute())
        connection = duckdb.connect(":memory:", config=_SETTINGS)
        try:
            # As JSON, since its times would need another package as values of Python.
            cursor = connection.execute("SELECT to_json(t) FROM read_parquet(?) t", [str(link)])
            number = 0
            while rows := cursor.fetchmany(_FETCHED_ROWS):
                for (row,) in rows:
                    number += 1
                    where = f"{source.name}, row {number}"
                    yield where, loose.mapping(json_files.decoded(str(row).encode()))
        except duckdb.Error as error:
            said = str(error).partition("\n")[0]
            raise IngestError(f"{source.name} cannot be read as Parquet: {said}") from error
        finally:
            connection.close()


def column_names(source: Source) -> set[bytes]:
    """Return the words at the end of a Parquet file, among which are its columns' names."""
    tail = 64 << 10
    try:
        size = source.path.stat().st_size
        with source.path.open("rb") as file:
            file.seek(max(0, size - tail))
            content = file.read(tail)
    except OSError:
        return set()
    words = bytes(b if _is_word(b) else 0x20 for b in content)
    return set(words.split())


def _is_word(byte: int) -> bool:
    return (chr(byte).isalnum() and byte < 0x80) or byte in b"_."  # noqa: PLR2004 - ASCII
