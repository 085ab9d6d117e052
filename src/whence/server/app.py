"""The application: routes, and what they share.

Comes in: the way into a home. Goes out: an ASGI application that refuses what was not meant for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from litestar import Litestar
from litestar.di import Provide

from whence.server.body import Room
from whence.server.guard import Asgi, guarded
from whence.server.routes import health, otlp

if TYPE_CHECKING:
    from whence.server.intake import Intake


def create_app(intake: Intake, room: Room | None = None) -> Asgi:
    """Return the application.

    Args:
        intake: The way into the home; it is started and stopped by whoever made it.
        room: What all requests together may hold in memory.
    """
    shared = room or Room()
    app = Litestar(
        route_handlers=[otlp.traces, otlp.logs, health.health],
        dependencies={
            "intake": Provide(lambda: intake, sync_to_thread=False),
            "room": Provide(lambda: shared, sync_to_thread=False),
        },
        openapi_config=None,
        request_max_body_size=None,  # `body` has limits of its own
        logging_config=None,
    )
    return guarded(cast("Asgi", app))
