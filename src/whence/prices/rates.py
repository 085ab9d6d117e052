"""Prices of one model as rates, and what the tokens of a call come to at them.

The names of rates are those of genai-prices: `input_mtok` is US dollars for a million tokens read
at full price, `cache_read_mtok`, `cache_write_mtok`, `cache_write_1h_mtok` and `output_mtok` as
they say, `input_audio_mtok`, `cache_audio_read_mtok`, `output_audio_mtok` and their like for a
modality, `output_reasoning_mtok` for reasoning, `requests_kcount` for a thousand calls and
`web_searches_kcount` for a thousand searches. Tokens for which there is no rate of their own are
charged at the next wider one: cached input as input, audio as text, reasoning as output. A rate may
step up with the size of the input, for all tokens of the call. Source: genai-prices, "units" and
"TieredPrices".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whence.record.generation import Usage

MODALITIES = ("audio", "image", "video")
_MILLION = 1_000_000
_THOUSAND = 1_000


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step of a rate."""

    start: int
    """It holds for calls with more input tokens than these."""
    price: float
    """US dollars for a million tokens."""


class Steps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rate that steps up with the size of the input."""

    base: float
    """US dollars for a million tokens, up to the first step."""
    tiers: list[Tier]
    """The steps, the smallest first."""

    def at(self, input_tokens: int) -> float:
        """Return the rate of a call with so many input tokens."""
        passed = [tier.price for tier in self.tiers if input_tokens > tier.start]
        return passed[-1] if passed else self.base


Rate = float | Steps
Rates = dict[str, Rate]
"""Name of a rate to the rate."""

NAMES = frozenset(
    {
        "input_mtok",
        "output_mtok",
        "cache_read_mtok",
        "cache_write_mtok",
        "cache_write_1h_mtok",
        "output_reasoning_mtok",
        "requests_kcount",
        "web_searches_kcount",
        *(f"input_{one}_mtok" for one in MODALITIES),
        *(f"output_{one}_mtok" for one in MODALITIES),
        *(f"cache_{one}_read_mtok" for one in MODALITIES),
    }
)
"""The rates that are understood; others, such as those for pages or hours, are not."""


def flat(rates: Rates, input_tokens: int) -> dict[str, float]:
    """Return the rates of a call with so many input tokens."""
    return {
        name: rate.at(input_tokens) if isinstance(rate, Steps) else rate
        for name, rate in rates.items()
    }


def cost_usd(rates: Mapping[str, float], usage: Usage, searches: int = 0) -> float:
    """Return what a call costs at flat rates; a bucket that is not stated counts for nothing.

    Args:
        rates: As from `flat`.
        usage: The tokens.
        searches: How many searches of the web the provider states.
    """
    split = usage.modalities or {}
    uncached, read = usage.input_uncached or 0, usage.cache_read or 0
    written, visible = usage.cache_write or 0, usage.output_visible or 0
    input_rate, output_rate = rates.get("input_mtok", 0.0), rates.get("output_mtok", 0.0)
    read_rate = rates.get("cache_read_mtok", input_rate)
    write_rate = rates.get("cache_write_mtok", input_rate)
    total = 0.0
    for one in MODALITIES if split else ():
        sent = split.get(f"input_{one}", 0)
        cached = min(split.get(f"cache_read_{one}", 0), read, sent)
        fresh = min(sent - cached, uncached)
        made = min(split.get(f"output_{one}", 0), visible)
        sent_rate = rates.get(f"input_{one}_mtok", input_rate)
        # Cached audio without a rate of its own is cheaper as cached than as audio.
        total += fresh * sent_rate + cached * rates.get(f"cache_{one}_read_mtok", read_rate)
        total += made * rates.get(f"output_{one}_mtok", output_rate)
        uncached, read, visible = uncached - fresh, read - cached, visible - made
    long_lived = min(split.get("cache_write_1h", 0), written)
    total += uncached * input_rate + read * read_rate + (written - long_lived) * write_rate
    total += long_lived * rates.get("cache_write_1h_mtok", write_rate)
    total += visible * output_rate
    total += (usage.reasoning or 0) * rates.get("output_reasoning_mtok", output_rate)
    extra = rates.get("requests_kcount", 0.0) + searches * rates.get("web_searches_kcount", 0.0)
    return total / _MILLION + extra / _THOUSAND
