"""The prices of genai-prices, as the version of the package that is installed has them.

Comes in: provider, model, time and what was special about the call. Goes out: rates with the day
from which they hold. The package is imported when the first price is asked for, and is never let
fetch newer ones: the same version gives the same costs.
"""

from __future__ import annotations

import datetime as dt
import functools
from decimal import Decimal
from typing import Any, NamedTuple, cast

from whence import _extras
from whence.prices.rates import NAMES, Rates, Steps, Tier

_NAMES = {
    "google-vertex": "google",
    "bedrock": "aws",
    "aws.bedrock": "aws",
    "azure-openai": "azure",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "azure.ai.openai": "azure",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
}
"""Providers that the package knows by another name."""
_SECOND_NS = 1_000_000_000
Context = tuple[tuple[str, str], ...]
"""What was special about a call, as pairs: `(("processing", "batch"),)`."""


class Listed(NamedTuple):
    """A price of the table."""

    provider: str
    model: str
    rates: Rates
    since: str | None
    """The day from which it holds; None if the table names none."""
    fits: bool
    """Whether the table has a price for what was special about the call."""
    left_out: tuple[str, ...]
    """Prices of it that are not understood."""


def version() -> str:
    """Return the name and version of the table.

    Raises:
        MissingExtraError: genai-prices is not installed.
    """
    return f"genai-prices {_package().__version__}"


def _package() -> Any:
    return _extras.require("genai_prices", "prices", "computing what calls cost")


def find(provider: str | None, model: str, when_ns: int, context: Context = ()) -> Listed | None:
    """Return the price of a model at a time; None if the table has none.

    Raises:
        MissingExtraError: genai-prices is not installed.
    """
    found = _model(provider, model)
    if found is None:
        return None
    provider_id, info, is_own = found
    when = dt.datetime.fromtimestamp(when_ns / _SECOND_NS, dt.UTC)
    price, since = _standard(info, when)
    special = _special(info, when, context) if context and is_own else None
    if special is not None:
        price, since = {**price, **special[0]}, special[1] or since
    rates, left_out = _rates(price)
    return Listed(provider_id, info.id, rates, since, not context or special is not None, left_out)


def _special(
    info: Any, when: dt.datetime, context: Context
) -> tuple[dict[str, Any], str | None] | None:
    """Return the prices that hold for what was special about a call; None if there are none.

    Of several that hold, the first has precedence, price by price.
    """
    stated = dict(context)
    overrides: dict[str, Any] = {}
    days: list[str] = []
    found = False
    for variant in info.price_variants or ():
        active = variant.constraint is None or variant.constraint.active(when)
        if active and all(stated.get(key) == value for key, value in variant.when.items()):
            found = True
            for key, price in _prices_of(variant.prices).items():
                if price is not None:
                    overrides.setdefault(key, price)
            days += [day for day in [_since(variant.constraint)] if day]
    return (overrides, max(days, default=None)) if found else None


@functools.cache
def _model(provider: str | None, model: str) -> tuple[str, Any, bool] | None:
    """Return provider and model as the table has them, and whether the model is the provider's own.

    Where the provider is not known, the model tells it.
    """
    _package()
    from genai_prices import data_snapshot  # noqa: PLC0415 - an optional package

    snapshot: Any = data_snapshot.get_snapshot()
    known = _NAMES.get((provider or "").lower(), provider)
    for one in (known, None) if known else (None,):
        try:
            found, info = snapshot.find_provider_model(model, None, one, None)
        except LookupError:
            continue
        return found.id, info, any(info is own for own in found.models)
    return None


def _standard(info: Any, when: dt.datetime) -> tuple[dict[str, Any], str | None]:
    """Return the prices of a model at a time, and since when.

    Of those that hold the last has precedence; where none does, the first is taken.
    """
    prices: object = info.prices
    if not isinstance(prices, list):
        return _prices_of(prices), None
    listed = cast("list[Any]", prices)
    for one in reversed(listed):
        if one.constraint is None or one.constraint.active(when):
            return _prices_of(one.prices), _since(one.constraint)
    return _prices_of(listed[0].prices), _since(listed[0].constraint)


def _since(constraint: Any) -> str | None:
    day = getattr(constraint, "start_date", None)
    return day.isoformat() if isinstance(day, dt.date) else None


def _prices_of(price: Any) -> dict[str, Any]:
    fields = cast("dict[str, Any]", vars(price))
    return {key: value for key, value in fields.items() if not key.startswith("_")}


def _rates(prices: dict[str, Any]) -> tuple[Rates, tuple[str, ...]]:
    rates: Rates = {}
    left_out: list[str] = []
    for name, price in prices.items():
        if price is None:
            continue
        if name not in NAMES:
            left_out.append(name)
        elif isinstance(price, Decimal):
            rates[name] = float(price)
        else:
            tiers = [Tier(tier.start, float(tier.price)) for tier in price.tiers]
            rates[name] = Steps(float(price.base), tiers)
    return rates, tuple(sorted(left_out))
