"""Older lines become current ones, one version at a time, without touching the log.

A step takes the plain object of version n and returns that of version n + 1. Adding a format
version means adding one step here and a golden file in `spec/`; every older line then still reads.
Lines of a newer version than ours pass through: what we know of them is read, the rest is kept in
`extra`.

Version 0 is the form of the prototype: `time` as Unix seconds, `run_id` and `span_id`, no `seq`,
and a decision's rejected options as a list of names under `alternatives`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from whence import _clock
from whence.record.base import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable


def to_current(plain: dict[str, Any]) -> dict[str, Any]:
    """Return `plain` in the current format; the object itself if it is current or newer."""
    version = plain.get("v", 0)
    if not isinstance(version, int) or isinstance(version, bool):
        return plain
    while version < FORMAT_VERSION:
        plain = _STEPS[max(version, 0)](plain)
        version = plain["v"]
    return plain


def _from_0(old: dict[str, Any]) -> dict[str, Any]:
    new = {**old, "v": 1}
    new.setdefault("seq", 0)
    if isinstance(old.get("time"), (int, float)):
        seconds = new.pop("time")
        whole = int(
            seconds
        )  # apart, because a float has no room for today's seconds and nanoseconds
        new["ts"] = _clock.format_ns(
            whole * 1_000_000_000 + round((seconds - whole) * 1_000_000_000)
        )
    if "run_id" in old:
        new["run"] = new.pop("run_id")
    if "span_id" in old:
        new["span"] = new.pop("span_id")
    if isinstance(old.get("alternatives"), list):
        chosen = {"name": str(old.get("what")), "chosen": True}
        rejected = ({"name": str(name)} for name in cast("list[Any]", new.pop("alternatives")))
        new["options"] = [chosen, *rejected]
    return new


_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {0: _from_0}
