"""Parts of higher layers that a lower one may start without knowing them: by name, when asked for.

Capture may import neither exports nor anything heavy, yet a user may ask it for a live mirror. What
is named here is imported at that moment and never before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

_PARTS = {"mirror": "whence.exports.otlp.mirror"}


def load(part: str) -> ModuleType:
    """Return the module that is called `part`, imported now if it was not."""
    return importlib.import_module(_PARTS[part])
