"""Rank the keywords of the reference's pages, then ask what was good and why."""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a folder, not as a module

import whence
from insights_keywords import pages, worker
from whence.insights import ProvenanceQuery, get_provenance_service

SHOWN = 5


def main(arguments: list[str] | None = None) -> int:
    """Rank, print what was recorded, and return 0."""
    parser = argparse.ArgumentParser(
        prog="insights_keywords", description="Rank keywords of the Python reference, traced."
    )
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="these pages only, as in `with`")
    parser.add_argument(
        "--home", type=Path, help="where to record; WHENCE_HOME or ./.whence if not given"
    )
    given = parser.parse_args(arguments)
    whence.configure(given.home)
    index = pages.load()
    unknown = [name for name in given.pages if name not in index.pages]
    if unknown:
        parser.error(f"the reference has no page {unknown[0]!r}")
    execution_id = f"exec_{uuid.uuid4().hex[:8]}"  # noqa: TID251 - an example for users
    age_s = pages.age_s()
    for name in given.pages or index.pages:
        try:
            worker.rank_keywords(index, name, execution_id, age_s)
        except worker.TooShortError as error:
            print(f"failed: {error}")
    report(execution_id)
    return 0


def report(execution_id: str) -> None:
    """Print the figures of the records, and the ones that are worst."""
    service = get_provenance_service()
    figures = service.aggregate(hours=1, query=ProvenanceQuery(worker_names=[worker.WORKER]))
    print(
        f"\n{figures.total_records} records in the last hour, "
        f"{figures.validation_pass_rate or 0:.0%} of them passed; "
        f"mean confidence {figures.avg_confidence_score or 0:.2f}, "
        f"mean quality {figures.avg_quality_score or 0:.2f}"
    )
    for factor in figures.top_decision_factors:
        print(f"  {factor['name']:10} contributes {factor['avg_contribution']:.3f} on average")
    worst, _ = service.query(
        ProvenanceQuery(
            worker_names=[worker.WORKER],
            tags=["found_later"],
            sort_by="confidence_score",
            page_size=SHOWN,
        )
    )
    if worst:
        print("\nSure of themselves, and yet not found by their own keywords:")
    for record in worst:
        print(f"  {record.confidence_score:.2f} {record.insight_summary}")
        print(f"       {'; '.join(record.validation_errors)}")
    print(f"\nNext: whence runs --filter 'workflow = \"{execution_id}\"'")


if __name__ == "__main__":
    sys.exit(main())
