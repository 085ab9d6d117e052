"""Three agents: one that takes questions, one that reads a module, one that finds modules.

The first decides who answers and executes it; what each does is in its own session, inside the
first's.
"""

from __future__ import annotations

import re
import time
from typing import Any

from agents_library import library
from whence.agents import BaseAgent

_NAMED = re.compile(r"`([a-z_0-9]+)`")
_OFFERED = 5


class Librarian(BaseAgent):
    """Takes a question and gives it to whoever can answer it."""

    def run(self, query: str, **kwargs: Any) -> dict[str, Any]:
        """Return the answer of the agent that was chosen."""
        named = _NAMED.findall(query)
        choice = "reader" if named else "finder"
        self.tracker.record_decision(
            decision_type="route",
            decision_point="who answers",
            input_values={"named": named},
            branch_taken=choice,
            branches_available=["reader", "finder"],
            reason=f"the question names {named[0]}" if named else "the question names no module",
        )
        agent: BaseAgent = Reader(tracker=self.tracker) if named else Finder(tracker=self.tracker)
        return agent.execute(query, **kwargs)


class Reader(BaseAgent):
    """Tells what a module has."""

    def run(self, query: str, **_: Any) -> dict[str, Any]:
        """Return the members of the module that the question names.

        Raises:
            LookupError: There is no such module.
        """
        name = _NAMED.findall(query)[0]
        path = library.path_of(name)
        with self.tracker.track_tool_call("files", "Read", {"file_path": path.name}) as call:
            source = path.read_text("utf-8")
            call.output = {"line_count": source.count("\n"), "bytes_read": len(source.encode())}
        began = time.perf_counter()
        module = library.parse(name, source)
        self.tracker.record_transformation(
            "parse",
            "source to members",
            source,
            module.members,
            "ast",
            duration_ms=(time.perf_counter() - began) * 1000,
        )
        self.tracker.link_entity("modules", name, "read")
        return {"module": name, "about": module.about, "members": len(module.members)}


class Finder(BaseAgent):
    """Finds the modules that a question is about."""

    def run(self, query: str, **_: Any) -> dict[str, Any]:
        """Return the module that fits the question best, and others that might.

        Raises:
            LookupError: None fits.
        """
        words = library.words_of(query)
        scores = self._score(words)
        if not scores:
            self.log(f"no module has any of {sorted(words)}", level="WARNING")
            raise LookupError("the library has nothing about this")
        best = sorted(scores, key=lambda name: (-scores[name], name))[:_OFFERED]
        self.tracker.record_decision(
            decision_type="ranking",
            decision_point="which module",
            input_values={"words": sorted(words)},
            branch_taken=best[0],
            branches_available=[{"name": name, "score": scores[name]} for name in best],
            reason=f"{best[0]} has most of the words",
            confidence=scores[best[0]],
        )
        for name in best:
            self.tracker.link_entity("modules", name, "found" if name == best[0] else "considered")
        return {"module": best[0], "others": best[1:], "about": library.load(best[0]).about}

    def _score(self, words: frozenset[str]) -> dict[str, float]:
        """Return the share of the words that each module has, where it has any."""
        names = library.names()
        cached = library.load.cache_info().currsize >= len(names)
        call = self.tracker.track_tool_call("index", "word_index", {"words": sorted(words)})
        with call as tracked:
            tracked.cache_hit = cached
            found = {name: library.load(name).words & words for name in names}
            scores = {name: len(hit) / len(words) for name, hit in found.items() if hit}
            tracked.output = {"modules": len(scores)}
        return scores
