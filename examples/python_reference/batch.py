"""Many questions at once, in several processes that write to one home.

Each process builds its own index and opens its own segment of the log; nothing is shared between
them but the folder.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import whence
from python_reference import pipeline, retrieval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question."""

    run_id: str
    question: str
    intent: str
    report_id: str
    report: str
    passed: bool
    rounds: int
    overall: float
    """Of the best report, 0 to 3."""
    failed: tuple[str, ...]
    """Principles the best report failed, the costliest first."""
    duration_ms: float
    process_id: int


def iter_outcomes(
    questions: Sequence[str], home: Path | str | None = None, processes: int = 2
) -> Iterator[Outcome]:
    """Yield an outcome for each question as it is ready, in any order.

    Args:
        questions: What to ask.
        home: Where the runs are recorded; whence's own default when null.
        processes: How many work at once. With one, the work is done in this process.

    Yields:
        One outcome a question.
    """
    if processes <= 1:
        _prepare(home)
        yield from map(_answer, questions)
        whence.flush()
        return
    # spawn: a worker starts as a fresh program would, on every platform alike.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _prepare, (home,)) as pool:
        for done in as_completed([pool.submit(_answer, question) for question in questions]):
            yield done.result()


def count_failures(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how many reports failed each principle, most first."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        for principle in outcome.failed:
            counts[principle] = counts.get(principle, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _prepare(home: Path | str | None) -> None:
    whence.configure(home=home)
    retrieval.load_index()


def _answer(question: str) -> Outcome:
    started_ns = time.perf_counter_ns()
    answer = pipeline.research(question, retrieval.load_index())
    verdict = answer.best.verdict
    return Outcome(
        run_id=answer.run_id,
        question=question,
        intent=answer.intent,
        report_id=answer.best.report_id,
        report=answer.best.report.markdown,
        passed=verdict.passed,
        rounds=len(answer.rounds),
        overall=verdict.overall,
        failed=tuple(verdict.failed),
        duration_ms=(time.perf_counter_ns() - started_ns) / 1e6,
        process_id=os.getpid(),
    )
