"""Reads the body of a request, never more of it than is allowed.

Comes in: a request. Goes out: its bytes. A length that is claimed is checked before anything is
read, one that is not claimed as it arrives; all requests together hold no more than a fixed amount
of memory, beyond which senders are asked to come back.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from litestar import Request

MAX_BYTES = 20 << 20
"""How long one body may be, packed and unpacked."""
MAX_PENDING_BYTES = 96 << 20
"""How much all bodies that are being received or wait to be written may hold together."""
READ_S = 60.0
"""How long a sender may take for one body."""


class RefusedError(Exception):
    """A request that is not taken.

    Attributes:
        status: The HTTP status to answer with.
        retry_after_s: When to send it again, if it is worth it.
    """

    def __init__(self, status: int, why: str, *, retry_after_s: int | None = None) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(why)


class Room:
    """What all requests together may hold in memory.

    Args:
        size_bytes: How much.
    """

    def __init__(self, size_bytes: int = MAX_PENDING_BYTES) -> None:
        self.free_bytes = size_bytes

    def take(self, size_bytes: int) -> None:
        """Take room.

        Raises:
            RefusedError: There is not so much left.
        """
        if size_bytes > self.free_bytes:
            raise RefusedError(503, "too much is waiting to be written", retry_after_s=1)
        self.free_bytes -= size_bytes

    @contextmanager
    def held(self) -> Generator[list[int]]:
        """Yield a list; the room of the sizes put into it is given back at the end."""
        sizes: list[int] = []
        try:
            yield sizes
        finally:
            self.free_bytes += sum(sizes)


async def read(request: Request[Any, Any, Any], room: Room, held: list[int]) -> bytes:
    """Return the body of a request.

    Args:
        request: The request.
        room: Where room for it is taken.
        held: Gets the sizes that were taken.

    Raises:
        RefusedError: It is too long, came too slowly, or there is no room for it now.
    """
    claimed = request.headers.get("content-length", "")
    if claimed and not (claimed.isascii() and claimed.isdigit()):
        raise RefusedError(400, "the Content-Length is no number")
    if claimed and (len(claimed) > 19 or int(claimed) > MAX_BYTES):  # noqa: PLR2004 - digits of 64 bits
        raise RefusedError(
            413, f"the body is longer than {MAX_BYTES >> 20} MiB; send smaller batches"
        )
    if claimed:
        room.take(int(claimed))
        held.append(int(claimed))
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_S):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BYTES:
                    raise RefusedError(413, f"the body is longer than {MAX_BYTES >> 20} MiB")
                if not claimed:
                    room.take(len(part))
                    held.append(len(part))
                parts.append(part)
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {READ_S:.0f} s") from None
    return b"".join(parts)
