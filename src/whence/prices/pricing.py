"""What one call costs, with the price that says so, or why nobody can tell.

The user's price book is asked first, then the table. A cost is for the tokens that the provider
stated: where a direction that has a price states none, there is no cost, because a sum with a hole
in it would pass for the whole.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.errors import ConfigError, MissingExtraError
from whence.prices import book as books
from whence.prices import rates, table
from whence.prices.rates import Rates
from whence.record import usage as usage_of
from whence.record.generation import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from whence.prices.book import Book
    from whence.prices.table import Context

_STANDARD = frozenset({"", "default", "standard", "auto", "on_demand", "standard_only"})
_WITHOUT_OUTPUT = frozenset({"embeddings", "moderation"})
_DAY_NS = 86_400_000_000_000
NO_TOKENS = "no tokens are stated"
NO_MODEL = "no model is named"


class Asked(msgspec.Struct, frozen=True):
    """What is known of a call that is to be priced."""

    usage: Usage | None
    """Its tokens."""
    provider: str | None
    """Who served it."""
    models: tuple[str, ...]
    """The model that answered, and the model that was asked for."""
    when_ns: int
    """When it was made, Unix nanoseconds."""
    operation: str | None = None
    """What was done."""
    tier: str | None = None
    """The service tier that the provider states: `flex`, `priority`, `batch`."""
    fast: bool = False
    """Whether the provider's fast mode was asked for."""


class Cost(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a call costs by a price."""

    cost_usd: float | None = None
    """US dollars; null if it cannot be told."""
    price: dict[str, Any] | None = None
    """The rates that were used, whose they are and from which day they hold."""
    note: str | None = None
    """Why there is no cost, or what is not in it."""


class Found(msgspec.Struct, frozen=True):
    """A price that was looked up."""

    rates: Rates
    about: dict[str, Any]
    """Whose price it is, and from which day it holds."""
    note: str | None = None
    """What does not fit."""
    flat: dict[str, float] | None = None
    """The rates, where they are the same for calls of any size."""
    price: dict[str, Any] | None = None
    """What is told of the price, where that is the same for calls of any size."""


_NO_TOKENS = Cost(note=NO_TOKENS)


class Prices:
    """The prices that hold: a book, if there is one, before the table.

    Args:
        book: The user's prices.
    """

    def __init__(self, book: Book | None = None) -> None:
        self._book = book
        self._found: dict[Any, Found | str] = {}

    def cost(self, asked: Asked) -> Cost:
        """Return what a call costs."""
        usage = asked.usage
        if usage is None:
            return _NO_TOKENS
        sent, made = usage_of.input_tokens(usage), usage_of.output_tokens(usage)
        if sent is None and made is None:
            note = usage_of.note_on(usage)
            return _NO_TOKENS if note is None else Cost(note=note)
        if not asked.models:
            return Cost(note=NO_MODEL)
        found = self._find(asked)
        if isinstance(found, str):
            return Cost(note=found)
        missing = _missing(found.rates, asked.operation, sent, made)
        if missing is not None:
            return Cost(note=missing)
        flat, price = found.flat, found.price
        if flat is None or price is None:  # the price depends on the size of the call
            flat = rates.flat(found.rates, sent or 0)
            price = {**flat, **found.about}
        cost = rates.cost_usd(flat, usage, _searches(usage))
        beside = _beside(usage)
        note = f"{found.note}; {beside}" if found.note and beside else found.note or beside
        return Cost(cost, price, note)

    def _find(self, asked: Asked) -> Found | str:
        """Return the price of a call; or why there is none."""
        # Some prices change with the hour, so that the answer holds for this minute alone.
        minute = asked.when_ns // 60_000_000_000
        key = (asked.provider, asked.models, asked.tier, asked.fast, minute)
        found = self._found.get(key)
        if found is None:
            if len(self._found) > 100_000:  # noqa: PLR2004 - a few dozen megabytes
                self._found.clear()
            found = self._found[key] = self._look_up(asked)
        return found

    def _look_up(self, asked: Asked) -> Found | str:
        day = dt.date.fromordinal(719_163 + asked.when_ns // _DAY_NS)
        book = self._book
        if book is not None:
            entries = (book.find(asked.provider, model, day) for model in asked.models)
            entry = next((one for one in entries if one is not None), None)
            if entry is not None:
                about = {"model": entry.model, "provider": entry.provider, "table": book.path}
                return _made(entry.rates, about, entry.since and entry.since.isoformat(), None)
        context = _context(asked)
        try:
            for model in asked.models:
                listed = table.find(asked.provider, model, asked.when_ns, context)
                if listed is not None:
                    return _listed(listed, asked, context)
        except MissingExtraError as error:
            return str(error)
        named = f" of {asked.provider}" if asked.provider else ""
        return f"no price is known for the model {asked.models[-1]}{named}"


def _listed(listed: table.Listed, asked: Asked, context: Context) -> Found | str:
    if not listed.rates:
        return f"the price of {listed.model} is not by tokens: {', '.join(listed.left_out)}"
    about: dict[str, Any] = {
        "model": listed.model,
        "provider": listed.provider,
        "table": table.version(),
    }
    note = None
    if not listed.fits:
        special = "fast mode" if asked.fast else asked.tier
        note = f"no price is known for {special}; this is the standard price"
    elif context:
        about["context"] = dict(context)
    return _made(listed.rates, about, listed.since, note)


def _made(prices: Rates, about: Mapping[str, Any], since: str | None, note: str | None) -> Found:
    known = {key: value for key, value in about.items() if value is not None}
    told = {**known, "effective_from": since}
    if any(isinstance(rate, rates.Steps) for rate in prices.values()):
        return Found(prices, told, note)
    flat = rates.flat(prices, 0)
    return Found(prices, told, note, flat, {**flat, **told})


def _context(asked: Asked) -> Context:
    tier = (asked.tier or "").lower()
    if tier == "batch":
        return (("processing", "batch"),)
    if asked.fast:
        return (("speed", "fast"),)
    return () if tier in _STANDARD else (("service_tier", tier),)


def _missing(
    prices: Rates, operation: str | None, sent: int | None, made: int | None
) -> str | None:
    """Return which tokens have a price and are not stated; None if none."""
    if sent is None and "input_mtok" in prices:
        return "its input tokens are not stated"
    if made is None and "output_mtok" in prices and operation not in _WITHOUT_OUTPUT:
        return "its output tokens are not stated"
    return None


def _searches(usage: Usage) -> int:
    """Return how many searches of the web the provider states to have made for a call."""
    tools = (usage.stated or {}).get("server_tool_use")
    count = cast("dict[str, Any]", tools).get("web_search_requests") if _is(tools, dict) else 0
    return count if type(count) is int and count > 0 else 0


def _beside(usage: Usage) -> str | None:
    """Return what a provider did beside, whose tokens are not in the counts of the call."""
    steps = (usage.stated or {}).get("iterations")
    for step in cast("list[Any]", steps) if _is(steps, list) else ():
        if _is(step, dict) and cast("dict[str, Any]", step).get("type") == "advisor_message":
            return "an advisor model was asked too, whose tokens are not in this cost"
    return None


def _is(value: object, kind: type[Any]) -> bool:
    return isinstance(value, kind)


def load(home: Path | None, chosen: Path | None = None) -> Prices:
    """Return the prices for a home.

    Args:
        home: The home, whose price book holds if no other is chosen; None for none.
        chosen: A price book.

    Raises:
        ConfigError: The book cannot be read, or an entry of it is wrong.
    """
    if chosen is not None and not chosen.is_file():
        raise ConfigError(f"there is no price book at {chosen}")
    path = chosen or (books.find_file(home) if home is not None else None)
    return Prices(books.read(path) if path is not None else None)
