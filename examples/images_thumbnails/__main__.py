"""Make the thumbnails and print what came of them, from the command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a folder, not as a module

import whence
from images_thumbnails import service, studio
from whence.images import image_metrics
from whence.insights import ProvenanceQuery, get_provenance_service

FAILURES = ["error_content_policy", "error_rate_limit", "error_timeout", "error_api_error"]


def main(arguments: list[str] | None = None) -> int:
    """Make the thumbnails and return 0, however many the service refused."""
    parser = argparse.ArgumentParser(
        prog="images_thumbnails",
        description="Thumbnails of the language reference, with provenance.",
    )
    parser.add_argument("--home", type=Path, help="where to record; WHENCE_HOME or ./.whence else")
    parser.add_argument("--into", type=Path, help="a folder to write the images to")
    parser.add_argument("pages", nargs="*", default=studio.PAGES, help="pages, as in help('PAGE')")
    given = parser.parse_args(arguments)
    whence.configure(home=given.home)

    with contextlib.ExitStack() as stack:
        # With a key the images are made by Google, and cost money.
        key = os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY")
        url = None if key else stack.enter_context(service.serving())
        made = asyncio.run(studio.make(given.pages, base_url=url, api_key=key or "loopback"))
    for number, one in enumerate(made):
        said = f"{len(one.image):6} bytes  {one.provenance_id}" if one.image else one.problem
        print(f"{one.page:10} {said}")
        if given.into is not None and one.image:
            given.into.mkdir(parents=True, exist_ok=True)
            (given.into / f"{number:02}-{Path(one.page).name}.png").write_bytes(one.image)
    report()
    refined = made[-1].provenance_id
    home = f" --home {given.home}" if given.home else ""
    print(f"\nNext: whence why {refined}{home}" if refined else "")
    return 0


def report() -> None:
    """Print the figures of the last day, and what failed in it."""
    figures = image_metrics("24h")
    total = figures.total
    print(f"\n{total.generations} generations, {total.failed} failed, ${total.cost_usd or 0:.4f}")
    for one in figures.by_asset_type:
        print(
            f"  {one.name:16} {one.generations:3}  ${one.cost_usd or 0:.4f}  "
            f"p50 {one.p50_ms or 0:.0f} ms, p95 {one.p95_ms or 0:.0f} ms"
        )
    for pattern in figures.users:
        print(f"  {pattern.figures.name:16} {pattern.figures.generations:3}  {pattern.asset_types}")
    failed, _ = get_provenance_service().query(ProvenanceQuery(tags=FAILURES))
    for record in failed:
        print(f"  {record.insight_summary}: {record.insight_id}")


if __name__ == "__main__":
    sys.exit(main())
