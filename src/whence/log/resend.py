"""Writes a value that stands in the segment already as a reference to where it stands.

An agent loop sends its whole conversation with every call; stored as sent, fifty turns take
twenty-five times the final history. Here each value and each message over a size is remembered
together with the line that holds it. When it comes again, a `same` marker names that line by its
byte offset and carries the SHA-256 of the text, computed for each reference and checked by the
reader. Consecutive messages that stand consecutively in an earlier line become one marker, so a
turn costs its new messages and one reference.

What is remembered of a text is its hash, by which it is found again, not the text: keeping the
texts would cost more than writing them. The hash is CPython's keyed SipHash of 64 bits; should two
texts ever share it, the SHA-256 in the reference tells the reader so. The memory is bounded: when
it is full it is forgotten, and values are written out once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from whence.log.blobs import digest_of
from whence.log.lines import VALUE_BYTES
from whence.record.values import MARK

if TYPE_CHECKING:
    from collections.abc import Callable

STRETCH_BYTES = 256
"""Consecutive messages that together are shorter than this are repeated."""
MEMORY_TEXTS = 100_000
"""How many texts are remembered, at about 250 bytes each."""

Path = tuple[str, ...]
Key = int
_NOTHING: dict[int, Key] = {}
Fragment = tuple[Key, Path, int]
"""Hash of a JSON text, path of its field, and its index in a list field (-1: the field itself)."""


class Conversation(Protocol):
    """The messages of a call, as far as finding them again needs."""

    keys: list[Key]
    """Hash of each as JSON."""
    sizes: list[int]
    """Length of each as JSON."""

    def digest(self, start: int, end: int) -> str:
        """Return the SHA-256 of those from `start` to before `end`, with commas between."""
        ...

    def whole(self, start: int, end: int) -> list[Any]:
        """Return what to write for those from `start` to before `end` that are new."""
        ...


class Texts:
    """A conversation of which every message is there as JSON.

    Args:
        texts: The messages.
        form: What to write for each is made by it.
    """

    def __init__(self, texts: list[bytes], form: Callable[[bytes], Any] = msgspec.Raw) -> None:
        self.keys = list(map(hash, texts))
        self.sizes = list(map(len, texts))
        self.texts = texts
        self._form = form

    def digest(self, start: int, end: int) -> str:
        """Return the SHA-256 of those from `start` to before `end`, with commas between."""
        if end > start + 1:
            return digest_of(b",".join(self.texts[start:end]))
        text = self.texts[start]
        known = _digests.get(text)
        if known is None:
            if len(_digests) >= _MOST_DIGESTS:
                _digests.clear()
            known = _digests[text] = digest_of(text)
        return known

    def whole(self, start: int, end: int) -> list[Any]:
        """Return the texts from `start` to before `end`."""
        return list(map(self._form, self.texts[start:end]))


_digests: dict[bytes, str] = {}
"""The digests of messages that were referred to alone: a program has few system prompts, and sends
them often."""
_MOST_DIGESTS = 32


class Seen:
    """What one segment of a writer already holds, by JSON text. Another segment gets another one.

    Threads may share it: what it knows of a text stays true, so the worst is a text that is written
    twice.
    """

    def __init__(self, writer: object, serial: int) -> None:
        self.writer = writer
        self.serial = serial
        self.places: dict[Key, tuple[int, Path, int]] = {}
        """By the hash of a JSON text: the line to refer to for it, the path of its field there, and
        its index in a list field (-1: the field itself)."""
        self._lines: dict[int, dict[int, Key]] = {}
        self._live: dict[int, int] = {}
        """Line to the number of texts that it is the one to refer to for."""
        self._held = 0

    def _forget(self) -> None:
        self.places = {}
        self._lines = {}
        self._live = {}
        self._held = 0

    def value(self, path: Path, text: bytes, fragments: list[Fragment]) -> Any:
        """Return what to write for the field at `path`.

        That is its JSON text as it is, or a reference to an earlier one.

        Args:
            path: Keys from the record to the field.
            text: The value as JSON.
            fragments: Gets what has to be remembered once the line is written.
        """
        if len(text) < VALUE_BYTES:
            return msgspec.Raw(text)
        key = hash(text)
        place = self.places.get(key)
        if place is not None and place[2] < 0:
            digest = digest_of(text)
            return {MARK: "same", "line": place[0], "path": place[1], "sha256": digest}
        fragments.append((key, path, -1))
        return msgspec.Raw(text)

    def texts(
        self,
        texts: list[bytes],
        fragments: list[Fragment],
        form: Callable[[bytes], Any] = msgspec.Raw,
    ) -> list[Any]:
        """Return what to write for messages as `messages` does, from their JSON."""
        return self.messages(Texts(texts, form), fragments)

    def messages(self, conversation: Conversation, fragments: list[Fragment]) -> list[Any]:
        """Return what to write for a list of messages.

        New ones are written whole, runs of earlier ones as one reference each.

        Where one reference does, the earlier line stays the one to refer to, so that a prompt that
        every run sends is one step away however often it was sent. Where it took several, this line
        becomes the one to refer to, so that the next turn needs one: a conversation of
        n turns is n / 2 steps long.

        Args:
            conversation: The messages.
            fragments: Gets what has to be remembered once the line is written.
        """
        written: list[Any] = []
        path: Path = ("messages",)
        keys, sizes = conversation.keys, conversation.sizes
        index, count = 0, len(keys)
        new: list[int] = []
        references = 0
        while index < count:
            place = self.places.get(keys[index])
            end = index + 1
            if place is not None and place[2] >= 0:
                line, _, first = place
                held = self._lines.get(line, _NOTHING)
                while end < count and held.get(first + end - index) == keys[end]:
                    end += 1
                if _is_long(sizes, index, end):
                    references += 1
                    written.append(
                        {
                            MARK: "same",
                            "line": line,
                            "path": path,
                            "from": first,
                            "count": end - index,
                            "sha256": conversation.digest(index, end),
                        }
                    )
                    index = end
                    continue
            written += conversation.whole(index, end)
            new.extend(range(index, end))
            index = end
        kept = range(count) if references > 1 else new
        fragments.extend([(keys[i], path, i) for i in kept])
        return written

    def remember(self, offset: int, fragments: list[Fragment]) -> None:
        """Note that the line at `offset` holds the fragments.

        A later line takes over, so that references stay consecutive.
        """
        held: dict[int, Key] = {}
        places, live = self.places, self._live
        for key, path, index in fragments:
            before = places.get(key)
            places[key] = (offset, path, index)
            if index < 0:
                continue
            held[index] = key
            if before is None or before[0] != offset:
                live[offset] = live.get(offset, 0) + 1
                if before is not None and before[2] >= 0:
                    self._leave(before[0])
        # By line: a message sent twice, such as "continue", has one place but stands in two.
        if held:
            self._lines[offset] = held
        self._held += len(held)
        if len(self.places) > MEMORY_TEXTS or self._held > MEMORY_TEXTS:
            self._forget()

    def _leave(self, line: int) -> None:
        """Note that a line is no longer the one to refer to for one of its messages."""
        left = self._live.get(line, 0) - 1
        if left > 0:
            self._live[line] = left
        else:  # a conversation that grows would else hold every length it ever had
            self._live.pop(line, None)
            self._held -= len(self._lines.pop(line, _NOTHING))


def _is_long(sizes: list[int], start: int, end: int) -> bool:
    """Whether messages and the commas between them are long enough to refer to."""
    length = end - start - 1
    for index in range(start, end):
        length += sizes[index]
        if length >= STRETCH_BYTES:
            return True
    return False
