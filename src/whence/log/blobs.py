"""Values too large for a line, and everything binary.

One file each, named by the SHA-256 of its bytes.

Comes in: bytes. Goes out: a marker for the record with digest, size and a preview. The same bytes
are stored once, whoever writes them; a file appears whole or not at all, since it is written beside
its place and renamed into it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from whence.errors import NotFoundError, StoreError
from whence.record.values import MARK, is_encodable, of_text

if TYPE_CHECKING:
    from pathlib import Path

    from whence.log.home import Home

INLINE_BYTES = 32 << 10
PREVIEW_CHARS = 200

_LONG_CHARS = INLINE_BYTES // 4
"""A text of fewer characters cannot be longer than the limit in bytes."""

Encoding = Literal["text", "json", "bytes"]
Put = Callable[[bytes, Encoding, str], dict[str, Any]]
"""Stores bytes as a blob, with a preview, and returns the marker that stands for it."""
_HEX = frozenset("0123456789abcdef")
_DIGEST_CHARS = 64


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    import hashlib  # noqa: PLC0415 - not every program has long values, and importing capture has to be quick

    return hashlib.sha256(content).hexdigest()


def put(
    home: Home, content: bytes, encoding: Encoding, *, preview: str = "", sync: bool = False
) -> dict[str, Any]:
    """Store `content` and return the marker that stands for it in a record.

    Args:
        home: The home.
        content: The bytes.
        encoding: What they are.
        preview: A beginning that people can read.
        sync: Bring them to the disk before the marker is returned.

    Returns:
        The marker.

    Raises:
        OSError: It could not be stored.
    """
    digest = digest_of(content)
    path = path_of(home, digest)
    if not _is_there(path, len(content)):
        from whence.log.replacing import replace  # noqa: PLC0415 - as in `digest_of`

        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, content, sync=sync)
    marker: dict[str, Any] = {
        MARK: "blob",
        "sha256": digest,
        "size_bytes": len(content),
        "encoding": encoding,
    }
    if preview:
        marker["preview"] = preview[:PREVIEW_CHARS]
    return marker


def _is_there(path: Path, size_bytes: int) -> bool:
    """Whether the blob is stored whole.

    Returns:
        False, too, for the empty file that a power failure may have left under its name.
    """
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


def is_digest(text: str) -> bool:
    """Whether `text` is a SHA-256 in lower-case hexadecimal."""
    return len(text) == _DIGEST_CHARS and _HEX.issuperset(text)


def path_of(home: Home, digest: str) -> Path:
    """Return where the blob with that SHA-256 is.

    Raises:
        NotFoundError: `digest` is not 64 hexadecimal digits, so that no path can be made of it.
    """
    if not is_digest(digest):
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
    if digest_of(content) != digest:
        message = (
            f"the blob {path} does not hold the bytes it is named after: "
            "it was changed after it was written"
        )
        raise StoreError(message)
    return content


def iter_digests(home: Home) -> list[str]:
    """Return the digests of all blobs, sorted."""
    if not home.blobs.is_dir():
        return []
    return sorted(p.name for p in home.blobs.glob("??/*") if is_digest(p.name))


def line_text(value: str, put: Put) -> Any:
    """Return a text, or the marker that stands for it if a line cannot hold it."""
    if not is_encodable(value):
        marker = of_text(value)
        if len(value) <= _LONG_CHARS:
            return marker
        return put(value.encode("utf-8", "surrogatepass"), "text", marker["value"])
    if len(value) > _LONG_CHARS:
        content = value.encode()
        if len(content) > INLINE_BYTES:
            return put(content, "text", value[:PREVIEW_CHARS])
    return value
