"""The only file system of the query child: named files, reading only.

DuckDB can be told to open exact paths (`allowed_paths`) but not to open them for reading only:
`COPY … TO` such a path truncates it, and a file size limit of zero does not prevent that. So the
child's local file system is switched off and the archive's parts are served by this class, which
has no operation that writes. It is given names and paths, hands out bytes, and knows nothing of
SQL.

DuckDB's Python client takes a file system when it is an instance of `fsspec.AbstractFileSystem`,
and turns a `TIMESTAMP WITH TIME ZONE` into a datetime with the help of `pytz`. Neither package is
needed here for more than a class to derive from and the zone UTC, so the child installs a stand-in
for each, which also keeps its start short.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whence.query.sqlwire import SqlFile


class AbstractFileSystem:
    """Stand-in for fsspec's class of the same name, as far as DuckDB's client looks at it."""


class _Utc(dt.tzinfo):
    def localize(self, moment: dt.datetime) -> dt.datetime:
        return moment.replace(tzinfo=dt.UTC)

    def utcoffset(self, _moment: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)

    def dst(self, _moment: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)

    def tzname(self, _moment: dt.datetime | None) -> str:
        return "UTC"


def install_stand_ins() -> None:
    """Provide the modules `fsspec` and `pytz` to this process, which must do nothing else."""
    fsspec = types.ModuleType("fsspec")
    fsspec.__dict__["AbstractFileSystem"] = AbstractFileSystem
    pytz = types.ModuleType("pytz")
    pytz.__dict__["timezone"] = _utc
    pytz.__dict__["UnknownTimeZoneError"] = KeyError
    sys.modules["fsspec"] = fsspec
    sys.modules["pytz"] = pytz


def _utc(_name: str) -> _Utc:
    # The child's session time zone is UTC and locked, so no other name is asked for.
    return _Utc()


class ReadOnlyFiles(AbstractFileSystem):
    """Files under `protocol://name`, all opened for reading at once and kept open.

    A part that is merged away while a query runs is read to its end all the same.
    """

    def __init__(self, protocol: str, files: Mapping[str, SqlFile]) -> None:
        self.protocol = protocol
        self._open = {name: _OpenFile(file) for name, file in files.items()}

    def _name(self, url: str) -> str:
        return url.removeprefix(f"{self.protocol}://")

    def _file(self, url: str) -> _OpenFile:
        name = self._name(url)
        if name not in self._open:
            raise FileNotFoundError(url)
        return self._open[name]

    def unstrip_protocol(self, name: str) -> str:
        """Return the full address of a name."""
        return f"{self.protocol}://{self._name(name)}"

    def open(self, path: str, mode: str = "rb", **_options: object) -> _Handle:
        """Return a file to read.

        Raises:
            PermissionError: The mode is not for reading only.
        """
        if mode not in {"r", "rb"}:
            raise PermissionError(
                f"{path} is evidence and only read, not opened with mode {mode!r}"
            )
        return _Handle(self._file(path))

    def exists(self, path: str, **_options: object) -> bool:
        """Return whether there is a file of that name."""
        return self._name(path) in self._open

    def isfile(self, path: str) -> bool:
        """Return whether there is a file of that name."""
        return self.exists(path)

    def glob(self, path: str, **_options: object) -> list[str]:
        """Return the name itself; a bracket or a star in it means itself."""
        return [path] if self.exists(path) else []

    def size(self, path: str) -> int:
        """Return the size in bytes, up to the bound."""
        return self._file(path).size_bytes

    def modified(self, path: str) -> dt.datetime:
        """Return when the file was last changed, in UTC."""
        return self._file(path).modified


class _OpenFile:
    """One descriptor for all of DuckDB's threads."""

    def __init__(self, file: SqlFile) -> None:
        self._descriptor = os.open(file.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        status = os.fstat(self._descriptor)
        bound = status.st_size if file.bound_bytes is None else file.bound_bytes
        self.size_bytes = min(bound, status.st_size)
        self.modified = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC).replace(tzinfo=None)
        self._lock = threading.Lock()

    def read_at(self, offset: int, count: int) -> bytes:
        count = max(0, min(count, self.size_bytes - offset))
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, count, offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, count)


class _Handle:
    """An open file as DuckDB holds it.

    DuckDB seeks and reads in two calls and from several threads at once, so each thread has a
    position of its own.
    """

    def __init__(self, file: _OpenFile) -> None:
        self._file = file
        self._positions: dict[int, int] = {}

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._file.size_bytes}[
            whence
        ]
        self._positions[threading.get_ident()] = base + offset
        return base + offset

    def tell(self) -> int:
        return self._positions.get(threading.get_ident(), 0)

    def read(self, count: int = -1) -> bytes:
        position = self.tell()
        wanted = self._file.size_bytes if count < 0 else count
        data = self._file.read_at(position, wanted)
        self._positions[threading.get_ident()] = position + len(data)
        return data

    def close(self) -> None:
        self._positions.clear()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"evidence files have no operation {name!r}")
