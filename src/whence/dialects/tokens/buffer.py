"""The latest tracked requests in memory: a cache of what the log holds, and no more than that."""

from __future__ import annotations

import threading
from collections import OrderedDict

import msgspec

from whence.dialects.tokens.provenance import TokenProvenance
from whence.dialects.tokens.usage import TokenUsage
from whence.errors import ConfigError

KNOWN_REQUESTS = 100_000
"""Of how many requests root and depth are remembered, which takes about 30 MB when full."""


class Entry(msgspec.Struct, frozen=True):
    """One tracked request."""

    usage: TokenUsage
    provenance: TokenProvenance
    run_id: str
    failed: bool
    duration_ms: float | None


class Buffer:
    """The latest requests, and root and depth of many more. Any thread may use it.

    Args:
        size: How many requests are kept.

    Raises:
        ConfigError: The size is no whole number from 0.
    """

    def __init__(self, size: int) -> None:
        if type(size) is not int or size < 0:
            raise ConfigError(f"buffer_size is {size!r}; give a whole number from 0")
        self.size = size
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lineages: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> None:
        """Keep a request; one of the same id is replaced, the oldest beyond the size is dropped."""
        request_id = entry.usage.request_id
        with self._lock:
            self._entries.pop(request_id, None)
            self._entries[request_id] = entry
            while len(self._entries) > self.size:
                self._entries.popitem(last=False)
        provenance = entry.provenance
        self.remember(request_id, provenance.root_request_id, provenance.depth or 0)

    def remember(self, request_id: str, root: str, depth: int) -> None:
        """Keep root and depth of a request."""
        with self._lock:
            self._lineages[request_id] = (root, depth)
            self._lineages.move_to_end(request_id)
            if len(self._lineages) > KNOWN_REQUESTS:
                self._lineages.popitem(last=False)

    def find(self, request_id: str) -> Entry | None:
        """Return a request, None if it is not here any more."""
        with self._lock:
            return self._entries.get(request_id)

    def find_lineage(self, request_id: str) -> tuple[str, int] | None:
        """Return root and depth of a request, None if they are not here any more."""
        with self._lock:
            return self._lineages.get(request_id)

    def entries(self) -> list[Entry]:
        """Return the requests, the newest first."""
        with self._lock:
            return list(reversed(self._entries.values()))
