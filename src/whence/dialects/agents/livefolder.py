"""The folder of a session that is going on: its actions are appended as they happen.

Comes in: actions, from any thread. Goes out: a line of `actions.jsonl` each, at once, and at the
end `manifest.yaml` and `summary.md`. The log is the truth and has everything already; when the disk
refuses a line here, the folder is given up with a word on standard error, and `whence export
sessions` makes it again.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import msgspec

from whence import _clock
from whence.capture import guard
from whence.exports import sessionfiles, sessionfolders
from whence.exports.sessions import context_of
from whence.exports.sessiontally import Tally
from whence.log.replacing import replace

if TYPE_CHECKING:
    from pathlib import Path

    from whence.exports.actions import Action
    from whence.exports.sessionfiles import Told
    from whence.store.rows import RunRow


class LiveFolder:
    """Where one session is written. It is open until `close`.

    Args:
        folder: The provenance folder, made if it is not there.
        run: The run, as far as it is known.
    """

    def __init__(self, folder: Path, run: RunRow) -> None:
        self._folder = folder
        self._run = run
        self._context = context_of(run)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._tally = Tally()
        self._file = -1
        self.path: Path | None = None
        """The session's own folder; None if none could be made."""
        try:
            sessionfolders.prepare(folder)
            self.path = sessionfolders.claim_new(folder, run.id, run.started_ns)
            self._write_manifest(run, sessionfiles.Told())
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.open(self.path / sessionfolders.ACTIONS, flags, 0o644)
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            self._give_up(error)

    def append(self, action: Action) -> None:
        """Write one action; it has the number of its line."""
        with self._lock:
            if self._file < 0 or self._pid != os.getpid():
                # A forked child has a log of its own, and would number its lines like its parent.
                return
            try:
                # Its time is that of its line, so that lines of many threads are in order of time.
                timed = msgspec.structs.replace(action, ts_ns=_clock.wall_ns())
                line = timed.to_line(self._tally.total + 1, self._context)
                if os.write(self._file, line) != len(line):
                    self._give_up(OSError("the disk took only part of a line"))
                    return
                self._tally.add(timed)
            except Exception as error:  # noqa: BLE001 - as above
                self._give_up(error)

    def close(self, run: RunRow, told: Told) -> None:
        """Write what the session came to, and take no more actions."""
        with self._lock:
            if self._file < 0 or self.path is None or self._pid != os.getpid():
                return
            os.close(self._file)
            self._file = -1
            try:
                self._write_manifest(run, told)
                summary = sessionfiles.summary(run, self._tally, self.path.name)
                content = summary.encode("utf-8", "backslashreplace")
                replace(self.path / sessionfolders.SUMMARY, content)
            except Exception as error:  # noqa: BLE001 - as above
                self._give_up(error)

    def _write_manifest(self, run: RunRow, told: Told) -> None:
        if self.path is None:
            return
        manifest = sessionfiles.manifest(run, self._tally, told, self.path.name)
        content = sessionfiles.yaml_text(manifest).encode("utf-8", "backslashreplace")
        replace(self.path / sessionfolders.MANIFEST, content)

    def _give_up(self, error: Exception) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        where = self.path or self._folder
        guard.tell_once(
            f"session folder {where}",
            f"{where} cannot be written ({guard.describe(error)}); the log has the session: "
            f"`whence export sessions {self._run.id} --to DIR` writes it elsewhere.",
        )
