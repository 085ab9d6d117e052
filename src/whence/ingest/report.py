"""Counts what the sources of an import said, whether it was new or not.

Comes in: every record that a format module made, once for each time it stands in a source. Goes
out: one `Report`. Each record counts once, however often it stands there; each model call counts
once; what nobody stated is null. Costs are added as decimals, so that a sum is what a person would
get.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.ingest import keys, usage
from whence.ingest.base import Skipped
from whence.record.decision import Decision
from whence.record.generation import Generation, ToolCall, Usage
from whence.record.link import Link
from whence.record.run import RunStarted, Update
from whence.record.score import Score
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from whence.record.base import Record

MAX_SKIPPED = 1_000
"""How many left-out things are named; what is beyond is counted."""
_BUCKETS = ("input_uncached", "cache_read", "cache_write", "output_visible", "reasoning")


class Stated(msgspec.Struct, frozen=True):
    """Sums of what the sources said, each call once; null where none of them said anything."""

    input: int | float | None = None
    """Input tokens."""
    output: int | float | None = None
    """Output tokens."""
    cache_read: int | float | None = None
    """Input tokens read from a cache."""
    cache_write: int | float | None = None
    """Input tokens written to a cache."""
    reasoning: int | float | None = None
    """Output tokens spent on reasoning."""
    total: int | float | None = None
    """Totals, where they were stated."""


class Buckets(msgspec.Struct, frozen=True):
    """Sums of the buckets that do not overlap; null where none is known."""

    input_uncached: int | None = None
    """Input tokens read at full price."""
    cache_read: int | None = None
    """Input tokens from a cache."""
    cache_write: int | None = None
    """Input tokens into a cache."""
    output_visible: int | None = None
    """Output tokens that can be read."""
    reasoning: int | None = None
    """Output tokens spent on reasoning."""


class Report(msgspec.Struct, frozen=True):
    """What an import read, and what of it was new."""

    format: str | None
    """The format, or several with commas between; null if no source was recognized."""
    runs: int
    """Runs."""
    spans: int
    """Spans."""
    generations: int
    """Distinct model calls."""
    tool_calls: int
    """Tool calls."""
    tool_errors: int
    """Tool calls that failed."""
    retrievals: int
    """Spans that looked something up."""
    decisions: int
    """Decisions."""
    scores: int
    """Judgements."""
    retries: int | None
    """Second and later attempts; null where no source tells attempts apart."""
    errors: int
    """Spans, and calls outside any span, that ended in error."""
    usage_stated: Stated
    """Tokens as stated."""
    usage: Buckets
    """Tokens in buckets that do not overlap."""
    cost_usd_declared: float | None
    """US dollars: the totals that runs declare, and the calls of the others."""
    cost_usd_computed: float | None
    """US dollars: the sum of what the calls cost."""
    skipped: list[Skipped]
    """What was left out, with the reason."""
    new: int
    """Records written now."""
    already_there: int
    """Records that the home had already."""


class _RunCosts(msgspec.Struct):
    declared: Decimal | None = None
    calls: Decimal | None = None


class Tally:
    """Counts while an import runs."""

    def __init__(self) -> None:
        self.formats: set[str] = set()
        self.new = 0
        self.already_there = 0
        self._skipped: list[Skipped] = []
        self._more_skipped = 0
        self._seen: dict[str, set[str]] = {}
        self._counts: dict[str, int] = dict.fromkeys(
            (
                "spans",
                "generations",
                "tool_calls",
                "tool_errors",
                "retrievals",
                "decisions",
                "scores",
            ),
            0,
        )
        self._attempts: int | None = None
        self._retry_links: int | None = None
        self._tool_retries: int | None = None
        self._failed: set[tuple[str, str]] = set()
        self._stated: dict[str, usage.Number] = {}
        self._buckets: dict[str, int] = {}
        self._costs: dict[str, _RunCosts] = {}
        self._parents: dict[str, str] = {}
        self._stating: set[str] = set()
        self._declared: dict[str, dict[str, usage.Number]] = {}

    def skip(self, skipped: Skipped) -> None:
        """Count something that was left out."""
        if len(self._skipped) < MAX_SKIPPED:
            self._skipped.append(skipped)
        else:
            self._more_skipped += 1

    def add(self, record: Record, *, new: bool) -> None:
        """Count a record; one that was counted before in this import is passed over."""
        seen = self._seen.setdefault(record.run, set())
        key = keys.key_of(record) or repr(record)
        if key in seen:
            return
        seen.add(key)
        if new:
            self.new += 1
        else:
            self.already_there += 1
        counter = _COUNTERS.get(type(record))
        if counter is not None:
            counter(self, record)

    def count(self, name: str) -> None:
        """Count one thing."""
        self._counts[name] += 1

    def failed(self, record: Record) -> None:
        """Count an error, once a span."""
        self._failed.add((record.run, record.span or f"#{record.id}"))

    def add_attempt(self, attempt: int) -> None:
        """Count a model call that says which attempt it was."""
        self._attempts = (self._attempts or 0) + (attempt > 1)

    def add_retry_link(self) -> None:
        """Count an edge from an attempt to the next."""
        self._retry_links = (self._retry_links or 0) + 1

    def add_tool_retries(self, number: int) -> None:
        """Count the retries that a tool call states."""
        self._tool_retries = (self._tool_retries or 0) + number

    def _retries(self) -> int | None:
        """Return the retries; one that is told by its attempt and by a link counts once."""
        told = [n for n in (self._attempts, self._retry_links) if n is not None]
        if not told:
            return self._tool_retries
        return max(told) + (self._tool_retries or 0)

    def add_usage(self, run: str, given: Usage) -> None:
        """Add the tokens of one call."""
        stated = usage.figures(given.stated)
        for name in stated.__struct_fields__:
            number = getattr(stated, name)
            if number is not None:
                self._stating.add(run)
                self._stated[name] = self._stated.get(name, 0) + number
        for name in _BUCKETS:
            count = getattr(given, name)
            if count is not None:
                self._buckets[name] = self._buckets.get(name, 0) + count

    def add_cost(self, run: str, cost_usd: Any, *, declared: bool = False) -> None:
        """Add the cost of a call, or the total that a run declares."""
        cost = decimal(cost_usd)
        if cost is None:
            return
        costs = self._costs.setdefault(run, _RunCosts())
        if declared:
            costs.declared = cost
        else:
            costs.calls = cost + (costs.calls or 0)

    def add_declared(self, run: str, figures: dict[str, Any]) -> None:
        """Remember the totals that a run declares."""
        self.add_cost(run, figures.get("cost_usd"), declared=True)
        tokens: dict[str, usage.Number] = {}
        for name in Stated.__struct_fields__:
            number = figures.get(f"{name}_tokens")
            if type(number) is int or (type(number) is float and number.is_integer()):
                tokens[name] = number
        if tokens:
            self._declared[run] = tokens

    def add_parent(self, run: str, parent: str) -> None:
        """Remember which run a run is inside of."""
        self._parents[run] = parent

    def _all_stated(self) -> dict[str, usage.Number]:
        """Return the tokens that calls stated, and those of runs that have none but a total.

        A total counts where no call in the run, or in a run inside it, states tokens, and once
        where a run and one inside it both declare theirs.
        """
        covered = set(self._stating)
        for run in self._stating:
            covered.update(self._above(run))
        whole = dict(self._stated)
        for run, tokens in self._declared.items():
            above = self._above(run)
            if run in covered or any(a in self._declared and a not in covered for a in above):
                continue
            for name, number in tokens.items():
                whole[name] = whole.get(name, 0) + number
        return whole

    def _above(self, run: str) -> list[str]:
        found = [run]
        while (run := self._parents.get(run, "")) and run not in found:
            found.append(run)
        return found[1:]

    def report(self) -> Report:
        """Return what was counted so far."""
        runs = len(self._seen) - ("" in self._seen)
        declared = [
            d for c in self._costs.values() if (d := _either(c.declared, c.calls)) is not None
        ]
        computed = [c.calls for c in self._costs.values() if c.calls is not None]
        skipped = list(self._skipped)
        if self._more_skipped:
            skipped.append(Skipped("", f"and {self._more_skipped} more that are not named here"))
        return Report(
            format=", ".join(sorted(self.formats)) or None,
            runs=runs,
            retries=self._retries(),
            errors=len(self._failed),
            usage_stated=Stated(**{name: _tidy(n) for name, n in self._all_stated().items()}),
            usage=Buckets(**self._buckets),
            cost_usd_declared=float(sum(declared)) if declared else None,
            cost_usd_computed=float(sum(computed)) if computed else None,
            skipped=skipped,
            new=self.new,
            already_there=self.already_there,
            **self._counts,
        )


def _either(first: Decimal | None, second: Decimal | None) -> Decimal | None:
    return second if first is None else first


def decimal(number: Any) -> Decimal | None:
    """Return a finite amount as the decimal number it is written as; None for anything else."""
    if isinstance(number, bool) or not isinstance(number, (int, float, Decimal)):
        return None
    try:
        amount = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _tidy(number: usage.Number) -> usage.Number:
    """Return a count that was stated as a floating-point number as the whole number that it is."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _span_started(tally: Tally, record: SpanStarted) -> None:
    tally.count("spans")
    if record.span_kind == "retrieval":
        tally.count("retrievals")


def _span_ended(tally: Tally, record: SpanEnded) -> None:
    if record.status == "error":
        tally.failed(record)


def _generation(tally: Tally, record: Generation) -> None:
    tally.count("generations")
    if record.status == "error":
        tally.failed(record)
    if record.usage is not None:
        tally.add_usage(record.run, record.usage)
    if record.attempt is not None:
        tally.add_attempt(record.attempt)
    tally.add_cost(record.run, record.cost_usd)


def _tool_call(tally: Tally, record: ToolCall) -> None:
    tally.count("tool_calls")
    if record.status == "error":
        tally.count("tool_errors")
        tally.failed(record)
    if record.retry_count is not None:
        tally.add_tool_retries(record.retry_count)


def _link(tally: Tally, record: Link) -> None:
    if record.link_kind == "retry_of":
        tally.add_retry_link()


def _of_run(tally: Tally, record: RunStarted | Update) -> None:
    declared: Any = (record.attributes or {}).get("declared")
    if record.span is None and isinstance(declared, dict):
        tally.add_declared(record.run, cast("dict[str, Any]", declared))
    if isinstance(record, RunStarted) and record.parent_run:
        tally.add_parent(record.run, record.parent_run)


def _decision(tally: Tally, _record: Decision) -> None:
    tally.count("decisions")


def _score(tally: Tally, _record: Score) -> None:
    tally.count("scores")


_COUNTERS: dict[type[Record], Any] = {
    SpanStarted: _span_started,
    SpanEnded: _span_ended,
    Generation: _generation,
    ToolCall: _tool_call,
    Link: _link,
    RunStarted: _of_run,
    Update: _of_run,
    Decision: _decision,
    Score: _score,
}
