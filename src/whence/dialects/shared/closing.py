"""What has connections to give up: `async with` closes it."""

from __future__ import annotations

from typing import Self


class AsyncClosing:
    """Closed at the end of an `async with` block."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give up what it holds."""
        raise NotImplementedError
