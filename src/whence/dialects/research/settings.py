"""Where the research dialect puts its files and rows, for this process.

`configure` may be called at any time and holds for traces that end afterwards. Whether anything is
recorded, and for which projects, is the business of `whence.configure`.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from whence.errors import ConfigError

_SCHEMES = ("postgresql://", "postgres://")


class Settings(msgspec.Struct, frozen=True):
    """What the dialect needs to know."""

    root: str = "brain"
    """The folder that holds `projects/`; relative to the working directory unless absolute."""
    postgres: str | None = None
    """The database that holds the table `traces`; None for the home itself."""
    check_flags: bool = False
    """Whether each trace that ends is checked for patterns at once."""
    connect_timeout_s: float = 3.0
    """How long to wait for the database."""


class _Held:
    """The settings that hold now. There is one, `_held`."""

    settings = Settings()


_held = _Held()


def configure(
    *,
    root: str | os.PathLike[str] = "brain",
    postgres: str | None = None,
    check_flags: bool = False,
    connect_timeout_s: float = 3.0,
) -> None:
    """Set where trace files and rows go.

    Args:
        root: The folder that holds `projects/`: files are at
            `{root}/projects/{project}/_traces/{trace_id}.json`.
        postgres: Address of a database, `postgresql://…`, whose table `traces` gets a row a trace
            and answers the queries. None: the rows follow from the log, nothing else is needed.
        check_flags: True calls `check_calibration_flags` for each trace that ends, which takes a
            question to the store. False leaves it to the pipeline.
        connect_timeout_s: Seconds to wait for the database before the row is given up.

    Raises:
        ConfigError: A value cannot be used.
    """
    address = None if postgres is None else str(postgres)
    if address is not None and not address.startswith(_SCHEMES):
        # Without the address itself, which may hold a password.
        raise ConfigError("`postgres` is not the address of a database; it begins postgresql://")
    if not connect_timeout_s > 0:
        raise ConfigError(f"connect_timeout_s is {connect_timeout_s!r}; give seconds above 0")
    _held.settings = Settings(
        root=os.fspath(root),
        postgres=address,
        check_flags=bool(check_flags),
        connect_timeout_s=float(connect_timeout_s),
    )


def current() -> Settings:
    """Return the settings that hold now."""
    return _held.settings


def projects_folder() -> Path:
    """Return the folder that holds a folder for each project."""
    return Path(_held.settings.root) / "projects"
