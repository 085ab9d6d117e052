"""What the query child and its parent say to each other, and values that survive the way exactly.

One request goes down the child's standard input, frames come back: a header, chunks of rows, and
`Done` or `Failure`. A frame is eight bytes of length and one msgpack message. Values msgpack has no
exact form for (integers beyond 64 bits, decimals, dates, times, UUIDs) travel as extension types;
nothing is ever unpickled, so a child that was taken over can send wrong rows and nothing else.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCHEME = "evidence"
_LENGTH_BYTES = 8
_INT64_MIN, _UINT64_MAX = -(2**63), 2**64 - 1

PLAIN_TYPES = frozenset(
    {
        "BOOLEAN",
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
        "FLOAT",
        "DOUBLE",
        "VARCHAR",
        "JSON",
        "BLOB",
        "BIT",
        '"NULL"',
    }
)
"""DuckDB types whose Python values msgpack carries as they are."""


class SqlFile(msgspec.Struct, frozen=True):
    """A file that the setup statements may read, under a name of the store's choosing."""

    path: str
    """Absolute path."""
    bound_bytes: int | None = None
    """Show only this many bytes from the start, so that a file being appended to ends at a whole
    line; None for all."""


class SqlSetup(msgspec.Struct, frozen=True):
    """How the child builds what a query may read, before it locks itself in."""

    statements: tuple[str, ...] = ()
    """SQL run in order, trusted. Files are written `'evidence://<name>'`, see `file_url`; a view
    may only use those. A `CREATE TABLE … AS` may also read local paths, since it is done reading
    when the doors close."""
    files: dict[str, SqlFile] = {}
    """Readable files by name. They can be read, never written, whatever the SQL says."""
    tables: tuple[str, ...] | None = None
    """Views and tables a query may name; None for any plain name."""


class Request(msgspec.Struct, frozen=True):
    """One query and its limits."""

    sql: str
    setup: SqlSetup
    timeout_s: float
    memory_limit_mb: int
    max_rows: int


class Header(msgspec.Struct, frozen=True, tag=True):
    """The columns of the rows that follow."""

    columns: list[str]
    types: list[str]


class Rows(msgspec.Struct, frozen=True, tag=True):
    """Some rows."""

    rows: list[tuple[Any, ...]]


class Done(msgspec.Struct, frozen=True, tag=True):
    """All rows were sent, or as many as were asked for."""

    truncated: bool


class Failure(msgspec.Struct, frozen=True, tag=True):
    """The query gave no result."""

    kind: Literal["refused", "failed", "memory", "file"]
    message: str


Frame = Header | Rows | Done | Failure


def file_url(name: str) -> str:
    """Return how a setup statement writes the file called `name` in `SqlSetup.files`."""
    return f"{SCHEME}://{name}"


def write_message(stream: BinaryIO, message: msgspec.Struct) -> None:
    """Write one frame and flush it."""
    body = msgspec.msgpack.encode(message)
    stream.write(len(body).to_bytes(_LENGTH_BYTES, "big"))
    stream.write(body)
    stream.flush()


def read_body(stream: BinaryIO, limit_bytes: int) -> bytes | None:
    """Return the next frame's bytes, None at the end of the stream.

    Raises:
        ValueError: The frame says it is longer than `limit_bytes`.
    """
    head = stream.read(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    if length > limit_bytes:
        raise ValueError(length)
    body = stream.read(length)
    return body if len(body) == length else None


def packers(types: Sequence[str]) -> list[Callable[[Any], Any] | None] | None:
    """Return one packing function per column, None for those that need none.

    None instead of the list means that no column needs packing.
    """
    plan = [None if name in PLAIN_TYPES or name.startswith("ENUM(") else pack for name in types]
    return plan if any(plan) else None


def pack(value: Any) -> Any:
    """Return `value` in a form that msgpack carries exactly; text for an unknown type."""
    if value is None:
        return None
    kind = cast("type[object]", type(value))
    if kind in _AS_THEY_ARE:
        return value
    return _PACKERS.get(kind, str)(value)


def decode_frame(body: bytes) -> Frame:
    """Return the frame with its values unpacked.

    Raises:
        msgspec.MsgspecError: The bytes are no frame.
    """
    return _DECODER.decode(body)


_AS_THEY_ARE: frozenset[type[object]] = frozenset({str, float, bool, bytes})
_INTEGER, _DECIMAL, _DATETIME, _DATE, _TIME, _TIMEDELTA, _UUID, _PAIRS = range(1, 9)


def _text(code: int, text: str) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, text.encode())


def _pack_int(value: int) -> object:
    return value if _INT64_MIN <= value <= _UINT64_MAX else _text(_INTEGER, str(value))


def _pack_dict(value: dict[Any, Any]) -> object:
    if all(isinstance(key, str) for key in value):
        return {key: pack(item) for key, item in value.items()}
    pairs = [(pack(key), pack(item)) for key, item in value.items()]
    return msgspec.msgpack.Ext(_PAIRS, msgspec.msgpack.encode(pairs))


def _pack_timedelta(value: dt.timedelta) -> object:
    parts = (value.days, value.seconds, value.microseconds)
    return msgspec.msgpack.Ext(_TIMEDELTA, msgspec.msgpack.encode(parts))


def _pack_list(value: Sequence[Any]) -> object:
    return [pack(item) for item in value]


_PACKERS: dict[type[object], Callable[[Any], object]] = {
    int: _pack_int,
    list: _pack_list,
    tuple: _pack_list,
    dict: _pack_dict,
    decimal.Decimal: lambda value: _text(_DECIMAL, str(value)),
    dt.datetime: lambda value: _text(_DATETIME, value.isoformat()),
    dt.date: lambda value: _text(_DATE, value.isoformat()),
    dt.time: lambda value: _text(_TIME, value.isoformat()),
    dt.timedelta: _pack_timedelta,
    uuid.UUID: lambda value: msgspec.msgpack.Ext(_UUID, value.bytes),
}


def _unpack_timedelta(data: bytes) -> dt.timedelta:
    return dt.timedelta(*msgspec.msgpack.decode(data, type=tuple[int, int, int]))


_UNPACKERS: dict[int, Callable[[bytes], object]] = {
    _INTEGER: int,
    _DECIMAL: lambda data: decimal.Decimal(data.decode()),
    _DATETIME: lambda data: dt.datetime.fromisoformat(data.decode()),
    _DATE: lambda data: dt.date.fromisoformat(data.decode()),
    _TIME: lambda data: dt.time.fromisoformat(data.decode()),
    _TIMEDELTA: _unpack_timedelta,
    _UUID: lambda data: uuid.UUID(bytes=data),
    _PAIRS: lambda data: dict(msgspec.msgpack.decode(data, ext_hook=_unpack)),
}


def _unpack(code: int, data: memoryview) -> object:
    return _UNPACKERS[code](bytes(data))


_DECODER: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame, ext_hook=_unpack)
