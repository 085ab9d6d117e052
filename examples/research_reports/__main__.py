"""Research some questions about Python, then ask the traces what should be tuned."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a folder, not as a module

from python_reference import questions, retrieval

import whence
from research_reports import pipeline
from whence import research


def main(arguments: list[str] | None = None) -> int:
    """Run the pipeline, print a line a question and what the traces show, and return 0."""
    parser = argparse.ArgumentParser(
        prog="research_reports", description="Research questions about Python, traced by stage."
    )
    parser.add_argument("--ask", metavar="QUESTION", help="ask this alone")
    parser.add_argument("--questions", type=int, metavar="N", help="ask the first N questions only")
    parser.add_argument(
        "--to", type=Path, default=Path("brain"), metavar="DIR", help="where files go (brain)"
    )
    parser.add_argument(
        "--home", type=Path, help="where to record; WHENCE_HOME or ./.whence if not given"
    )
    given = parser.parse_args(arguments)
    whence.configure(given.home)
    research.configure(root=given.to)
    asked = (given.ask,) if given.ask else questions.QUESTIONS[: given.questions]
    asyncio.run(run(asked, given.to / "projects" / pipeline.PROJECT / "artifacts"))
    return 0


async def run(asked: tuple[str, ...], folder: Path) -> None:
    """Ask each question, then the traces."""
    index = retrieval.load_index()
    outcomes = [await pipeline.research(question, index, folder) for question in asked]
    for one in outcomes:
        result = "passed" if one.verdict.passed else "FAILED"
        print(
            f"{result} {one.verdict.overall:.2f} in round {one.rounds}  {one.intent:10} "
            f"traced in {one.overhead_ms:4.1f} ms  {one.question}"
        )
    await show_patterns()
    best = max(outcomes, key=lambda one: one.verdict.overall)
    worst = min(outcomes, key=lambda one: one.verdict.overall)
    if best is not worst:
        await show_difference(best, worst)
    flagged = [one for one in outcomes if one.flags]
    if flagged:
        print(f"\n{len(flagged)} traces are flagged for review. The last one says:")
        print("\n".join(f"  {flag}" for flag in flagged[-1].flags))
    print(f"\nNext: less {worst.report}; whence show {worst.trace_id}")


async def show_patterns() -> None:
    """Print which principles fail most over all traces of this home."""
    patterns = await research.TraceQuery.principle_patterns(min_runs=1)
    print("\nPrinciples that fail most:" if patterns else "\nNo principle fails.")
    for one in patterns[:5]:
        print(
            f"  {one['principle_id']:26} {one['fail_count']:3} of {one['total_runs']:3} reports, "
            f"mean {one['avg_score']:.2f}"
        )


async def show_difference(best: pipeline.Outcome, worst: pipeline.Outcome) -> None:
    """Print how the worst report differs from the best."""
    compared = await research.TraceQuery.compare(best.trace_id, worst.trace_id)
    gaps = ", ".join(compared["diff"]["gaps_b_only"]) or "nothing more"
    print(f"\nThe worst report scores {compared['diff']['quality_delta']:+.2f} and fails {gaps}.")


if __name__ == "__main__":
    sys.exit(main())
