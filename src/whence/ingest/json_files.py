"""Reads JSON files as they are found: whole, cut in the middle, or with parts that are no JSON.

Comes in: a source. Goes out: the document, or the object of each line, and a `Skipped` for what
could not be read. A document that ends in the middle, because its writer died or the disk was full,
gives what is complete of it. NaN, half surrogates and integers of any length are read as well,
since Python's own `json` writes them.

`peek` tells what a file begins with, so that a format module can recognize its own.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.errors import IngestError
from whence.ingest.base import Skipped

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from whence.ingest.base import Source
    from whence.ingest.loose import Fields

MAX_DOCUMENT_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 64 << 10
_MOST_DIGITS = 4_000
"""CPython refuses to read integers of more than 4,300."""
BOM = b"\xef\xbb\xbf"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}


class Peek(msgspec.Struct, frozen=True):
    """What a file begins with."""

    is_list: bool = False
    """Whether it is a list, of which `keys` are those of the first item."""
    keys: frozenset[str] = frozenset()
    """The keys of the first object, as far as they are in the first 64 KiB."""


def peek(source: Source) -> Peek:
    """Return what a file begins with; nothing if it does not begin as JSON objects do."""
    return _peek(source.head)


@functools.lru_cache(maxsize=4)
def _peek(head: bytes) -> Peek:
    text = head.removeprefix(BOM).decode("utf-8", "replace").lstrip()
    opening = text[:1]
    if opening not in _CLOSING:
        return Peek()
    wanted = 2 if opening == "[" else 1
    depth, last, found = 0, "", set[str]()
    for match in _TOKEN.finditer(text):
        part = match[0]
        if part in _CLOSING:
            depth += 1
        elif part in {"}", "]"}:
            depth -= 1
            if depth < wanted:
                break
        elif part == ":" and depth == wanted and last[:1] == '"':
            found.add(last[1:-1])
        last = part
    return Peek(is_list=opening == "[", keys=frozenset(found))


def ends_with(source: Source, sign: bytes) -> bool:
    """Return whether the last 64 KiB of a file contain a sign; a packed file is not looked at."""
    try:
        size = source.path.stat().st_size
        with source.path.open("rb") as file:
            file.seek(max(0, size - _TAIL_BYTES))
            return sign in file.read(_TAIL_BYTES)
    except OSError:
        return False


def document(source: Source) -> tuple[Any, list[Skipped]]:
    """Return the JSON document of a file, and what of it could not be read.

    Raises:
        IngestError: It is no JSON at all, too deep, or longer than 256 MiB.
        OSError: The file cannot be read.
    """
    content, skipped = unpacked(source)
    try:
        return decoded(content), skipped
    except _NotReadableError as error:
        kept = _recovered(content, error.at)
        if kept is None:
            raise IngestError(f"{source.name} is not JSON: {error}") from error
        where = f"{source.name}, character {error.at:,}"
        return kept, [*skipped, Skipped(where, f"the rest is lost: {error}")]


def unpacked(source: Source) -> tuple[bytes, list[Skipped]]:
    """Return the content of a file, unpacked as far as it can be.

    Raises:
        IngestError: It is longer than 256 MiB.
        OSError: It cannot be read.
    """
    chunks: list[bytes] = []
    left = MAX_DOCUMENT_BYTES
    with cast("io.BufferedReader", source.open()) as file:
        while True:
            try:  # `read1` gives what could be unpacked before the damage, `read` loses it
                chunk = file.read1(_CHUNK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                return b"".join(chunks), [Skipped(source.name, f"cannot be unpacked: {error}")]
            if not chunk:
                return b"".join(chunks), []
            left -= len(chunk)
            if left < 0:
                raise IngestError(f"{source.name} is longer than {MAX_DOCUMENT_BYTES >> 20} MiB")
            chunks.append(chunk)


def iter_objects(source: Source) -> Iterator[tuple[int, Fields] | Skipped]:
    """Yield number (from 1) and content of every line that is a JSON object.

    Yields:
        A `Skipped` for every line that is something else.

    Raises:
        OSError: The file cannot be read.
    """
    for line in source.iter_lines():
        if isinstance(line, Skipped):
            yield line
            continue
        number, content = line
        where = f"{source.name}:{number}"
        try:
            value = decoded(content)
        except IngestError as error:
            torn = "" if content.endswith(b"\n") else "; the file ends in the middle of the line"
            yield Skipped(where, f"not JSON: {error}{torn}")
            continue
        if isinstance(value, dict):
            yield number, cast("Fields", value)
        else:
            yield Skipped(where, "not an object")


class _NotReadableError(IngestError):
    """A text is no JSON from the character `at` on."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def decoded(content: bytes) -> Any:
    """Return a JSON value.

    Raises:
        IngestError: It is not JSON, or nested too deeply.
    """
    try:
        return msgspec.json.decode(content.removeprefix(BOM))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _decoded_by_python(content)


def _decoded_by_python(content: bytes) -> Any:
    try:
        return json.loads(_text(content), parse_int=whole_number)
    except RecursionError:
        raise IngestError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _NotReadableError(error.msg, error.pos) from None
    except ValueError as error:
        raise _NotReadableError(str(error), 0) from None


def _text(content: bytes) -> str:
    # Bytes that are no UTF-8 become half surrogates, which a record can hold.
    return content.removeprefix(BOM).decode("utf-8", "surrogateescape")


def whole_number(digits: str) -> int | str:
    """Return an integer, as its text if it has more digits than Python reads."""
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _recovered(content: bytes, until: int) -> Any:
    """Return what is complete of a JSON document before a character; None if nothing is."""
    text = closed(_text(content), until)
    try:
        return None if text is None else json.loads(text, parse_int=whole_number)
    except (ValueError, RecursionError):
        return None


def closed(text: str, until: int) -> str | None:
    """Return what is complete of a JSON text before a character; None if its brackets do not match.

    What is open at the last complete value is closed behind it.
    """
    open_: list[str] = []
    end, expected = 0, 0
    for match in _TOKEN.finditer(text, 0, until):
        if text[expected : match.start()].strip():
            break  # something that is no token, such as a text without its end
        expected = match.end()
        part = match[0]
        if part in _CLOSING:
            open_.append(part)
            end = expected
        elif part in {"}", "]"}:
            if not open_ or _CLOSING[open_.pop()] != part:
                return None
            end = expected
        elif part == ",":
            end = match.start()
        if not open_:
            break
    return text[:end] + "".join(_CLOSING[part] for part in reversed(open_))


def fingerprint(value: Any) -> str:
    """Return 32 hex digits that two values have in common only if they are the same JSON.

    Raises:
        IngestError: The value is nested too deeply.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except RecursionError:
        raise IngestError("it is nested too deeply") from None
    content = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16).hexdigest()
