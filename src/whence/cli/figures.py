"""Figures that only the command line shows: local times, sizes, tokens, shares.

JSON output never passes through here.

Each function takes exact values and returns short texts with their unit, or `-` for a value nobody
stated. Durations, money and plain numbers are `whence.query.text`'s.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from whence import _clock
from whence.query import text

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE = "-"
counted = text.counted
_EXACT_TOKENS = 10_000
_MILLION_TOKENS = 999_500
_THOUSAND = 1000.0
_WHOLE_PERCENT = 10


def times(values_ns: Sequence[int | None]) -> tuple[str, list[str]]:
    """Return the name of the local time zone and the values in it, to the second.

    Where the values fall into several offsets (a change of the clocks), the name is empty and each
    value carries its own.
    """
    local = [
        None
        if value is None or not _clock.is_dated(value)
        else time.localtime(value // 1_000_000_000)
        for value in values_ns
    ]
    zones = {moment.tm_zone for moment in local if moment is not None}
    zone = zones.pop() if len(zones) == 1 else ""
    form = "%Y-%m-%d %H:%M:%S" if zone else "%Y-%m-%d %H:%M:%S %Z"
    return zone, [NONE if moment is None else time.strftime(form, moment) for moment in local]


def clock(value_ns: int) -> str:
    """Return the local time of day to the millisecond."""
    seconds, rest_ns = divmod(value_ns, 1_000_000_000)
    return time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{rest_ns // 1_000_000:03d}"


def zone() -> str:
    """Return the name of the local time zone now."""
    return time.strftime("%Z")


def tokens(value: float | None) -> str:
    """Return a token count: `950`, `12.3k`, `4.57M`."""
    if value is None:
        return NONE
    if value < _EXACT_TOKENS:
        return f"{value:,.0f}"
    return f"{value / 1000:.1f}k" if value < _MILLION_TOKENS else f"{value / 1e6:.2f}M"


def size(value_bytes: float | None) -> str:
    """Return a size in powers of 1000: `900 B`, `1.4 kB`, `64.0 MB`."""
    if value_bytes is None:
        return NONE
    value = float(value_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < _THOUSAND:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _THOUSAND
    return f"{value:,.1f} TB"


def share(value: float | None) -> str:
    """Return a share of one in percent: `83 %`, `0.4 %`."""
    if value is None:
        return NONE
    percent = value * 100
    return f"{percent:.1f} %" if 0 < percent < _WHOLE_PERCENT else f"{percent:.0f} %"
