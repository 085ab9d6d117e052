"""Whether one version of a prompt does better than another: two groups of artifacts, compared.

Comes in: an open reader and two prompt versions. Goes out: a `PromptComparison` with one row a
figure - the share that was approved, tokens, reasoning tokens, time, and scores by name - each with
the difference, its interval of 95 % and a p-value that is corrected for asking several questions of
the same data. The artifact is what is counted, since the answers inside one belong together; of a
home without artifacts, the model calls with these prompt versions are.

It compares what was recorded. Whether the groups are alike in everything else is for whoever ran
the experiment to say: versions used one after the other differ in their time as well.
"""

from __future__ import annotations

import statistics
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from whence.dialects.generations import review, significance
from whence.dialects.generations.figures import figure_of
from whence.dialects.generations.significance import Estimate
from whence.dialects.generations.traces import APPROVED, DIALECT, REJECTED
from whence.dialects.shared import asking
from whence.errors import NotFoundError
from whence.query import tables, text
from whence.store.predicate import And

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from whence.query.reader import Reader
    from whence.store.predicate import Predicate
    from whence.store.rows import GenerationRow, OutputRow

_AT_ONCE = 500
MAX_ARTIFACTS = 100_000
"""How many artifacts of a version are looked at, the latest first."""
_FIGURES = ("tokens", "reasoning_tokens", "duration_ms")


class Arm(msgspec.Struct, frozen=True):
    """One version and what it made; figures are of those artifacts that state them."""

    version: str
    """The version of the prompt."""
    artifacts: int
    """How many things it made."""
    approved: int
    """How many of them stand at `approved`."""
    rejected: int
    """How many stand at `rejected`; those that wait for review are neither."""
    figures: dict[str, list[float]]
    """The values of each figure."""


class Difference(msgspec.Struct, frozen=True):
    """One figure of both versions; b less a."""

    figure: str
    """`approved_share`, `tokens`, `reasoning_tokens`, `duration_ms`, `cost_usd`, or
    `score:<name>`."""
    a: float | None
    """Of version a: the share, or the mean."""
    b: float | None
    """Of version b."""
    of_a: int
    """From how many of version a."""
    of_b: int
    """From how many of version b."""
    estimate: Estimate
    """The difference, with its interval and p-value."""
    p_corrected: float | None
    """The p-value, corrected for the number of figures that were tested."""
    is_significant: bool
    """Whether that is below 5 %."""


class PromptComparison(msgspec.Struct, frozen=True):
    """Two versions of a prompt, compared."""

    a: str
    """One version."""
    b: str
    """The other."""
    counted: str
    """What was counted: `artifacts` or `generations`."""
    artifacts_a: int
    """How many of version a."""
    artifacts_b: int
    """How many of version b."""
    differences: list[Difference]
    """One a figure."""

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready data."""
        return msgspec.to_builtins(self)

    def to_text(self) -> str:
        """Return the comparison as a table for a terminal."""
        titles = ["figure", "a", "b", "b - a", "95 %", "p", ""]
        body = [_row(one) for one in self.differences]
        a, b = text.printable(self.a, 40), text.printable(self.b, 40)
        return "\n".join(
            [
                f"a = {a}: {self.artifacts_a:,} {self.counted}",
                f"b = {b}: {self.artifacts_b:,} {self.counted}",
                "",
                *text.table(titles, body, frozenset(range(1, 6))),
                "p is corrected for the number of figures (Holm)",
            ]
        )

    def __str__(self) -> str:
        return self.to_text()


def _row(one: Difference) -> list[str]:
    found = one.estimate
    interval = "-" if found.low is None else f"{_shown(found.low)} to {_shown(found.high)}"
    return [
        text.printable(one.figure, 40),
        f"{_shown(one.a)} ({one.of_a:,})",
        f"{_shown(one.b)} ({one.of_b:,})",
        _shown(found.value),
        interval,
        "-" if one.p_corrected is None else f"{one.p_corrected:.2g}",
        "significant" if one.is_significant else "",
    ]


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,.4g}"


def compare_prompts(
    reader: Reader,
    a: str,
    b: str,
    *,
    filter: str = "",  # noqa: A002 - the word of the public API
    scores: Sequence[str] = (),
) -> PromptComparison:
    """Return how prompt version `b` differs from version `a`.

    Args:
        reader: An open reader.
        a: One version, as traces and model calls name it.
        b: The other.
        filter: Which artifacts count, in the filter language of outputs.
        scores: Names of scores that were given to the artifacts.

    Raises:
        NotFoundError: Neither an artifact nor a model call has one of the versions.
        FilterError: The filter is wrong.
        MissingExtraError: SciPy or statsmodels is not installed.
    """
    where = tables.predicate("outputs", filter)
    arms = [_arm(reader, version, where, scores) for version in (a, b)]
    counted = "artifacts"
    if not any(arm.artifacts for arm in arms):
        counted = "generations"
        arms = [_arm_of_calls(reader, version) for version in (a, b)]
    for arm in arms:
        if not arm.artifacts:
            shown = text.printable(arm.version, 80)
            raise NotFoundError(f"nothing was recorded with the prompt version {shown!r}")
    differences = _differences(*arms)
    return PromptComparison(a, b, counted, arms[0].artifacts, arms[1].artifacts, differences)


def _differences(a: Arm, b: Arm) -> list[Difference]:
    decided_a, decided_b = a.approved + a.rejected, b.approved + b.rejected
    share = significance.difference_of_shares(a.approved, decided_a, b.approved, decided_b)
    rows: list[tuple[str, float | None, float | None, int, int, Estimate]] = [
        (
            "approved_share",
            a.approved / decided_a if decided_a else None,
            b.approved / decided_b if decided_b else None,
            decided_a,
            decided_b,
            share,
        )
    ]
    for figure in dict.fromkeys([*a.figures, *b.figures]):
        of_a, of_b = a.figures.get(figure, []), b.figures.get(figure, [])
        if of_a or of_b:
            found = significance.difference_of_means(of_a, of_b)
            rows.append((figure, _mean(of_a), _mean(of_b), len(of_a), len(of_b), found))
    corrected = significance.corrected([row[-1].p_value for row in rows])
    return [
        Difference(*row, p, p is not None and p < significance.ALPHA)
        for row, p in zip(rows, corrected, strict=True)
    ]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _arm(reader: Reader, version: str, where: Predicate, scores: Sequence[str]) -> Arm:
    is_of_version = And(
        (
            asking.equals("attributes.dialect", DIALECT),
            asking.equals("attributes.generation_trace.prompt_version", version),
            where,
        )
    )
    rows = asking.iter_rows(reader, "outputs", is_of_version)
    latest: dict[str, OutputRow] = {}
    for row in islice(rows, MAX_ARTIFACTS):
        latest.setdefault(row.output_id, row)  # made again under its id: the last one counts
    figures = {
        figure: [v for row in latest.values() if (v := figure_of(row, figure)) is not None]
        for figure in _FIGURES
    }
    for name in scores:
        figures[f"score:{name}"] = _scores(reader, name, latest)
    approved = rejected = 0
    for status in _statuses(reader, latest):
        approved += status == APPROVED
        rejected += status == REJECTED
    return Arm(version, len(latest), approved, rejected, figures)


def _statuses(reader: Reader, outputs: dict[str, OutputRow]) -> Iterable[str | None]:
    ids = list(outputs)
    for start in range(0, len(ids), _AT_ONCE):
        chosen = ids[start : start + _AT_ONCE]
        remarks: dict[str, list[Any]] = {}
        for row in asking.rows_with(reader, "annotations", "target", chosen):
            remarks.setdefault(row.target, []).append(row)
        for one in chosen:
            yield review.state_of(outputs[one], one, remarks.get(one, ())).status


def _scores(reader: Reader, name: str, outputs: Iterable[str]) -> list[float]:
    """Return the latest value of a score for each artifact that has one."""
    latest: dict[str, tuple[int, float]] = {}
    for row in asking.rows_with(reader, "scores", "target", outputs, asking.equals("name", name)):
        if row.value is not None and row.ts_ns >= latest.get(row.target, (0, 0.0))[0]:
            latest[row.target] = (row.ts_ns, row.value)
    return [value for _, value in latest.values()]


def _arm_of_calls(reader: Reader, version: str) -> Arm:
    rows: list[GenerationRow] = list(
        islice(
            asking.iter_rows(reader, "generations", asking.equals("prompt_version", version)),
            MAX_ARTIFACTS,
        )
    )
    states: dict[str, list[Any]] = {}
    for row in asking.rows_with(reader, "annotations", "target", [row.id for row in rows]):
        states.setdefault(row.target, []).append(row)
    statuses = [review.state_of(None, one, remarks).status for one, remarks in states.items()]
    figures: dict[str, list[float]] = {
        "tokens": [
            sum(known)
            for row in rows
            if (known := [n for n in (row.input_tokens, row.output_tokens) if n is not None])
        ],
        "reasoning_tokens": [r.reasoning_tokens for r in rows if r.reasoning_tokens is not None],
        "duration_ms": [row.duration_ms for row in rows if row.duration_ms is not None],
        "cost_usd": [row.cost_usd for row in rows if row.cost_usd is not None],
    }
    return Arm(version, len(rows), statuses.count(APPROVED), statuses.count(REJECTED), figures)
