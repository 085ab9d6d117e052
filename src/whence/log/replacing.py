"""Files that are there whole or not at all: written beside their place, then renamed into it.

Comes in: the place, and in the block what is to stand there. Goes out: the file, old or new,
whoever reads it and however the block ends. The name beside is nobody else's, so threads and
processes that write the same file at once do not meet: the last one to finish stands.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SUFFIX = ".tmp"
"""How the names end of files that are being written; what a killed process left has it, too."""

_NAME_CHARS = 40
"""Of the place's name, in the name beside it: people see whose it is, and it is never too long."""


@contextmanager
def replacing(
    path: Path, *, sync: bool = False, mode: int | None = None
) -> Generator[IO[bytes], None, None]:
    """Write a file that takes the place of `path` when the block ends without an error.

    Args:
        path: The place. What is there stays as it is until then, and after an error. A link is
            replaced and never followed: folders may be from anybody.
        sync: Bring the content to the disk before the file takes its place.
        mode: Its permissions; those of any new file if None.

    Yields:
        The file to write into.

    Raises:
        OSError: It could not be written, or not be put into its place, which is the file it names.
    """
    beside = path.with_name(f".{path.name[:_NAME_CHARS]}.{os.urandom(8).hex()}{SUFFIX}")
    try:
        with beside.open("xb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if mode is not None:
            beside.chmod(mode)
        beside.replace(path)
    except BaseException as error:  # an interrupt, too, leaves nothing behind
        with suppress(OSError):  # what went wrong first is what has to be said
            beside.unlink(missing_ok=True)
        _name(error, beside, path)
        raise


def _name(error: BaseException, known: Path, wanted: Path) -> None:
    """Let an error about a file that the user does not know name the one that they do."""
    if isinstance(error, OSError) and error.filename and os.fspath(error.filename) == str(known):
        error.filename, error.filename2 = str(wanted), None


def replace(path: Path, content: bytes, *, sync: bool = False, mode: int | None = None) -> None:
    """Put `content` in the place of a file, as `replacing` does.

    Raises:
        OSError: It could not be written; what was there still is.
    """
    with replacing(path, sync=sync, mode=mode) as file:
        file.write(content)


@contextmanager
def writing(path: Path) -> Generator[IO[bytes], None, None]:
    """Write to a path that the user named: what a link leads to is replaced, a pipe written to.

    Yields:
        The file to write into.

    Raises:
        OSError: It could not be written, or not be put into its place, which it names as it was
            given.
    """
    if path.exists() and not path.is_file():  # a pipe or a device, such as /dev/stdout
        with path.open("wb") as file:
            yield file
        return
    place = path.resolve()
    try:
        with replacing(place) as file:
            yield file
    except OSError as error:
        _name(error, place, path)
        raise
