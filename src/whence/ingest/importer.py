"""Imports files and folders into a home, and reports what was in them.

Comes in: paths. Goes out: records in the log, and a `Report`. Folders are walked in order of names,
the files in one before its folders; a file of no known format is named in the report and left
alone. A folder of a known format is read as a whole, and what else is in it as in any other. A
source that cannot be read to its end keeps what was read of it, with the reason in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from whence.errors import ConfigError, IngestError
from whence.ingest import registry
from whence.ingest.base import Skipped, Source
from whence.ingest.report import Report, Tally
from whence.ingest.sink import Sink
from whence.log.home import Home

if TYPE_CHECKING:
    import os

    from whence.ingest.registry import Format
    from whence.record.base import Record

Progress = Callable[[int, int], None]
"""Gets how many bytes of the files were imported so far, and how many there are."""

_NOT_WALKED = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv"})


def import_paths(
    home: str | os.PathLike[str],
    paths: Iterable[str | os.PathLike[str]],
    *,
    format_name: str | None = None,
    durable: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import files and folders.

    Args:
        home: The home folder; it is made if there is none.
        paths: The files and folders.
        format_name: Read everything as this format, whatever it looks like.
        durable: Bring every batch to the disk.
        progress: Called after every batch.

    Returns:
        What was in them.

    Raises:
        ConfigError: A path does not exist, or there is no such format.
        StoreError: The home cannot be written. What was imported so far is kept.
    """
    forced = registry.get_format(format_name) if format_name is not None else None
    tally = Tally()
    sources = list(_iter_sources([Path(p) for p in paths], forced, tally))
    sizes = [_size_of(source, known) for source, known in sources]
    done = 0
    with Sink(Home(Path(home)), durable=durable) as sink:
        for (source, known), size in zip(sources, sizes, strict=True):
            tally.formats.add(known.name)
            for count in _import(source, known, sink, tally):
                del count
                if progress is not None:
                    progress(done, sum(sizes))
            done += size
            if progress is not None:
                progress(done, sum(sizes))
    return tally.report()


def _import(source: Source, known: Format, sink: Sink, tally: Tally) -> Iterator[int]:
    """Import one source, yielding after each batch the number of records so far."""
    records = iter(known.reader.read(source, sink))
    count, more = 0, True
    while more:
        with sink.batch():
            more = _take_batch(records, source, sink, tally)
        count += 1
        yield count


def _take_batch(
    records: Iterator[Record | Skipped], source: Source, sink: Sink, tally: Tally
) -> bool:
    """Take records until the batch is full.

    Returns:
        Whether there are more.
    """
    while not sink.is_full:
        try:
            record = next(records, None)
        except IngestError as error:
            tally.skip(Skipped(source.name, str(error)))
            return False
        except OSError as error:
            tally.skip(Skipped(source.name, f"cannot be read: {error.strerror or error}"))
            return False
        if record is None:
            return False
        if isinstance(record, Skipped):
            tally.skip(record)
        else:
            tally.add(record, new=sink.take(record))
    return True


def _iter_sources(
    paths: list[Path], forced: Format | None, tally: Tally
) -> Iterator[tuple[Source, Format]]:
    for path in paths:
        if not path.exists():
            raise ConfigError(f"there is nothing to import at {path}")
        yield from _iter_at(path, forced, tally, named=True)


def _iter_at(
    path: Path, forced: Format | None, tally: Tally, *, named: bool
) -> Iterator[tuple[Source, Format]]:
    source = Source(path)
    is_folder = path.is_dir()
    if not is_folder and not path.is_file():
        tally.skip(Skipped(str(path), "it is neither a file nor a folder"))
        return
    try:
        if forced is not None and forced.is_folder == is_folder and (named or not is_folder):
            yield source, forced
            return
        found = registry.find_format(source) if forced is None else None
        own = found.files_of(source) if found is not None else frozenset[Path]()
    except (OSError, IngestError) as error:
        tally.skip(Skipped(str(path), f"cannot be read: {error}"))
        return
    if found is not None:
        yield Source(path), found  # without the beginning of the file that was looked at
        if is_folder:
            yield from _iter_beside(path, own, tally)
    elif is_folder:
        for child in _children(path):
            yield from _iter_at(child, forced, tally, named=False)
    else:
        tally.skip(Skipped(str(path), "it has no format that is known; see `whence import --help`"))


def _iter_beside(
    folder: Path, own: frozenset[Path], tally: Tally
) -> Iterator[tuple[Source, Format]]:
    """Yield the sources in a folder of a known format that are not its own files."""
    around = {parent for path in own for parent in path.parents}
    for child in _children(folder):
        if child in around:  # it is read already, and would be recognized once more
            yield from _iter_beside(child, own, tally)
        elif child not in own:
            yield from _iter_at(child, None, tally, named=False)


def _children(folder: Path) -> list[Path]:
    """Return what is walked in a folder: a session's file before the folder of its name."""
    children = sorted(folder.iterdir(), key=lambda one: (one.is_dir(), one))
    return [child for child in children if _is_walked(child)]


def _is_walked(path: Path) -> bool:
    """Whether a path in a folder is looked at: links are not, since they may lead anywhere."""
    if path.is_symlink() or path.name in _NOT_WALKED:
        return False
    return not (path.is_dir() and (path / "log").is_dir() and (path / "hot").is_dir())


def _size_of(source: Source, known: Format) -> int:
    files = known.files_of(source)
    return sum(path.stat().st_size for path in files if path.is_file())
