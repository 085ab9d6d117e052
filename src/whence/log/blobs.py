"""Values too large for a line, and everything binary: one file each, named by the SHA-256 of its bytes.

Comes in: bytes. Goes out: a marker for the record with digest, size and a preview. The same bytes are stored once, whoever writes them;
a file appears whole or not at all, since it is written beside its place and renamed into it.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, Literal

from whence.errors import NotFoundError, StoreError
from whence.log.home import Home
from whence.record.values import MARK

INLINE_BYTES = 32 << 10
PREVIEW_CHARS = 200

Encoding = Literal["text", "json", "bytes"]
_SHA256 = re.compile(r"[0-9a-f]{64}")


def put(home: Home, content: bytes, encoding: Encoding, *, preview: str = "") -> dict[str, Any]:
    """Store `content` and return the marker that stands for it in a record.

    Raises:
        OSError: It could not be stored.
    """
    digest = hashlib.sha256(content).hexdigest()
    path = path_of(home, digest)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{digest}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
        try:
            beside.write_bytes(content)
            beside.rename(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
    marker: dict[str, Any] = {MARK: "blob", "sha256": digest, "size_bytes": len(content), "encoding": encoding}
    if preview:
        marker["preview"] = preview[:PREVIEW_CHARS]
    return marker


def path_of(home: Home, digest: str) -> Path:
    """Return where the blob with that SHA-256 is.

    Raises:
        NotFoundError: `digest` is not 64 hexadecimal digits, so that no path can be made of it.
    """
    if not _SHA256.fullmatch(digest):
        message = f"{digest[:80]!r} is not a SHA-256 digest of 64 hexadecimal digits"
        raise NotFoundError(message)
    return home.blobs / digest[:2] / digest


def get(home: Home, digest: str) -> bytes:
    """Return the bytes of a blob, checked against its name.

    Raises:
        NotFoundError: There is no such blob.
        StoreError: Its bytes are not those it was named after.
    """
    path = path_of(home, digest)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        message = f"no blob {digest} in {home.blobs}; was it removed by retention?"
        raise NotFoundError(message) from None
    if hashlib.sha256(content).hexdigest() != digest:
        message = f"the blob {path} does not hold the bytes it is named after: it was changed after it was written"
        raise StoreError(message)
    return content


def iter_digests(home: Home) -> list[str]:
    """Return the digests of all blobs, sorted."""
    if not home.blobs.is_dir():
        return []
    return sorted(p.name for p in home.blobs.glob("??/*") if _SHA256.fullmatch(p.name))
