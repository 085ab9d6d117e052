"""The user's own prices: a file of entries that hold before those of any table.

Comes in: `prices.yaml`, `prices.yml` or `prices.toml` of the home, or a file that is named. Goes
out: entries, checked. A file that is wrong is refused whole, with the entry and what is wrong in
it, because a price that is silently left out would be a wrong cost.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import math
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.errors import ConfigError
from whence.prices.rates import NAMES, Rates, Steps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES = ("prices.yaml", "prices.yml", "prices.toml")
"""What is looked for in a home, in this order."""
_ABOUT = frozenset({"model", "provider", "from", "note"})


class Entry(msgspec.Struct, frozen=True):
    """The prices of the models that a pattern names."""

    model: str
    """The model, `*` and `?` standing for any characters; case does not matter."""
    provider: str | None
    """The provider as records name it; None for any."""
    since: dt.date | None
    """The day in UTC from which on it holds; None for ever."""
    rates: Rates
    """The prices."""
    note: str | None = None
    """What the user says about it."""

    def names(self, provider: str | None, model: str) -> bool:
        """Whether the entry is about a model of a provider."""
        if self.provider is not None and self.provider.lower() != (provider or "").lower():
            return False
        return fnmatch.fnmatchcase(model.lower(), self.model.lower())


class Book(msgspec.Struct, frozen=True):
    """The entries of one file, in its order."""

    path: str
    entries: list[Entry]

    def find(self, provider: str | None, model: str, day: dt.date) -> Entry | None:
        """Return the entry that holds for a model on a day.

        Of those that do, the one that began last; of those that began on the same day, the last.
        """
        holding = [
            entry
            for entry in self.entries
            if (entry.since is None or entry.since <= day) and entry.names(provider, model)
        ]
        return max(enumerate(holding), key=_age, default=(0, None))[1]


def _age(item: tuple[int, Entry | None]) -> tuple[dt.date, int]:
    place, entry = item
    return ((entry.since if entry is not None else None) or dt.date.min, place)


def find_file(folder: Path) -> Path | None:
    """Return the price book of a home, if it has one."""
    return next((path for name in FILES if (path := folder / name).is_file()), None)


def read(path: Path) -> Book:
    """Return the price book in a file.

    Raises:
        ConfigError: It cannot be read, or an entry is wrong.
    """
    try:
        content = path.read_bytes()
        decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.yaml.decode
        said = decode(content)
    except ImportError as error:
        raise ConfigError(f"{path} needs PyYAML: pip install 'whence[cli]'") from error
    except (OSError, UnicodeError, msgspec.DecodeError) as error:
        raise ConfigError(f"the price book {path} cannot be read: {error}") from error
    listed = cast("Mapping[str, Any]", said).get("prices") if isinstance(said, dict) else None
    if not isinstance(listed, list):
        raise ConfigError(f"the price book {path} has no list `prices`")
    items = cast("list[Any]", listed)
    return Book(str(path), [_entry(item, f"{path}, entry {n}") for n, item in enumerate(items, 1)])


def _entry(said: Any, where: str) -> Entry:
    if not isinstance(said, dict):
        raise ConfigError(f"{where}: it is not a mapping")
    given = cast("dict[str, Any]", said)
    unknown = sorted(str(key) for key in given if key not in _ABOUT and key not in NAMES)
    if unknown:
        raise ConfigError(
            f"{where}: {', '.join(unknown)} is no price; see docs/reference/prices.md"
        )
    model, provider, note = given.get("model"), given.get("provider"), given.get("note")
    if not isinstance(model, str) or not model:
        raise ConfigError(f"{where}: `model` has to name a model")
    for name, value in (("provider", provider), ("note", note)):
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{where}: `{name}` has to be a text, not {value!r}")
    rates: Rates = {name: _rate(given[name], where, name) for name in given if name in NAMES}
    if not rates:
        raise ConfigError(f"{where}: it states no price")
    return Entry(model, provider, _day(given.get("from"), where), rates, note)


def _rate(said: Any, where: str, name: str) -> float | Steps:
    if isinstance(said, dict):
        try:
            steps = msgspec.convert(said, Steps)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}: `{name}`: {error}") from error
        starts = [tier.start for tier in steps.tiers]
        if starts != sorted(set(starts)):
            raise ConfigError(f"{where}: the tiers of `{name}` have to go up")
        for price in (steps.base, *(tier.price for tier in steps.tiers)):
            _number(price, where, name)
        return steps
    return _number(said, where, name)


def _number(said: Any, where: str, name: str) -> float:
    if isinstance(said, bool) or not isinstance(said, (int, float)):
        raise ConfigError(f"{where}: `{name}` has to be a number of US dollars, not {said!r}")
    price = float(said)
    if not math.isfinite(price) or price < 0:
        raise ConfigError(f"{where}: `{name}` is {said!r}; a price is 0 or more")
    return price


def _day(said: Any, where: str) -> dt.date | None:
    if said is None:
        return None
    if isinstance(said, dt.datetime):
        said = said.date()
    if isinstance(said, dt.date):
        return said
    try:
        return dt.date.fromisoformat(str(said))
    except ValueError as error:
        raise ConfigError(f"{where}: `from` has to be a day such as 2026-01-31") from error
