"""Remembers the images made in this process, so that one made from another is linked to it.

Comes in: the SHA-256 of an image and the id it was recorded under. Goes out: that id, when the same
bytes are sent to a model later. Only the latest images are kept, by home. An image that another
process made is not known here: whoever refines it names it (`GenerationContext.parent_image_id`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from whence.dialects.shared.home import configured_home

KEPT = 4096
"""How many images are remembered."""


class Images:
    """Ids of images by home and SHA-256."""

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, sha256: str, image_id: str) -> None:
        """Keep the id of an image; the latest counts where the same image was made twice."""
        key = _key(sha256)
        with self._lock:
            self._ids[key] = image_id
            self._ids.move_to_end(key)
            while len(self._ids) > KEPT:
                self._ids.popitem(last=False)

    def find(self, sha256: str) -> str | None:
        """Return the id of the image with that SHA-256; None if it was not made here."""
        with self._lock:
            return self._ids.get(_key(sha256))


def _key(sha256: str) -> tuple[str, str]:
    return str(configured_home()), sha256


IMAGES = Images()
"""The images of this process."""
