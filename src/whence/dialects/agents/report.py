"""A performance report over all sessions: how agents do, what is slow, what is asked again.

Comes in: sessions to ask, see `queries`. Goes out: a `Report`, as data or as markdown. Recorded
text is escaped, so that nothing of it becomes markup.

Source: document 3 (hybrid sessions), next steps.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.query import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.dialects.agents.queries import Answer, SessionQueries

_WIDTH = 80
_MARKUP = re.compile(r"([\\`*\[\]<>|#]|(?<!\w)_|_(?!\w))")


class Section(msgspec.Struct, frozen=True):
    """One table of a report."""

    name: str
    """What it is called as data."""
    title: str
    """What it is called for people."""
    rows: list[dict[str, Any]]
    """Its rows."""


class Report(msgspec.Struct, frozen=True):
    """What all sessions have to say."""

    days: float | None
    """How far it looks back; null for all time."""
    totals: dict[str, int]
    """Rows of the six tables, of all time."""
    sections: list[Section]
    """Its tables, empty ones included."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data, a key for each section."""
        made: dict[str, Any] = {"days": self.days, "totals": self.totals}
        return made | {section.name: plain(section.rows) for section in self.sections}

    def to_markdown(self) -> str:
        """Return the report for people."""
        window = "all time" if self.days is None else f"the last {self.days:g} days"
        counts = [
            f"- {table.removeprefix('provenance_').replace('_', ' ')}: {count:,}"
            for table, count in self.totals.items()
        ]
        lines = ["# Agent performance", "", f"Over {window}."]
        if counts:
            lines += ["", "Rows in all:", "", *counts]
        for section in self.sections:
            lines += ["", f"## {section.title}", "", *_table(section.rows)]
        return "\n".join(lines) + "\n"


def report(queries: SessionQueries, days: float | None = None) -> Report:
    """Return the report over sessions.

    Args:
        queries: The sessions.
        days: How far to look back; None for all time.

    Raises:
        StoreError: They cannot be read.
        ConfigError: `days` is no number of days.
    """
    asked: list[tuple[str, str, Callable[..., Answer]]] = [
        ("agents", "Agents", queries.agent_statistics),
        ("tools", "Tools", queries.tool_statistics),
        ("decisions", "Decision patterns", queries.decision_patterns),
        ("bottlenecks", "Where the time goes", queries.bottlenecks),
        ("slowest_sessions", "Slowest sessions", queries.slowest_sessions),
        ("failures", "Failures", queries.failures),
        ("repeated_queries", "What is asked again", queries.repeated_queries),
        ("entities", "Entities by sessions", queries.entity_usage),
        ("days_of_agents", "Day by day (UTC)", queries.performance_over_time),
    ]
    sections = [Section(name, title, ask(days=days)) for name, title, ask in asked]
    return Report(days, queries.totals(), sections)


def plain(value: Any) -> Any:
    """Return an answer as JSON-ready data: times in ISO 8601, UTC."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="microseconds") + "Z"
    return value.isoformat() if isinstance(value, dt.date) else value


def _table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["none"]
    names = [name for name in rows[0] if name != "queries"]
    lines = [
        f"| {' | '.join(name.replace('_', ' ') for name in names)} |",
        f"|{'|'.join('---' for _ in names)}|",
    ]
    return lines + [f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in rows]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}".removesuffix(".00")
    if isinstance(value, list):
        value = ", ".join(str(item) for item in cast("list[Any]", value))
    if isinstance(value, dt.datetime):
        value = value.isoformat(" ", "seconds")
    elif isinstance(value, dt.date):
        value = value.isoformat()
    return _MARKUP.sub(r"\\\1", text.printable(value, _WIDTH))
