"""Import an optional package where it is used, or say in one sentence which extra brings it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from whence.errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Return the imported `module`; `extra` is the one that brings it, empty if none does.

    Raises:
        MissingExtraError: It is not installed. The message names the extra and what it is needed
            for.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        install = f"'whence[{extra}]'" if extra else root
        message = f"{purpose} needs the package {root!r}: pip install {install}"
        raise MissingExtraError(message) from error
