"""Goes through the objects of an export, whether it is one document or an object a line.

Comes in: a source, packed or not. Goes out: JSON values with where they stand, and a `Skipped` for
what could not be read; what comes before damage is never lost. Platforms write one object, a list,
a page of an answer (`{"data": [...], "meta": ...}`) or JSON Lines, and people save any of these
under any name, so the content decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import json_files, loose
from whence.ingest.base import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Source
    from whence.ingest.loose import Fields

_LOOKED_AT = 2
"""Lines of which one has to be an object by itself for a file to be JSON Lines."""


def iter_objects(source: Source, *pages: str) -> Iterator[tuple[str, Fields] | Skipped]:
    """Yield where it stands and content of every object of an export.

    Args:
        source: The export.
        pages: Names under which a document may hold the list of its objects.

    Yields:
        A `Skipped` for what is no object, and for the rest of a file that is damaged.

    Raises:
        IngestError: The file as a whole is no JSON.
        OSError: It cannot be read.
    """
    if _is_lines(source):
        for item in json_files.iter_objects(source):
            if isinstance(item, Skipped):
                yield item
                continue
            where = f"{source.name}:{item[0]}"
            yield from _unwrapped(where, item[1], pages)
        return
    document, skipped = json_files.document(source)
    yield from _unwrapped(source.name, document, pages)
    yield from skipped


def _is_lines(source: Source) -> bool:
    for number, line in enumerate(source.iter_lines()):
        if number >= _LOOKED_AT:
            break
        if isinstance(line, Skipped):
            continue
        try:
            if isinstance(json_files.decoded(line[1]), dict):
                return True
        except IngestError:
            continue
    return False


def _unwrapped(
    where: str, value: Any, pages: tuple[str, ...]
) -> Iterator[tuple[str, Fields] | Skipped]:
    plain = loose.mapping(value)
    listed = next((plain[name] for name in pages if isinstance(plain.get(name), list)), value)
    if not isinstance(listed, list):
        yield (where, plain) if isinstance(value, dict) else Skipped(where, "not an object")
        return
    for number, item in enumerate(loose.sequence(listed), start=1):
        if isinstance(item, dict):
            yield f"{where}, item {number}", loose.mapping(item)
        else:
            yield Skipped(f"{where}, item {number}", "not an object")
