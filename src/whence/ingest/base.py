"""What a format module is, and what it is given to read.

To add a format, write one module with two functions and put one line into `whence.ingest.registry`:

    def detect(source: Source) -> bool
        Whether the file (or folder, for a format of folders) looks like this format. It sees the
        name and the first bytes, and never raises for what it finds there.

    def read(source: Source, known: Known) -> Iterator[Record | Skipped]
        Yields records (`whence.record`) in any order, and a `Skipped` for everything that was left
        out, with the reason. Raises `IngestError` where the source as a whole cannot be read.

A format of folders has a third one, since a folder may hold more than what the format knows:

    def files_of(source: Source) -> Iterator[Path]
        Yields the files in the folder that are the format's own, read or not. The others are
        looked at one by one.

The rules that make an import honest and repeatable:

1. Ids and times come from the source, never from the clock or from chance. Where the source has
   an id that fits (32 hex digits for a run, 16 for anything else), it is used; otherwise one is
   derived from the source's own with `keys.run_id` and `keys.record_id`. Every record but the
   start and end of a run or span needs an `id`: it tells on a second import that it is there.
2. Values are handed over as they are: the sink puts into JSON what JSON cannot hold, and long or
   binary values into blobs. Text of any content is fine, as are `bytes`, NaN and deep nesting.
   What was handed over is not changed afterwards. A conversation that every call resends is cheap
   where its messages are the same objects each time.
3. A number nobody stated is None. Usage goes through `usage.of_stated`, which keeps the source's
   own words beside the buckets. What a source states about a run as a whole (`cost_usd`) goes
   into the attribute `declared` of the run, where the report finds it.
4. A model call is one `Generation`, however often the source repeats its figures.

More, with an example that runs: docs/howto/add-an-importer.md.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import msgspec

from whence.errors import IngestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.ingest.captured import CallsOfHome
    from whence.ingest.shape import Shape

HEAD_BYTES = 64 << 10
MAX_LINE_BYTES = 64 << 20
_GZIP = b"\x1f\x8b"


class Skipped(msgspec.Struct, frozen=True):
    """Something of a source that was left out."""

    where: str
    """File, and line or id in it."""
    why: str
    """Why, in one sentence."""


class Known(Protocol):
    """What the home holds of earlier imports, this one included."""

    calls: CallsOfHome
    """The model calls that capture recorded there."""

    def run(self, run_id: str) -> Shape:
        """Return what is known of a run; an empty shape if nothing is."""
        ...

    def answered(self, answer: str, ended_ns: int) -> str | None:
        """Return the run that has the model call with an answer; None if none has.

        Args:
            answer: The provider's id of the answer.
            ended_ns: When it came, Unix time: an id alone may be made up.
        """
        ...


class Source:
    """One file or folder that is imported.

    Args:
        path: Where it is.
        name: What it is called in reports.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or str(path)
        self._head: bytes | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of the file's name in lower case, without `.gz`."""
        return tuple(suffix for s in self.path.suffixes if (suffix := s.lower()) != ".gz")

    @property
    def head(self) -> bytes:
        """The first 64 KiB of the file, unpacked; empty for a folder."""
        if self._head is None:
            if self.is_folder:
                self._head = b""
            else:
                with self.open() as file:
                    try:
                        self._head = file.read(HEAD_BYTES)
                    except (OSError, EOFError, zlib.error) as error:
                        raise IngestError(f"{self.name} cannot be unpacked: {error}") from error
        return self._head

    def open(self) -> BinaryIO:
        """Return the file, unpacked if it is gzip.

        Raises:
            OSError: It cannot be read.
        """
        with self.path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
        return cast("BinaryIO", gzip.open(self.path)) if packed else self.path.open("rb")

    def content(self, limit_bytes: int = MAX_LINE_BYTES) -> bytes:
        """Return the whole file, unpacked.

        Raises:
            IngestError: It is longer than `limit_bytes`, or damaged.
            OSError: It cannot be read.
        """
        with self.open() as file:
            try:
                content = file.read(limit_bytes + 1)
            except (EOFError, zlib.error) as error:
                raise IngestError(f"{self.name} cannot be unpacked: {error}") from error
        if len(content) > limit_bytes:
            raise IngestError(f"{self.name} is longer than {limit_bytes >> 20} MiB")
        return content

    def iter_lines(self) -> Iterator[tuple[int, bytes] | Skipped]:
        """Yield number (from 1) and content of every line that is not blank.

        Yields:
            A `Skipped` for a line of more than 64 MiB, and for the rest of a damaged file.

        Raises:
            OSError: The file cannot be read.
        """
        number = 0
        with self.open() as file:
            while True:
                try:
                    line = file.readline(MAX_LINE_BYTES + 1)
                    while_long = len(line) > MAX_LINE_BYTES and not line.endswith(b"\n")
                    rest = line
                    while while_long and rest and not rest.endswith(b"\n"):
                        rest = file.readline(MAX_LINE_BYTES)
                except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                    yield Skipped(f"{self.name}:{number + 1}", f"cannot be unpacked: {error}")
                    return
                if not line:
                    return
                number += 1
                if while_long:
                    limit = MAX_LINE_BYTES >> 20
                    yield Skipped(f"{self.name}:{number}", f"the line is longer than {limit} MiB")
                elif line.strip():
                    yield number, line
