"""Results of tau-bench: a list of simulated customer conversations, several trials of each task.

Comes in: the file that `run.py` writes, a list of `{task_id, trial, reward, info, traj}` in which
`traj` holds chat messages. Goes out: one run a trial. A message of the customer begins a turn, each
message of the assistant is a model call, a tool call has the message of the same id as its answer,
and the reward is a score. A trial is linked to the next one of its task as `retry_of`. tau-bench
states neither tokens nor times, and of all costs only that of the simulated customer.

Source: sierra-research/tau-bench, `tau_bench/types.py` (`EnvRunResult`) and `tau_bench/run.py`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose
from whence.ingest.base import Skipped
from whence.ingest.chat import Chat
from whence.ingest.timeline import Timeline
from whence.record.event import Event
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_SOLVED = 1.0
"""The reward from which a task counts as solved."""
_BROKEN = "Error"
"""How the answer of a tool that failed begins."""


def detect(source: Source) -> bool:
    """Return whether a file is a list of objects with a task and its reward."""
    begins = json_files.peek(source)
    return (
        begins.is_list
        and {"task_id", "reward"} <= begins.keys
        and not begins.keys.isdisjoint({"traj", "trial", "info"})
    )


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file.

    Raises:
        IngestError: The file is not a JSON list.
    """
    del known
    trials, skipped = json_files.document(source)
    if not isinstance(trials, list):
        raise IngestError(f"{source.name} is not a list of trials")
    runs: dict[str, list[tuple[int, str]]] = {}
    for number, trial in enumerate(loose.sequence(trials)):
        where = f"{source.name}, trial {number}"
        given = loose.mapping(trial)
        if given.keys().isdisjoint({"task_id", "traj"}):
            yield Skipped(where, "it is no trial: it has neither a task nor a conversation")
            continue
        try:
            run = keys.run_id("tau-bench", json_files.fingerprint(given))
        except IngestError as error:
            yield Skipped(where, str(error))
            continue
        runs.setdefault(str(given.get("task_id")), []).append(
            (loose.count(given.get("trial")) or 0, run)
        )
        yield from _run(given, Timeline(run))
    yield from _retries(runs)
    yield from skipped


def _run(given: Fields, line: Timeline) -> Iterator[Record]:
    info = loose.mapping(given.get("info"))
    task = loose.name(given.get("task_id")) or "?"
    trial = loose.name(given.get("trial"))
    attributes = {k: v for k, v in given.items() if k not in {"traj", "info", "reward"}} | info
    attributes["undated"] = True
    if info.get("user_cost") is not None:
        attributes["declared"] = {
            "cost_usd": info["user_cost"],
            "covers": "the simulated customer, not the agent",
        }
    yield RunStarted(
        ts=line.at(),
        run=line.run,
        name=f"tau-bench task {task}",
        run_kind="agent",
        external_id=task if trial is None else f"{task}/{trial}",
        workflow=f"tau-bench task {task}",
        attributes=attributes,
    )
    chat = Chat(line, _error_of)
    yield from chat.read(given.get("traj"))
    yield from _reward(given, info, chat.called, line)
    failure = loose.text(info.get("error"))
    if failure is not None:
        trace = info.get("traceback")
        error = {"type": "error", "message": failure, "stack": trace}
        yield Event(**line.point("crash"), message=failure, level="error")
        yield RunEnded(ts=line.at(), run=line.run, status="failed", error=error)
    elif "traj" in given and "reward" in given:
        yield RunEnded(ts=line.at(), run=line.run, status="complete")


def _error_of(content: Any) -> Fields | None:
    if isinstance(content, str) and content.startswith(_BROKEN):
        return {"type": _BROKEN, "message": content.removeprefix(_BROKEN).lstrip(": ")}
    return None


def _reward(
    given: Fields, info: Fields, called: dict[str, None], line: Timeline
) -> Iterator[Record]:
    if "reward" not in given:
        return
    reward = loose.number(given["reward"])
    wanted = [loose.name(a.get("name")) or "?" for a in _expected(info)]
    said = f"expected {', '.join(wanted) or 'no action'}; called {', '.join(called) or 'no tool'}"
    yield Score(
        **line.point("reward"),
        name="reward",
        value=reward,
        scale="0-1",
        threshold=_SOLVED,
        passed=None if reward is None else reward >= _SOLVED,
        feedback=said,
        by="tau-bench",
    )


def _expected(info: Fields) -> list[Fields]:
    return loose.mappings(loose.mapping(info.get("task")).get("actions"))


def _retries(runs: dict[str, list[tuple[int, str]]]) -> Iterator[Link]:
    for trials in runs.values():
        ordered = list(dict.fromkeys(run for _, run in sorted(trials)))
        for earlier, later in itertools.pairwise(ordered):
            line = Timeline(later)
            point = line.point("retry_of", earlier)
            yield Link(**point, link_kind="retry_of", source=earlier, target=later)
