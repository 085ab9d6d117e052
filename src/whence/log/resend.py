"""Writes a value that stands in the segment already as a reference to where it stands.

An agent loop sends its whole conversation with every call; stored as sent, fifty turns take
twenty-five times the final history. Here each value and each message over a size is remembered
together with the line that holds it. When it comes again, a `same` marker names that line by its
byte offset and carries the SHA-256 of the text, computed for each reference and checked by the
reader. Consecutive messages that stand consecutively in an earlier line become one marker, so a
turn costs its new messages and one reference.

What is remembered of a text is its length and hash, by which it is found again, not the text:
keeping the texts would cost more than writing them. The hash is CPython's keyed SipHash of 64 bits;
should two texts of one length ever share it, the SHA-256 in the reference tells the reader so. The
memory is bounded: when it is full it is forgotten, and values are written out once more.
"""

from __future__ import annotations

from typing import Any

import msgspec

from whence.log.blobs import digest_of
from whence.record.values import MARK

VALUE_BYTES = 1024
"""A single value shorter than this is cheaper to repeat than to look up and refer to."""
STRETCH_BYTES = 256
"""Consecutive messages that together are shorter than this are repeated."""
MEMORY_TEXTS = 100_000
"""How many texts are remembered, at about 250 bytes each."""

Path = tuple[str, ...]
Key = tuple[int, int]
_NOTHING: dict[int, Key] = {}
Fragment = tuple[Key, Path, int]
"""Key of a JSON text, path of its field, and its index in a list field (-1: the field itself)."""


class Seen:
    """What one segment of a writer already holds, by JSON text. Another segment gets another one.

    Threads may share it: what it knows of a text stays true, so the worst is a text that is written
    twice.
    """

    def __init__(self, writer: object, serial: int) -> None:
        self.writer = writer
        self.serial = serial
        self._places: dict[Key, tuple[int, Path, int]] = {}
        self._lines: dict[int, dict[int, Key]] = {}
        self._held = 0

    def _forget(self) -> None:
        self._places = {}
        self._lines = {}
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
        key = (len(text), hash(text))
        place = self._places.get(key)
        if place is not None and place[2] < 0:
            digest = digest_of(text)
            return {MARK: "same", "line": place[0], "path": place[1], "sha256": digest}
        fragments.append((key, path, -1))
        return msgspec.Raw(text)

    def messages(self, texts: list[bytes], fragments: list[Fragment]) -> list[Any]:
        """Return what to write for a list of messages.

        New ones are written whole, runs of earlier ones as one reference each.

        Where one reference does, the earlier line stays the one to refer to, so that a prompt that
        every run sends is one step away however often it was sent. Where it took several, this line
        becomes the one to refer to, so that the next turn needs one: a conversation of
        n turns is n / 2 steps long.
        """
        written: list[Any] = []
        path: Path = ("messages",)
        keys = [(len(text), hash(text)) for text in texts]
        index, count = 0, len(texts)
        new: list[int] = []
        references = 0
        while index < count:
            place = self._places.get(keys[index])
            end = index + 1
            if place is not None and place[2] >= 0:
                line, _, first = place
                held = self._lines.get(line, _NOTHING)
                while end < count and held.get(first + end - index) == keys[end]:
                    end += 1
                stretch = texts[index] if end == index + 1 else b",".join(texts[index:end])
                if len(stretch) >= STRETCH_BYTES:
                    references += 1
                    written.append(
                        {
                            MARK: "same",
                            "line": line,
                            "path": path,
                            "from": first,
                            "count": end - index,
                            "sha256": digest_of(stretch),
                        }
                    )
                    index = end
                    continue
            written.extend(map(msgspec.Raw, texts[index:end]))
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
        for key, path, index in fragments:
            self._places[key] = (offset, path, index)
            if index >= 0:
                held[index] = key
        # By line: a message sent twice, such as "continue", has one place but stands in two.
        if held:
            self._lines[offset] = held
        self._held += len(held)
        if len(self._places) > MEMORY_TEXTS or self._held > MEMORY_TEXTS:
            self._forget()
