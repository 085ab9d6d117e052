"""Ask all questions, or one of your own, from the command line."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a folder, not as a module

from python_reference import batch, questions


def main(arguments: list[str] | None = None) -> int:
    """Run the pipeline and print one line a question; return 0 whatever the reports are like."""
    parser = argparse.ArgumentParser(
        prog="python_reference", description="Answer questions about Python, traced by whence."
    )
    parser.add_argument("--ask", metavar="QUESTION", help="ask this and print the report")
    parser.add_argument("--questions", type=int, metavar="N", help="ask the first N questions only")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="work in N processes")
    parser.add_argument(
        "--home", type=Path, help="where to record; WHENCE_HOME or ./.whence if not given"
    )
    given = parser.parse_args(arguments)
    asked = (given.ask,) if given.ask else questions.QUESTIONS[: given.questions]
    processes = min(max(1, given.processes), len(asked))

    started_ns = time.perf_counter_ns()
    outcomes = list[batch.Outcome]()
    for outcome in batch.iter_outcomes(asked, given.home, processes):
        outcomes.append(outcome)
        result = "passed" if outcome.passed else "FAILED"
        print(
            f"{result} {outcome.overall:.2f} in round {outcome.rounds} of 3  "
            f"{outcome.intent:10} {outcome.duration_ms:4.0f} ms  {outcome.question}"
        )
    if given.ask:
        print(f"\n{outcomes[0].report}")
    seconds = (time.perf_counter_ns() - started_ns) / 1e9
    passed = [outcome for outcome in outcomes if outcome.passed]
    retried = [outcome for outcome in passed if outcome.rounds > 1]
    print(
        f"\n{_counted(len(outcomes), 'question')} in {seconds:.1f} s "
        f"by {_counted(processes, 'process', 'processes')}: {len(passed)} "
        f"passed, {len(retried)} of them after a retry, {len(outcomes) - len(passed)} failed."
    )
    worst = next(iter(batch.count_failures(outcomes).items()), None)
    if worst:
        print(
            f"The principle that failed most is {worst[0]}: {worst[1]} of {len(outcomes)} reports."
        )
    home = f" --home {given.home}" if given.home else ""
    print(f"Next: whence why {outcomes[-1].report_id}{home}")
    return 0


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


if __name__ == "__main__":
    sys.exit(main())
