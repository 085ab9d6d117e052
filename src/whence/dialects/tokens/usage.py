"""What one request to a model used and cost, and whom that is charged to.

Comes in: what a program says about a call that was made. Goes out: a frozen `TokenUsage`. A cost
that nobody stated is computed from a price where the model has one, and is None elsewhere, never
zero. Source: document 2 (token provenance).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from whence.dialects.tokens import numbers

USD = "USD"
_UNIT = 1000


class Price(msgspec.Struct, frozen=True):
    """What a model costs, in US dollars for a thousand tokens."""

    prompt: Decimal
    """For what is sent."""
    completion: Decimal
    """For what comes back."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """Return what a call costs, in US dollars."""
        total = self.prompt * prompt_tokens + self.completion * completion_tokens
        return total / _UNIT


Prices = Mapping[str, Mapping[str, Price]]
"""Provider to model to price."""


def _price(prompt: str, completion: str) -> Price:
    return Price(Decimal(prompt), Decimal(completion))


PRICES: Prices = {
    "openai": {
        "gpt-4": _price("0.03", "0.06"),
        "gpt-4-32k": _price("0.06", "0.12"),
        "gpt-3.5-turbo": _price("0.0015", "0.002"),
    },
    "anthropic": {
        "claude-3-opus": _price("0.015", "0.075"),
        "claude-3-sonnet": _price("0.003", "0.015"),
        "claude-3-haiku": _price("0.00025", "0.00125"),
    },
    "local": {
        "llama-2-70b": _price("0", "0"),
        "mistral-7b": _price("0", "0"),
    },
}
"""The prices that the document's system knows. Pass your own to `TokenManager(prices=…)`."""


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and cost of one request to a model."""

    id: str = msgspec.field(default_factory=lambda: numbers.new_id("usage"))
    """Its own id, `usage_<n>`."""
    timestamp: dt.datetime = msgspec.field(default_factory=numbers.now)
    """When the tokens were used."""
    provider: str
    """Who served the model."""
    model: str
    """The model."""
    prompt_tokens: int
    """Tokens sent."""
    completion_tokens: int
    """Tokens that came back."""
    total_tokens: int | None = None
    """Their sum unless stated."""
    cost: Decimal | None = None
    """What it cost, in `currency`; None when unknown. Any number or its text is taken."""
    currency: str = USD
    """Currency of the cost."""
    user_id: str | None = None
    """Who it was for."""
    project_id: str | None = None
    """Which project it was for."""
    team_id: str | None = None
    """Which team it was for."""
    feature: str | None = None
    """Which feature it was for."""
    request_id: str = msgspec.field(default_factory=lambda: numbers.new_id("usage"))
    """Id of the request."""
    metadata: dict[str, Any] = {}
    """Whatever else is known."""

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr  # the record is frozen from here on
        if self.total_tokens is None:
            put(self, "total_tokens", self.prompt_tokens + self.completion_tokens)
        put(self, "cost", numbers.as_money(self.cost))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data, the cost as a number, the time as a text."""
        made = {name: getattr(self, name) for name in self.__struct_fields__}
        cost = None if self.cost is None else float(self.cost)
        return {**made, "cost": cost, "timestamp": numbers.as_text(self.timestamp)}

    def validate(self) -> list[str]:
        """Return what is wrong with it, a sentence each; nothing if it is valid."""
        errors = [
            f"{name} must be non-negative"
            for name in ("prompt_tokens", "completion_tokens")
            if getattr(self, name) < 0
        ]
        if self.total_tokens != self.prompt_tokens + self.completion_tokens:
            errors.append("total_tokens mismatch")
        if self.cost is not None and self.cost < 0:
            errors.append("cost must be non-negative")
        return [
            *errors,
            *(f"{name} is required" for name in ("provider", "model") if not getattr(self, name)),
        ]

    @property
    def cost_usd(self) -> float | None:
        """What it cost in US dollars; None when that is unknown."""
        return float(self.cost) if self.cost is not None and self.currency == USD else None

    def attribution(self) -> dict[str, str]:
        """Return whom it is charged to, with a name where nobody was named."""
        return {
            "user": self.user_id or "anonymous",
            "project": self.project_id or "default",
            "team": self.team_id or "default",
            "feature": self.feature or "general",
        }

    def efficiency_ratio(self) -> float | None:
        """Return tokens for one unit of money; None if it cost nothing or nobody knows what."""
        if not self.cost or self.total_tokens is None:
            return None
        return float(self.total_tokens / self.cost)


def find_price(prices: Prices, provider: str, model: str) -> Price | None:
    """Return the price of a model, None if it has none."""
    return prices.get(provider, {}).get(model)
