"""Every setting: read from the environment in this one place, passed down from here as a struct.

WHENCE_HOME              the home folder; `.whence` in the working directory if unset
WHENCE_DISABLED          `1`, `true`, `yes` or `on` records nothing
WHENCE_DURABILITY        `process`, `group` or `record`
WHENCE_COMPACT_AT_EXIT   `0` leaves archiving to the readers, however much was recorded
WHENCE_PRICES            a price book, which holds before the one of the home
WHENCE_RUN               the run that a program belongs to, as `traceparent` gives it; `whence run`
                         sets it
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from whence.errors import ConfigError

if TYPE_CHECKING:
    # Nothing decodes settings, and importing whence has to be quick.
    from pathlib import Path  # noqa: TC004

Durability = Literal["process", "group", "record"]
DURABILITIES: tuple[Durability, ...] = ("process", "group", "record")
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What capture needs to know."""

    home: Path
    """The home folder. It is made with the first record."""
    enabled: bool = True
    """Whether anything is recorded."""
    durability: Durability = "process"
    """How safe a record is when its call returns."""
    compact_at_exit: bool = True
    """Whether a process that ends with many segments waiting starts a compactor."""


def from_environment() -> Settings:
    """Return the settings that hold when nobody calls `configure`.

    Raises:
        ConfigError: A variable has a value that cannot be used.
    """
    durability = os.environ.get("WHENCE_DURABILITY") or "process"
    return Settings(
        home=home_path(None),
        enabled=not _is_true("WHENCE_DISABLED"),
        durability=check_durability(durability),
        compact_at_exit=_is_true("WHENCE_COMPACT_AT_EXIT", unset=True),
    )


def home_path(home: str | os.PathLike[str] | None) -> Path:
    """Return the absolute path of `home`, or of the default home.

    Raises:
        ConfigError: It is no path, or relative to a folder that is gone, or to the home of an
            unknown user.
    """
    from pathlib import Path  # noqa: PLC0415 - importing whence has to be quick; only recording needs paths

    try:
        chosen = os.fspath(home) if home is not None else os.environ.get("WHENCE_HOME") or ".whence"
    except TypeError as error:
        raise ConfigError(f"home is {home!r}; it has to be the path of a folder") from error
    try:
        return Path(chosen).expanduser().absolute()
    except (OSError, RuntimeError) as error:
        message = f"the home {chosen!r} has no absolute path ({error}); set WHENCE_HOME to one"
        raise ConfigError(message) from error


def check_durability(value: str) -> Durability:
    """Return `value` if it is a durability.

    Raises:
        ConfigError: It is none.
    """
    if value not in DURABILITIES:
        message = f"durability is {value!r}; it has to be one of {', '.join(DURABILITIES)}"
        raise ConfigError(message)
    return value


def check_switch(name: str, value: Any) -> bool:
    """Return `value` if it is a boolean.

    Raises:
        ConfigError: It is none.
    """
    if type(value) is not bool:
        raise ConfigError(f"{name} is {value!r}; it has to be True or False")
    return value


def price_book(chosen: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the path of the price book that was named; None if none was."""
    from pathlib import Path  # noqa: PLC0415 - importing whence has to be quick

    named = chosen if chosen is not None else os.environ.get("WHENCE_PRICES") or None
    return None if named is None else Path(named).expanduser()


def inherited_run() -> str | None:
    """Return the traceparent of the run that this program was started in; None if in none."""
    return os.environ.get("WHENCE_RUN") or None


def for_child(settings: Settings, run: str) -> dict[str, str]:
    """Return the variables with which a program records where this one does, in the run `run`."""
    return {
        "WHENCE_HOME": str(settings.home),
        "WHENCE_DURABILITY": settings.durability,
        "WHENCE_RUN": run,
    }


def _is_true(name: str, *, unset: bool = False) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return unset
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    message = f"{name} is {value!r}; set it to 1 or 0"
    raise ConfigError(message)
