"""Reads a JSON document that may mean only one thing, or says why it does not.

Comes in: a source. Goes out: the document, and a `Skipped` for each key that stands in an object
twice and for the rest of a file that was cut. Unlike `json_files`, text that is no UTF-8, or no
JSON in its middle, is refused as a whole: where things refer to each other, half a document would
tell another story.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import json_files
from whence.ingest.base import Skipped

if TYPE_CHECKING:
    from whence.ingest.base import Source

_GOES_ON = re.compile(r'["\[\]{}:,\s]')
"""What is not in the last, torn word of a text."""
_TORN_TEXT = "Unterminated string"
_SHOWN_CHARS = 80


def document(source: Source) -> tuple[Any, list[Skipped]]:
    """Return the JSON document of a file, and what of it was left out.

    Of a key that an object has twice the last one counts, as for every reader of JSON. Of a file
    that ends too early, what is complete is returned.

    Raises:
        IngestError: It is no UTF-8, no JSON, too deep, or longer than 256 MiB.
        OSError: The file cannot be read.
    """
    content, skipped = json_files.unpacked(source)
    text = _text(source, content.removeprefix(json_files.BOM))
    twice: dict[str, None] = {}
    try:
        try:
            made = _decoded(text, twice)
        except json.JSONDecodeError as error:
            rest = text[error.pos :].rstrip()
            was_cut = error.msg.startswith(_TORN_TEXT) or not _GOES_ON.search(rest)
            kept = json_files.closed(text, error.pos) if was_cut else None
            if not kept:
                raise IngestError(f"{source.name} is not JSON: {error}") from error
            made = _decoded(kept, twice)
            where = f"{source.name}, character {error.pos:,}"
            skipped.append(Skipped(where, f"the rest is lost: {error.msg}"))
    except RecursionError:
        raise IngestError(f"{source.name} is nested too deeply") from None
    except ValueError as error:
        raise IngestError(f"{source.name} is not JSON: {error}") from error
    return made, [*skipped, *(_stands_twice(source, key) for key in twice)]


def _stands_twice(source: Source, key: str) -> Skipped:
    return Skipped(
        source.name, f"the key {key[:_SHOWN_CHARS]!r} stands twice in an object; the last counts"
    )


def _text(source: Source, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        if error.end == len(content) and error.reason == "unexpected end of data":
            return content[: error.start].decode()
        raise IngestError(f"{source.name} is not UTF-8 from byte {error.start:,} on") from error


def _decoded(text: str, twice: dict[str, None]) -> Any:
    def gathered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    twice[key] = None
                seen.add(key)
        return made

    return json.loads(text, object_pairs_hook=gathered, parse_int=json_files.whole_number)
