"""Refuses a declared link that would close a cycle, at the moment it is declared.

The edges that this process declared in one home are kept, up to a bound, and searched from the
later end of a new edge. Cycles through edges of other processes are found when they are read, by
`lineage`.

Source: requirement document 2 (self-edges and cycles are refused when a relationship is added).
"""

from __future__ import annotations

import os
import threading

from whence.capture import state
from whence.errors import LinkError

MAX_EDGES = 200_000


class Edges:
    """Edges of this process from earlier to later, for the cycle check."""

    def __init__(self) -> None:
        self._home = ""
        self._later: dict[str, set[str]] = {}
        self._count = 0
        self._lock = threading.RLock()  # a finalizer may link while this thread does

    def release(self) -> None:
        """Take a new lock in a forked child.

        Another thread of the parent may have held the old one.
        """
        self._lock = threading.RLock()

    def add(self, earlier: str, later: str, kind: str, home: str) -> None:
        """Remember an edge; those of another home are forgotten.

        Raises:
            LinkError: It would be a self-edge or close a cycle; then it is not remembered.
        """
        if earlier == later:
            message = (
                f"the {kind} link points from {earlier!r} to itself; "
                "a link goes from an earlier thing to a later one"
            )
            raise LinkError(message)
        with self._lock:
            if home != self._home:
                self._home = home
                self._forget()
            if self._reaches(later, earlier):
                message = (
                    f"the {kind} link from {earlier!r} to {later!r} would close a cycle: "
                    f"{earlier!r} already comes after "
                    f"{later!r}; links go from the earlier to the later thing, for every kind"
                )
                raise LinkError(message)
            if self._count >= MAX_EDGES:
                self._forget()
            targets = self._later.setdefault(earlier, set())
            if later not in targets:
                targets.add(later)
                self._count += 1

    def _forget(self) -> None:
        self._later.clear()
        self._count = 0

    def _reaches(self, start: str, goal: str) -> bool:
        visited, stack = {start}, [start]
        while stack:
            for node in tuple(self._later.get(stack.pop(), ())):
                if node == goal:
                    return True
                if node not in visited:
                    visited.add(node)
                    stack.append(node)
        return False


edges = Edges()


def declare(earlier: str, later: str, kind: str) -> None:
    """Remember an edge of the current home.

    Raises:
        LinkError: It would be a self-edge or close a cycle.
    """
    edges.add(earlier, later, kind, str(state.current.load().home))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=edges.release)
