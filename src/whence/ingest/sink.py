"""Writes the records of an import into the log, those that are there already left out.

Comes in: records of any kind, with ids and times of their source. Goes out: lines in this
process's own segments, and whether each record was new. A batch is all or nothing: it is in the log
and in the ledger when `batch` ends, or an error says that it is in neither. What was resent (a
conversation that every call carries whole) is written once a segment, as capture does.
"""

from __future__ import annotations

import operator
import os
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from whence.errors import StoreError
from whence.ingest import keys, values
from whence.ingest.captured import CallsOfHome
from whence.ingest.conversations import Conversations
from whence.ingest.ledger import Ledger
from whence.ingest.segments import Segments
from whence.ingest.shape import Note, Shape
from whence.log import blobs
from whence.log.lines import VALUE_BYTES, are_plain
from whence.log.resend import Fragment, Seen
from whence.log.resolve import FIELDS, REFERRING
from whence.record import codec
from whence.record.generation import Generation, Usage
from whence.record.values import MARK, is_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from msgspec.structs import FieldInfo

    from whence.log.home import Home
    from whence.record.base import Record

BATCH_BYTES = 4 << 20
BATCH_RECORDS = 10_000
_OWN = frozenset({"v", "seq", "ts", "run", "span", "id", "extra"})
_TEXTS = (str, str | None, str | dict[str, Any] | None)
_OPTION_TEXTS = frozenset({"name", "reason_rejected"})
_SHARED: dict[type[Record], tuple[str, ...]] = {
    kind: tuple(name for name in FIELDS if name in kind.__struct_fields__ and name != "messages")
    for kind in REFERRING
}
_encode = codec.encode_json
FORK_WAIT_S = 5.0
"""How long a fork waits for a batch of another thread."""
_waited_for: list[Sink] = []
_open_sinks: weakref.WeakSet[Sink] = weakref.WeakSet()


class Sink:
    """The way into one home; a context manager, to be used by one thread at a time.

    A forked child has no part in its parent's sink: it opens its own.

    Args:
        home: The home; it is made with the first record.
        durable: Bring every batch to the disk before it counts as written.

    Raises:
        StoreError: The ledger of the home cannot be opened.
    """

    def __init__(self, home: Home, *, durable: bool = False) -> None:
        self.home = home
        self._durable = durable
        self._segments = Segments(home, durable=durable)
        self.calls = CallsOfHome(home, self._segments.writer)
        """The model calls that capture recorded in the home."""
        self._ledger = Ledger(home)
        self._seen = Seen(self, -1)
        self._conversations = Conversations()
        self._serial = 0
        self._records = 0
        self._run: str | None = None
        self._shape = Shape()
        self._notes: list[Note] = []
        self._is_ours = True
        self.batching = threading.RLock()
        """Held during a batch, which a fork waits for: SQLite in the child would take it for its
        own."""
        _open_sinks.add(self)

    def disown(self) -> None:
        """Give everything up in a forked child: what the batch holds is the parent's to write.

        It is done in every child of `os.fork` without being asked for.
        """
        if self._is_ours:
            self._is_ours = False
            self._segments.disown()
            self._ledger.disown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._segments.close()
        self._ledger.close()

    @contextmanager
    def batch(self) -> Generator[None]:
        """Take the records of one batch; they are written when the block ends without an error.

        Raises:
            StoreError: The disk or the ledger refuses, or the sink is the parent process's. Nothing
                of the batch is imported.
        """
        self._check_ours()
        with self.batching:
            yield from self._batch()

    def _batch(self) -> Generator[None]:
        self._ledger.begin()
        self._records, self._run = 0, None
        try:
            yield
            if not self._is_ours:  # forked within the batch
                return
            if self._records:
                self._segments.write()
        except BaseException:
            if not self._is_ours:
                raise
            self._segments.drop()
            self._seen = Seen(self, self._serial)
            self._ledger.roll_back()
            raise
        try:
            self._ledger.commit(self._segments.size)
        except StoreError:
            self._segments.close()  # no longer this process's own, so that the ledger reads it back
            self._ledger.roll_back()
            raise

    def _check_ours(self) -> None:
        if not self._is_ours:
            raise StoreError(
                "this process was forked from one that is importing; open a sink of its own"
            )

    def _open_segment(self) -> None:
        """Make sure that there is a segment for the first record of a batch."""
        if self._segments.prepare():
            self._serial += 1
            self._seen = Seen(self, self._serial)
        name = self._segments.name
        if name is not None:
            self._ledger.own(name)

    def run(self, run_id: str) -> Shape:
        """Return what is known of a run; an empty shape if nothing is."""
        return self._ledger.run(run_id)

    def answered(self, answer: str, ended_ns: int) -> str | None:
        """Return the imported run that has the model call with an answer; None if none has."""
        return self._ledger.answered(answer, ended_ns)

    @property
    def is_full(self) -> bool:
        """Whether the batch is large enough to be ended."""
        return self._records >= BATCH_RECORDS or self._segments.gathered_bytes >= BATCH_BYTES

    def take(self, record: Record) -> bool:
        """Take a record into the batch.

        Returns:
            Whether it was not there already.

        Raises:
            StoreError: The sink is the parent process's.
        """
        if not self._is_ours:  # looked at here: a call costs more, for each record
            self._check_ours()
        key = keys.key_of(record)
        if record.run != self._run:
            self._run = record.run
            self._shape = self._ledger.run(record.run)
            self._notes = self._ledger.notes_of(record.run)
        if not key:  # the source has no id for it, so its content is its id
            key = keys.record_id(_encode(values.settled(_fields(record), _no_blob)).decode())
            record = msgspec.structs.replace(record, id=key)
        shape = self._shape
        if key in shape.keys:
            return False
        if not self._records:
            self._open_segment()
        self._add(record)
        self._notes.append(shape.take(key, record))
        self._records += 1
        return True

    def _add(self, record: Record) -> None:
        fragments: list[Fragment] = []
        sent = None
        kind = type(record)
        if type(record) is Generation and record.messages:
            sent = self._sent(record.messages, fragments)
            if sent is not None:
                record = msgspec.structs.replace(record, messages=None)
        body = b""
        if are_plain(_VALUES[kind](record)) or _is_plain_inside(record):
            count = len(fragments)
            try:
                body = _encode(record)
                if len(body) >= VALUE_BYTES and kind in _SHARED:
                    body = _encode(self._shared(record, fragments))
            except (UnicodeError, RecursionError, msgspec.MsgspecError):
                del fragments[count:]
                body = b""
        if not 0 < len(body) <= blobs.INLINE_BYTES:
            body = self._encoded_carefully(record)
        if sent is not None:
            body = body[:-1] + b',"messages":' + _encode(sent) + b"}"
        offset = self._segments.add(body)
        if fragments:
            self._seen.remember(offset, fragments)

    def _sent(self, given: list[Any], fragments: list[Fragment]) -> list[Any] | None:
        """Return what the line gets for a conversation; None if it is too short to be shared."""
        conversation = self._conversations.of(given, self._text)
        if conversation.size_bytes < VALUE_BYTES:
            return None
        return self._seen.messages(conversation, fragments)

    def _shared(self, record: Record, fragments: list[Fragment]) -> Record:
        """Return the record with references in place of what the segment holds already."""
        changes: dict[str, Any] = {}
        for name in _SHARED[type(record)]:
            value = getattr(record, name)
            if value is None or (type(value) is str and len(value) < VALUE_BYTES):
                continue
            text = self._text(value)
            if len(text) >= VALUE_BYTES:
                changes[name] = self._seen.value((name,), text, fragments)
        return msgspec.structs.replace(record, **changes) if changes else record

    def _text(self, value: Any) -> bytes:
        """Return a value as JSON, shrunk to blobs where it is long."""
        if is_plain(value):
            try:
                text = _encode(value)
            except (UnicodeError, RecursionError, msgspec.MsgspecError):
                text = b""
            if 0 < len(text) <= blobs.INLINE_BYTES:
                return text
        return _encode(values.shrunk(value, self._put))

    def _encoded_carefully(self, record: Record) -> bytes:
        """Return the body of a record, each field brought into a form that a line can hold."""
        plain: dict[str, Any] = {"kind": record.__struct_config__.tag}
        whole: dict[str, Any] = {}
        for field in msgspec.structs.fields(record):
            name, value = field.name, getattr(record, field.name)
            if name == "extra" or (value == field.default and type(value) is type(field.default)):
                continue
            if name in _OWN:
                plain[name] = value
                continue
            plain[name] = self._kept(field, value, whole)
        if whole:
            plain["whole"] = whole
        return _encode(plain)

    def _kept(self, field: FieldInfo, value: Any, whole: dict[str, Any]) -> Any:
        """Return what the line gets for a field; `whole` gets the exact value if that is less."""
        name, put = field.name, self._put
        if isinstance(value, Usage):
            counts = cast("dict[str, Any]", msgspec.to_builtins(value, builtin_types=(bytes,)))
            return {key: values.shrunk(item, put) for key, item in counts.items()}
        if isinstance(value, str) and field.type in _TEXTS:
            return self._kept_text(name, value, whole)
        if name == "messages":
            return [msgspec.Raw(self._text(item)) for item in cast("list[Any]", value)]
        if name == "fields":
            settled = cast("dict[str, Any]", values.settled(value, put))
            return {key: _shown(item) for key, item in settled.items()}
        if not isinstance(value, list):
            return values.shrunk(value, put)
        items, marker = values.shrunk_list(msgspec.to_builtins(value, builtin_types=(bytes,)), put)
        fitting = [_fitting(name, item) for item in items]
        if marker is not None or fitting != items:
            whole[name] = items if marker is None else marker
        return fitting

    def _kept_text(self, name: str, value: str, whole: dict[str, Any]) -> str:
        kept = blobs.line_text(value, self._put)
        if isinstance(kept, str):
            return kept
        whole[name] = kept
        return values.preview(value)

    def _put(self, content: bytes, encoding: blobs.Encoding, preview: str) -> dict[str, Any]:
        try:
            return blobs.put(self.home, content, encoding, preview=preview, sync=self._durable)
        except OSError as error:
            raise StoreError(
                f"a value of {len(content)} bytes cannot be written to {self.home.blobs} "
                f"({error.strerror or error}); the same import can be run again"
            ) from error


def _getter(kind: type[Record]) -> Callable[[Record], tuple[Any, ...]]:
    """Return a function that gets the fields of a record that hold anything but texts, and one."""
    names = [
        field.name
        for field in msgspec.structs.fields(kind)
        if field.name not in _OWN and field.type not in (str, str | None, bool, bool | None)
    ]
    return operator.attrgetter(*names, "run")


_VALUES = {kind: _getter(kind) for kind in codec.KINDS.values()}


def _is_plain_inside(record: Record) -> bool:
    """Whether the values of a record and what is in structs among them can stand on a line."""
    return all(
        is_plain(value)
        or (
            isinstance(value, (Usage, list))
            and is_plain(msgspec.to_builtins(value, builtin_types=(bytes,)))
        )
        for value in _VALUES[type(record)](record)
    )


def _fitting(name: str, item: Any) -> Any:
    """Return an item of a list with text wherever its field has to have text."""
    if name in {"tags", "sample_ids"}:
        return _shown(item)
    if name == "options" and isinstance(item, dict):
        option = cast("dict[str, Any]", item)
        return {key: _shown(v) if key in _OPTION_TEXTS else v for key, v in option.items()}
    return item


def _shown(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    marker = cast("dict[str, Any]", item)
    return str(marker.get("preview") or marker.get("value") or "")[: blobs.PREVIEW_CHARS]


def _fields(record: Record) -> dict[str, Any]:
    return {
        name: msgspec.to_builtins(value, builtin_types=(bytes,))
        for name in record.__struct_fields__
        if (value := getattr(record, name)) is not None
    }


def _no_blob(content: bytes, encoding: blobs.Encoding, _preview: str) -> dict[str, Any]:
    return {MARK: "blob", "encoding": encoding, "sha256": blobs.digest_of(content)}


def _before_fork() -> None:
    sinks = list(_open_sinks)
    _waited_for.extend(one for one in sinks if one.batching.acquire(timeout=FORK_WAIT_S))


def _after_fork() -> None:
    while _waited_for:
        _waited_for.pop().batching.release()


def _after_fork_in_child() -> None:
    _after_fork()
    for sink in list(_open_sinks):
        sink.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )
