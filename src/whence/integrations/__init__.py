"""Client libraries of model providers, observed where they are used.

`instrument` observes every client of the libraries that are installed; `wrap` in the module of each
library observes one client. What the client returns and raises is the client's own: each exchange
over HTTP is read beside it and becomes one generation, each further attempt of a call is linked to
the one before, and a stream is recorded when it ends or is closed.

To add a library: one module with `wrap` and `observe`, one line in `LIBRARIES`, one section in
`docs/howto/integrations.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.errors import ConfigError
from whence.integrations.arrival import when_imported

if TYPE_CHECKING:
    from collections.abc import Iterable

LIBRARIES = {
    "openai": "whence.integrations.openai",
    "anthropic": "whence.integrations.anthropic",
    "google.genai": "whence.integrations.google_genai",
    "litellm": "whence.integrations.litellm",
}
"""Client library to the module that observes it."""


def instrument(libraries: Iterable[str] | None = None) -> None:
    """Record what every client of the providers' libraries does, from now on.

    A library that is not imported yet is observed when the program imports it; one that is not
    installed is left alone. Calling it again changes nothing.

    Args:
        libraries: Names of libraries as they are imported, such as `openai`; all if None.

    Raises:
        ConfigError: A name is none of the libraries that can be observed.
    """
    chosen = list(LIBRARIES) if libraries is None else list(libraries)
    for name in chosen:
        if name not in LIBRARIES:
            message = f"{name!r} cannot be observed; choose from {', '.join(LIBRARIES)}"
            raise ConfigError(message)
    for name in chosen:
        when_imported(name, LIBRARIES[name])
