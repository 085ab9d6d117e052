"""`whence serve`: takes what programs of this machine send."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, home_path


@command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=4318, show_default=True, help="0 takes any."
)
def serve(host: str, port: int) -> None:
    """Receive OpenTelemetry traces and logs (OTLP over HTTP) into the home.

    Point an exporter at it: OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318. A request is
    answered when what it holds is in the log. Stop it with Ctrl-C.
    """
    from whence import config  # noqa: PLC0415 - help does not need it
    from whence.server import run  # noqa: PLC0415

    home = home_path()
    is_json = choices().json

    def tell(url: str) -> None:
        if is_json:
            output.print_lines([output.json_text({"url": url, "home": str(home)})])
        else:
            output.note(f"listening on {url}, writing to {home}")
        output.flush()

    durable = config.from_environment().durability != "process"
    run.serve(home, host=host, port=port, durable=durable, on_ready=tell)
