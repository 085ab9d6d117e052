"""A sum of money that may be spent, and what was.

A budget has a lifetime, so unlike records it changes: `add_usage` counts what was spent already and
never refuses, `spend` refuses what would be too much. Source: document 2 (token provenance), budget
module.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

from whence.dialects.tokens import numbers
from whence.dialects.tokens.usage import USD, TokenUsage
from whence.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

Scope = Literal["global", "user", "project", "team"]
_SCOPES = ("global", "user", "project", "team")
_PERCENT = 100


class Budget:
    """Money for everything (`global`) or for one user, project or team.

    Args:
        limit: How much may be spent.
        name: What people call it.
        type: Whom it is for.
        entity_id: Which user, project or team; None for a global budget.
        currency: Currency of the limit; costs in another one are not counted.
        spent: What has been spent before.
        alert_thresholds: Percentages of the limit at which `alerts` gains an entry.
        active: Whether costs are counted.
        id: Its own id, `budget_<n>` if not given.

    Raises:
        ConfigError: The limit or the sum spent is no amount of money, or there is no such type.
    """

    def __init__(
        self,
        limit: Decimal | float | str,
        *,
        name: str = "",
        type: Scope = "global",  # noqa: A002 - the document's word
        entity_id: str | None = None,
        currency: str = USD,
        spent: Decimal | float | str = 0,
        alert_thresholds: Sequence[float] = (50, 80, 90),
        active: bool = True,
        id: str | None = None,  # noqa: A002 - the document's word
    ) -> None:
        if type not in _SCOPES:
            raise ConfigError(f"type is {type!r}; it has to be one of {', '.join(_SCOPES)}")
        self.id = id or numbers.new_id("budget")
        self.name = name
        self.type: Scope = type
        self.entity_id = entity_id
        self.currency = currency
        self.limit = _amount("limit", limit)
        self.spent = _amount("spent", spent)
        self.alert_thresholds = tuple(sorted(alert_thresholds))
        self.alerts: list[float] = []
        self.active = active
        self._lock = threading.Lock()

    @property
    def remaining(self) -> Decimal:
        """What is left; below zero when more was spent than was allowed."""
        return self.limit - self.spent

    @property
    def exceeded(self) -> bool:
        """Whether more was spent than was allowed."""
        return self.spent > self.limit

    @property
    def percentage_used(self) -> float:
        """Percentage of the limit that was spent; 0 for a limit of zero."""
        return float(self.spent * _PERCENT / self.limit) if self.limit else 0.0

    def add_usage(self, amount: Decimal | float | str | TokenUsage | None) -> Budget:
        """Count what was spent, however much it is.

        Args:
            amount: What was spent, or the usage that cost it; an unknown cost, None, changes
                nothing.

        Returns:
            The budget itself.

        Raises:
            ConfigError: It is no amount of money.
        """
        if isinstance(amount, TokenUsage):
            amount = amount.cost
        if amount is not None:
            self._add(_amount("amount", amount))
        return self

    def spend(self, amount: Decimal | float | str) -> bool:
        """Count an amount if it is still allowed.

        Returns:
            Whether it was.

        Raises:
            ConfigError: It is no amount of money.
        """
        return self._add(_amount("amount", amount), enforce=True)

    def would_exceed(self, amount: Decimal | float | str) -> bool:
        """Return whether spending an amount would be more than is allowed.

        Raises:
            ConfigError: It is no amount of money.
        """
        return self.spent + _amount("amount", amount) > self.limit

    def _add(self, amount: Decimal, *, enforce: bool = False) -> bool:
        with self._lock:
            if enforce and self.spent + amount > self.limit:
                return False
            self.spent += amount
            used = self.percentage_used
            self.alerts += [
                one for one in self.alert_thresholds if one <= used and one not in self.alerts
            ]
            return True

    def applies_to(self, usage: TokenUsage) -> bool:
        """Whether a usage is to be counted."""
        if not self.active or usage.currency != self.currency:
            return False
        if self.type == "global":
            return True
        return self.entity_id is not None and self.entity_id == getattr(usage, f"{self.type}_id")

    def to_dict(self) -> dict[str, Any]:
        """Return where the budget stands as JSON-ready data, amounts as texts."""
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "entity_id": self.entity_id,
            "currency": self.currency,
            "limit": str(self.limit),
            "spent": str(self.spent),
            "remaining": str(self.remaining),
            "percentage_used": self.percentage_used,
            "exceeded": self.exceeded,
            "alerts": list(self.alerts),
            "active": self.active,
        }


def _amount(name: str, value: Any) -> Decimal:
    amount = numbers.as_money(value)
    if amount is None or amount < 0:
        raise ConfigError(f"{name} is {value!r}; give an amount of money that is not negative")
    return amount
