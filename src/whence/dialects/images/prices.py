"""What an image costs: a table of prices with the dates from which they hold, and one formula.

Comes in: a model, a day, and how much went in and came out. Goes out: the price that held on that
day and an estimate in US dollars. The figures are the estimates of the origin system of document 1
(Nano Banana provenance); they are no invoice, and a list of your own takes their place where a
client is made. Text that the model writes beside an image is priced in the table and not charged
by the formula, as in the origin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

FALLBACK_MODEL = "gemini-3-pro-image-preview"
"""The model whose price stands in for one of Google's that is not in the table."""
_DIGITS = 6


class ImagePrice(msgspec.Struct, frozen=True, kw_only=True):
    """What one model charges from one day on."""

    model: str
    """The model, without a path in front of it."""
    effective_date: str
    """The first day on which it holds, `YYYY-MM-DD`, UTC."""
    input_usd_per_1k_tokens: float
    """US dollars for 1,000 tokens of text that go in."""
    output_usd_per_1k_tokens: float
    """US dollars for 1,000 tokens of text that come out; not charged by `estimate_cost_usd`."""
    usd_per_image_in: float
    """US dollars for one image that goes in."""
    usd_per_image_out: float
    """US dollars for one image that comes out."""


PRICES: tuple[ImagePrice, ...] = (
    ImagePrice(
        model="gemini-3-pro-image-preview",
        effective_date="2026-01-01",
        input_usd_per_1k_tokens=0.00125,
        output_usd_per_1k_tokens=0.005,
        usd_per_image_in=0.00265,
        usd_per_image_out=0.04,
    ),
    ImagePrice(
        model="gemini-2.5-flash",
        effective_date="2026-01-01",
        input_usd_per_1k_tokens=0.000075,
        output_usd_per_1k_tokens=0.0003,
        usd_per_image_in=0.001,
        usd_per_image_out=0.02,
    ),
)
"""The prices of document 1's origin, which states them as of January 2026."""


def name_of(model: str) -> str:
    """Return a model's name without a path in front of it."""
    return model.rpartition("/")[2]


def find_price(
    model: str,
    day: str,
    prices: Iterable[ImagePrice] = PRICES,
    *,
    fallback: str | None = FALLBACK_MODEL,
) -> ImagePrice | None:
    """Return the price of `model` that held on `day` (`YYYY-MM-DD`).

    Before the first price of a model its first one is taken; a model that is not in the table has
    the price of `fallback`. The `model` of the answer says which was taken.

    Returns:
        The price; None if the table has neither.
    """
    table = sorted(prices, key=lambda price: price.effective_date)
    for wanted in (name_of(model), fallback):
        own = [price for price in table if price.model == wanted]
        if own:
            return next((one for one in reversed(own) if one.effective_date <= day), own[0])
    return None


def estimate_cost_usd(
    price: ImagePrice, *, input_tokens: int, images_in: int, images_out: int = 1
) -> float:
    """Return the estimate in US dollars, to six decimal places."""
    text = input_tokens / 1000 * price.input_usd_per_1k_tokens
    images = images_in * price.usd_per_image_in + images_out * price.usd_per_image_out
    return round(text + images, _DIGITS)
