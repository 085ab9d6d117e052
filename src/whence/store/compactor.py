"""Turns finished segments into Parquet, and never loses or doubles a row doing so.

Comes in: a home. Goes out: parts in the archive folder and a new catalog. Order of events: parts
are written beside their place, brought to the disk and renamed; then the catalog is renamed, which
is the one moment of change; then the segments' hot markers go. A compactor that dies anywhere
leaves either the old archive with unused files, which the next run removes, or the new one with
spare markers, which readers see through.

Runs and spans that are not whole in a batch - their start or end stands elsewhere, or never came -
go to the table `parts` as states, from which readers put them together.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _extras
from whence.log import catalog as catalogs
from whence.log import segment
from whence.log.catalog import Batch, Catalog, Part
from whence.log.reader import Problem
from whence.store import columns, load
from whence.store.load import Tail
from whence.store.project import Projection
from whence.store.rows import TABLES, TIME_FIELD, Row
from whence.store.staterows import run_row, span_row
from whence.store.states import RunState, SpanState

if TYPE_CHECKING:
    from whence.log.home import Home
    from whence.log.segment import SegmentName

BATCH_BYTES = 192 << 20
"""Log bytes that one batch takes in; bounds the compactor's memory to about three times that."""
SMALL_PART_BYTES = 8 << 20
MERGE_AT = 8
"""Merge when so many small batches have piled up."""
VECTOR_ROWS = 2_048
"""DuckDB makes row groups of whole vectors."""
ROW_GROUP_VECTORS = 10
ROW_GROUP_BYTES = 4 << 20
"""Wide rows get smaller groups.

Because the latest fifty rows cost reading one whole group (74 ms at 20,000 decisions, 16 ms at
6,000).
"""
CHUNK_BYTES = 8 << 20
"""Rows so wide that one vector of them is longer than this go to several files.

A file's first group is as short as the file, so the latest fifty model calls, at 14 KB each, cost
reading 600 and not 2,048 of them.
"""
ZSTD_LEVEL = 6

Progress = Callable[[int, int], None]
"""Gets bytes done and bytes to do."""


class CompactReport(msgspec.Struct, frozen=True):
    """What a compaction did."""

    segments: int
    """Segments taken in."""
    records: int
    """Records in them."""
    log_bytes: int
    """Their size in the log."""
    archive_bytes: int
    """Size of the parts made of them."""
    merged: int
    """Batches that were merged into larger ones."""
    problems: list[Problem]
    """What in the segments was no record."""


class PartState(msgspec.Struct, frozen=True):
    """A run or span that is not whole in its batch."""

    run: RunState | None = None
    span: SpanState | None = None


def compact(
    home: Home, *, progress: Progress | None = None, steps: Callable[[str], None] | None = None
) -> CompactReport:
    """Archive every segment whose writer is gone.

    Args:
        home: The home.
        progress: Called as bytes are read.
        steps: Called with the name of each step as it is reached; the crash tests stop the process
            there.

    Returns:
        What was archived.

    Raises:
        ArchiveBusyError: Another process is compacting.
        MissingExtraError: DuckDB is not installed.
        OSError: The archive cannot be written; nothing has changed.
    """
    with catalogs.locked(home):
        catalog = catalogs.read(home)
        if catalog.parts and catalog.columns != columns.fingerprint():
            catalog = _start_anew(home)
        elif not home.catalog.exists() and segment.first_unmarked(home) is not None:
            # The archive was deleted: what was in it would be left out of the new one.
            catalog = _start_anew(home)
        _remove_leftovers(home, catalog)
        finished = _finished(home, catalog)
        total = sum(size for _, size in finished)
        report = CompactReport(0, 0, 0, 0, 0, [])
        done = 0
        for batch in _batches(finished):
            catalog, made = _archive(home, catalog, batch, steps or _no_step)
            done += sum(size for _, size in batch)
            if progress is not None:
                progress(done, total)
            report = msgspec.structs.replace(
                report,
                segments=report.segments + len(batch),
                records=report.records + made.records,
                log_bytes=report.log_bytes + made.log_bytes,
                archive_bytes=report.archive_bytes + made.archive_bytes,
                problems=[*report.problems, *made.problems],
            )
        merged = _merge_small(home, catalog)
        return msgspec.structs.replace(report, merged=merged)


def rebuild(home: Home, *, progress: Progress | None = None) -> CompactReport:
    """Make the archive anew from the log alone.

    Readers see the old archive until the new one stands, and the segments as hot in between.

    Returns:
        What was archived.

    Raises:
        ArchiveBusyError: Another process is compacting.
        MissingExtraError: DuckDB is not installed.
        OSError: The archive cannot be written.
    """
    with catalogs.locked(home):
        _start_anew(home)
    return compact(home, progress=progress)


def _start_anew(home: Home) -> Catalog:
    """Make every segment hot again, so that the archive is empty, and return its catalog."""
    home.hot.mkdir(parents=True, exist_ok=True)
    for name in segment.iter_all(home):
        (home.hot / name.marker).touch()
    catalog = Catalog(version=_version_on_disk(home) + 1, columns=columns.fingerprint())
    catalogs.commit(home, catalog)
    return catalog


def drop_segments(home: Home, names: Iterable[str]) -> None:
    """Take the batches that hold the named segments out of the archive.

    What else these batches held is hot again, until the next compaction.

    Raises:
        ArchiveBusyError: Another process is compacting.
        OSError: The archive cannot be written.
    """
    gone = set(names)
    with catalogs.locked(home):
        catalog = catalogs.read(home)
        hit = [batch for batch in catalog.batches if gone & set(batch.segments)]
        numbers = {batch.number for batch in hit}
        for batch in hit:
            for name in set(batch.segments) - gone:
                parsed = segment.parse_name(name)
                if parsed is not None:
                    (home.hot / parsed.marker).touch()
        kept = [batch for batch in catalog.batches if batch.number not in numbers]
        parts = [part for part in catalog.parts if part.batch not in numbers]
        catalogs.commit(
            home,
            Catalog(
                version=catalog.version + 1,
                columns=catalog.columns,
                batches=kept,
                parts=parts,
            ),
        )
        _remove_leftovers(home, catalogs.read(home))
    for name in gone:
        parsed = segment.parse_name(name)
        if parsed is not None:
            (home.hot / parsed.marker).unlink(missing_ok=True)


def _no_step(_name: str) -> None:
    """Go on."""


def _version_on_disk(home: Home) -> int:
    """Return the version of the catalog, also of one that cannot be read otherwise.

    0 without one.
    """
    try:
        plain: Any = msgspec.json.decode(home.catalog.read_bytes())
        return int(plain["version"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return 0


def _finished(home: Home, catalog: Catalog) -> list[tuple[SegmentName, int]]:
    """Return the segments to archive with their sizes.

    Markers of segments that are archived already are removed.
    """
    archived = catalog.segments
    found: list[tuple[SegmentName, int]] = []
    for name in segment.list_hot(home):
        path = name.path_in(home)
        if str(name) in archived:
            (home.hot / name.marker).unlink(missing_ok=True)
        elif path.exists() and not segment.is_live(path):
            found.append((name, path.stat().st_size))
    return found


def _batches(finished: list[tuple[SegmentName, int]]) -> list[list[tuple[SegmentName, int]]]:
    batches: list[list[tuple[SegmentName, int]]] = []
    size = BATCH_BYTES
    for name, size_bytes in finished:
        if size + size_bytes > BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append((name, size_bytes))
        size += size_bytes
    return batches


def _archive(
    home: Home, catalog: Catalog, batch: list[tuple[SegmentName, int]], step: Callable[[str], None]
) -> tuple[Catalog, CompactReport]:
    projection, problems, records = Projection(load.start_finder(home)), list[Problem](), 0
    for name, _ in batch:
        records += Tail(home, name).read_into(projection, problems)
    number = max((b.number for b in catalog.batches), default=0) + 1
    number = max(number, catalog.version + 1)
    parts = _write_parts(home, projection, number, step)
    times = [state.first_ns for state in projection.runs.values()]
    new = Batch(
        number=number,
        segments=[str(name) for name, _ in batch],
        begin_ns=min(times, default=0),
        end_ns=max(times, default=0),
        records=records,
    )
    after = Catalog(
        version=catalog.version + 1,
        columns=columns.fingerprint(),
        batches=[*catalog.batches, new],
        parts=[*catalog.parts, *parts],
    )
    step("parts")
    catalogs.commit(home, after)
    step("catalog")
    for name, _ in batch:
        (home.hot / name.marker).unlink(missing_ok=True)
    size = sum(part.size_bytes for part in parts)
    log_bytes = sum(size_bytes for _, size_bytes in batch)
    return after, CompactReport(len(batch), records, log_bytes, size, 0, problems)


def _write_parts(
    home: Home, projection: Projection, number: int, step: Callable[[str], None]
) -> list[Part]:
    duckdb = _extras.require("duckdb", "cli", "compacting")
    whole_runs = [
        s for s in projection.runs.values() if s.start is not None and s.end is not None and s.id
    ]
    whole_spans = [s for s in projection.spans.values() if s.is_whole]
    states = [
        *(
            PartState(run=s)
            for s in projection.runs.values()
            if s.start is None or s.end is None or not s.id
        ),
        *(PartState(span=s) for s in projection.spans.values() if not s.is_whole),
    ]
    tables: dict[str, list[Row]] = {
        "runs": [run_row(s, live=False) for s in whole_runs],
        "spans": [span_row(s, live=False) for s in whole_spans],
        **projection.points,
    }
    parts: list[Part] = []
    with (
        tempfile.TemporaryDirectory(dir=home.archive, prefix="tmp-") as folder,
        duckdb.connect() as connection,
    ):
        connection.execute("SET preserve_insertion_order = true")
        work = Path(folder)
        for table in TABLES:
            rows = tables[table]
            if not rows:
                continue
            rows.sort(key=lambda row, name=TIME_FIELD[table]: (getattr(row, name), row.run, row.id))
            lines = work / "lines"
            columns.write_lines(rows, lines)
            select = columns.read_lines(table)
            if table == "runs":
                places = {s.id: s.places for s in whole_runs}
                _write_places(rows, places, work / "places")
                select = (
                    f"SELECT r.*, p.places FROM ({select}) r POSITIONAL JOIN "
                    "read_json(?, format = 'newline_delimited', columns = {'places': 'JSON'}) p"
                )
                parameters = [str(lines), str(work / "places")]
            else:
                parameters = [str(lines)]
            parts += _write_part(
                home,
                connection,
                select,
                parameters,
                table,
                number,
                len(rows),
                lines.stat().st_size,
                work,
            )
            step(f"part {table}")
        if states:
            lines = work / "states"
            lines.write_bytes(b"".join(_state_line(state) + b"\n" for state in states))
            select = (
                "SELECT * FROM read_json(?, format = 'newline_delimited', "
                "columns = {'run': 'VARCHAR', 'span': 'VARCHAR', 'state': 'VARCHAR'}, "
                "maximum_object_size = 1073741824)"
            )
            parts += _write_part(
                home,
                connection,
                select,
                [str(lines)],
                "parts",
                number,
                len(states),
                lines.stat().st_size,
                work,
            )
    return parts


def _state_line(state: PartState) -> bytes:
    text = msgspec.json.encode(state).decode()
    if state.run is not None:
        return msgspec.json.encode({"run": state.run.id, "span": None, "state": text})
    span = state.span
    return msgspec.json.encode(
        {"run": span.run if span else "", "span": span.id if span else "", "state": text}
    )


def _write_places(rows: list[Row], places: dict[str, dict[str, list[int]]], path: Path) -> None:
    path.write_bytes(
        b"".join(msgspec.json.encode({"places": places[row.id]}) + b"\n" for row in rows)
    )


def _write_part(  # noqa: PLR0917 - private, and called in three places
    home: Home,
    connection: Any,
    select: str,
    parameters: list[str],
    table: str,
    number: int,
    rows: int,
    raw_bytes: int,
    work: Path,
) -> list[Part]:
    """Write the rows of one table as Parquet: one file, or several if rows are very wide.

    Each is written beside its place, brought to the disk, and renamed into it.

    Returns:
        What the catalog has to say of them.
    """
    row_bytes = max(1, raw_bytes // rows)
    name = f"{table}-{number:08d}"
    if VECTOR_ROWS * row_bytes <= CHUNK_BYTES:
        vectors = max(1, min(ROW_GROUP_VECTORS, ROW_GROUP_BYTES // row_bytes // VECTOR_ROWS))
        file = f"{name}.parquet"
        _copy(connection, select, parameters, work / file, vectors * VECTOR_ROWS)
        return [_put_in_place(home, work / file, table, rows, number)]
    chunk = max(1, CHUNK_BYTES // row_bytes)
    connection.execute(f"CREATE TEMP TABLE wide AS {select}", parameters)
    parts: list[Part] = []
    for first in range(0, rows, chunk):
        file = f"{name}-{len(parts):04d}.parquet"
        some = f"SELECT * FROM wide LIMIT {chunk} OFFSET {first}"
        _copy(connection, some, [], work / file, VECTOR_ROWS)
        count = min(chunk, rows - first)
        parts.append(_put_in_place(home, work / file, table, count, number))
    connection.execute("DROP TABLE wide")
    return parts


def _copy(connection: Any, select: str, parameters: list[str], to: Path, group: int) -> None:
    connection.execute(
        f"COPY ({select}) TO '{_quoted(to)}' "
        f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {ZSTD_LEVEL}, "
        f"ROW_GROUP_SIZE {group})",
        parameters,
    )


def _put_in_place(home: Home, made: Path, table: str, rows: int, number: int) -> Part:
    with made.open("rb") as written:
        os.fsync(written.fileno())
    place = home.archive / made.name
    made.rename(place)
    return Part(made.name, table, rows, place.stat().st_size, number)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _merge_small(home: Home, catalog: Catalog) -> int:
    """Merge the batches whose parts are small into one, when enough have piled up.

    Return how many went into it.

    The merged batch is written from the parts themselves, which hold the rows; states of runs and
    spans are carried over and not joined, because readers do that anyway.

    Returns:
        How many batches were merged.
    """
    sizes: dict[int, int] = {}
    for part in catalog.parts:
        sizes[part.batch] = sizes.get(part.batch, 0) + part.size_bytes
    small = [batch for batch in catalog.batches if sizes.get(batch.number, 0) < SMALL_PART_BYTES]
    if len(small) < MERGE_AT:
        return 0
    duckdb = _extras.require("duckdb", "cli", "compacting")
    numbers = {batch.number for batch in small}
    number = catalog.version + 1
    parts: list[Part] = []
    with (
        tempfile.TemporaryDirectory(dir=home.archive, prefix="tmp-") as folder,
        duckdb.connect() as connection,
    ):
        for table in [*TABLES, "parts"]:
            old = [part for part in catalog.parts if part.batch in numbers and part.table == table]
            if not old:
                continue
            files = ", ".join(f"'{_quoted(home.archive / part.file)}'" for part in old)
            order = "" if table == "parts" else f" ORDER BY {TIME_FIELD[table]}, run, id"
            select = f"SELECT * FROM read_parquet([{files}]){order}"
            rows = sum(part.rows for part in old)
            raw_bytes = 4 * sum(part.size_bytes for part in old)
            parts += _write_part(
                home, connection, select, [], table, number, rows, raw_bytes, Path(folder)
            )
    merged = Batch(
        number=number,
        segments=[name for batch in small for name in batch.segments],
        begin_ns=min(batch.begin_ns for batch in small),
        end_ns=max(batch.end_ns for batch in small),
        records=sum(batch.records for batch in small),
    )
    after = Catalog(
        version=catalog.version + 1,
        columns=columns.fingerprint(),
        batches=[*(b for b in catalog.batches if b.number not in numbers), merged],
        parts=[*(p for p in catalog.parts if p.batch not in numbers), *parts],
    )
    catalogs.commit(home, after)
    # The old parts stay until the next compaction: a reader may have opened its view on them a
    # moment ago.
    return len(small)


def _remove_leftovers(home: Home, catalog: Catalog) -> None:
    """Remove files of the archive folder that no catalog names.

    Half-made parts, and parts that were merged before.
    """
    known = {part.file for part in catalog.parts}
    for path in home.archive.iterdir():
        if path.suffix == ".parquet" and path.name not in known:
            path.unlink(missing_ok=True)
        elif path.is_dir() and path.name.startswith("tmp-"):
            for inner in path.iterdir():
                inner.unlink(missing_ok=True)
            path.rmdir()
