"""`GET /healthz`: whether what is sent can be written."""

from __future__ import annotations

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency  # noqa: TC002 - Litestar reads the annotations

from whence.server.intake import Intake  # noqa: TC001 - Litestar reads the annotations


class Health(msgspec.Struct, frozen=True):
    """How the server is."""

    status: str
    """`ok`, or `failing` while the home cannot be written."""
    records: int
    """How many records were written since it started."""
    why: str | None = None
    """What keeps it from writing."""


@get("/healthz")
async def health(intake: NamedDependency[Intake]) -> Response[Health]:
    """Say how the server is; 503 while it cannot write."""
    trouble = intake.trouble
    state = Health("failing" if trouble else "ok", intake.records, trouble)
    return Response(state, status_code=503 if trouble else 200)
