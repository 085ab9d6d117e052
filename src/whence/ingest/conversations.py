"""The texts of conversations that calls resend, each message encoded once.

Comes in: the messages of one call after the other, mostly those of an earlier call and a few more.
Goes out: their JSON, and the SHA-256 of any stretch of it. Messages are known again by being the
same objects, so whoever hands them over does not change them afterwards. A few conversations are
remembered at a time, for calls of several agents alternate.
"""

from __future__ import annotations

import hashlib
import operator
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.log.resend import Key

MAX_CONVERSATIONS = 16
"""How many conversations are remembered."""


class Conversation:
    """What is known of the latest call of a conversation."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self.texts: list[bytes] = []
        """Its messages as JSON."""
        self.keys: list[Key] = []
        """Their hashes, which tell them apart in a segment."""
        self.sizes: list[int] = []
        """Their lengths."""
        self.size_bytes = 0
        """Their length together."""
        self._hashed = 0
        self._hash = hashlib.sha256()

    def take(self, items: list[Any], encode: Callable[[Any], bytes]) -> None:
        """Take the messages of the next call; those that it has in common are not encoded again."""
        known = min(len(self._items), len(items))
        if not all(map(operator.is_, self._items, items)):
            pairs = zip(self._items, items, strict=False)
            known = next(n for n, (a, b) in enumerate(pairs) if a is not b)
        new = [encode(item) for item in items[known:]]
        sizes = list(map(len, new))
        self.size_bytes += sum(sizes) - sum(self.sizes[known:])
        self.sizes[known:] = sizes
        self.texts[known:] = new
        self.keys[known:] = map(hash, new)
        self._items[known:] = items[known:]
        if known < self._hashed:
            self._hashed, self._hash = 0, hashlib.sha256()

    def digest(self, start: int, end: int) -> str:
        """Return the SHA-256 of the texts from `start` to before `end`, with commas between."""
        if start or end < self._hashed:
            return hashlib.sha256(b",".join(self.texts[start:end])).hexdigest()
        for index in range(self._hashed, end):
            self._hash.update(b"," + self.texts[index] if index else self.texts[index])
        self._hashed = end
        return self._hash.hexdigest()

    def whole(self, start: int, end: int) -> list[Any]:
        """Return the texts from `start` to before `end`."""
        return list(map(msgspec.Raw, self.texts[start:end]))


class Conversations:
    """The conversations that were seen last."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, Conversation] = OrderedDict()

    def of(self, items: list[Any], encode: Callable[[Any], bytes]) -> Conversation:
        """Return the conversation that these messages continue, with their texts.

        Args:
            items: The messages of a call, at least one.
            encode: Returns a message as JSON.
        """
        # The conversation holds its first message, so that no other gets the same id.
        key = id(items[0])
        found = self._known.pop(key, None) or Conversation()
        found.take(items, encode)
        self._known[key] = found
        if len(self._known) > MAX_CONVERSATIONS:
            self._known.popitem(last=False)
        return found
