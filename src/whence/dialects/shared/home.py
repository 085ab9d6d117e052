"""The home this process records into, open for reading, for dialects whose questions name no store.

`reading` gives a `whence.Reader` of the configured home for the length of a block. Opening one
takes a tenth of a second and more, so the last one stays open until the home changes or the process
forks. One thread reads at a time, as a reader demands. A home that does not exist yet has no rows.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from whence import config
from whence.capture import state

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from whence.query.reader import Reader


class _Kept:
    """The reader that is open, and for which home."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reader: Reader | None = None
        self.home: Path | None = None

    def open(self, home: Path) -> Reader:
        """Return a reader of `home`, the one that is open if it fits."""
        from whence.query.reader import open_store  # noqa: PLC0415 - only those who read pay for it

        if self.reader is not None:
            if self.home == home:
                return self.reader
            self.reader.close()
            self.reader = None
        self.reader, self.home = open_store(home), home
        return self.reader


_kept = _Kept()


def configured_home() -> Path:
    """Return the folder that this process records into, also where recording is switched off.

    Raises:
        ConfigError: Nothing was configured, and `WHENCE_HOME` has no absolute path.
    """
    settings = state.current.settings
    return config.home_path(None) if settings is None else settings.home


@contextlib.contextmanager
def reading() -> Generator[Reader]:
    """Give a reader of the configured home, up to date whenever it is asked.

    Yields:
        The reader; it is not to be used after the block.

    Raises:
        StoreError: The home cannot be opened.
    """
    home = configured_home()
    with _kept.lock:
        if home.exists():
            yield _kept.open(home)
            return
        yield _empty(home)


def _empty(home: Path) -> Reader:
    from whence.log.home import Home  # noqa: PLC0415 - as in `open`
    from whence.query.reader import Reader  # noqa: PLC0415
    from whence.store.memory import MemoryStore  # noqa: PLC0415

    return Reader(MemoryStore(Home(home)), Home(home))


def _before_fork() -> None:
    # The child would have the store without its threads, and abort when it ends. Both sides open a
    # reader of their own when they ask again.
    _kept.lock.acquire()
    if _kept.reader is not None:
        _kept.reader.close()
        _kept.reader = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_kept.lock.release,
        after_in_child=_kept.lock.release,
    )
