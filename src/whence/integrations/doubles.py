"""Model calls that an application's own OpenTelemetry states and capture recorded as well.

Comes in: what capture wrote in this process, wherever that is. Goes out: for a span that states a
call which capture has, the id of the span that has it; `ingest.captured` has the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.ingest.captured import Calls
from whence.log.follow import Follower
from whence.log.reader import Problem
from whence.record.generation import Generation

if TYPE_CHECKING:
    from whence.log.writer import Writer

_IS_CALL = b'"generation"'


class Doubles(Calls):
    """What capture recorded of model calls in this process."""

    def __init__(self) -> None:
        super().__init__()
        self._writer: Writer | None = None
        self._follower: Follower | None = None

    def catch_up(self, writer: Writer | None) -> None:
        """Take in what capture wrote since.

        Args:
            writer: The writer of this process; None if it recorded nothing yet.

        Raises:
            OSError: Its log cannot be read.
        """
        if writer is None:
            return
        if writer is not self._writer or self._follower is None:
            self._writer = writer
            self._follower = Follower(writer.home, writer.name, containing=_IS_CALL)
        for found in self._follower.iter_records():
            if not isinstance(found, Problem) and isinstance(found[2], Generation):
                self.note(found[2])
