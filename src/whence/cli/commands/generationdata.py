"""The commands of `whence generations` that compare, export and trim."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from whence.cli import figures, output
from whence.cli.commands.retain import Days
from whence.cli.common import choices, command, existing_home, open_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.dialects.generations.experiments import PromptComparison
    from whence.dialects.generations.trend import Trend
    from whence.store.erasure import ErasureReport

F = TypeVar("F", bound="Callable[..., Any]")


class FateOption(click.ParamType[Any]):
    """What becomes of a text: `keep`, `drop`, or a number of characters."""

    name = "fate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the word, or the number."""
        if value in {"keep", "drop"}:
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value)
        return self.fail(
            f"{value!r} is neither keep nor drop nor a number of characters", param, ctx
        )


_of_outputs = click.option(
    "--filter", "written", default="", metavar="FILTER", help="Outputs that satisfy this."
)


def _fate_option(name: str) -> Callable[[F], F]:
    return click.option(
        name,
        type=FateOption(),
        default="keep",
        show_default=True,
        metavar="FATE",
        help="keep, drop, or how many characters stay.",
    )


def _age_option(meaning: str) -> Callable[[F], F]:
    return click.option("--older-than", type=Days(), required=True, metavar="DAYS", help=meaning)


def _show(found: PromptComparison | Trend) -> None:
    if choices().json:
        output.print_json(found.to_dict())
    else:
        output.print_text(found.to_text())


@command("compare-prompts")
@click.argument("a")
@click.argument("b")
@_of_outputs
@click.option(
    "--score",
    "scores",
    multiple=True,
    metavar="NAME",
    help="Compare this score too; may be given again.",
)
def compare_prompts(a: str, b: str, written: str, scores: tuple[str, ...]) -> None:
    """Say whether prompt version B does better than A, and how sure that is.

    Compared are the share that was approved, tokens, reasoning tokens and time, each with an
    interval of 95 % and a p-value that is corrected for the number of questions.
    """
    from whence.dialects.generations import experiments  # noqa: PLC0415 - help does not need it

    with open_reader() as reader:
        found = experiments.compare_prompts(reader, a, b, filter=written, scores=scores)
    _show(found)


@command("trend")
@click.option(
    "--window", default="30d", show_default=True, metavar="SPAN", help="How far to look back."
)
@click.option(
    "--bucket",
    type=click.Choice(["hour", "day", "week"]),
    default="day",
    show_default=True,
    help="What to add up, in UTC.",
)
@click.option(
    "--filter", "written", default="", metavar="FILTER", help="Model calls that satisfy this."
)
@click.option("--test", is_flag=True, help="Say whether tokens and cost are rising.")
def trend(window: str, bucket: str, written: str, *, test: bool) -> None:
    """Show tokens and cost of model calls over time."""
    from whence.dialects.generations import trend as trends  # noqa: PLC0415 - help does not need it

    with open_reader() as reader:
        found = trends.token_trend(reader, window, bucket=bucket, filter=written, test=test)
    _show(found)


@command("export-training")
@click.option("--into", "path", required=True, metavar="FILE", help="The JSON Lines file to write.")
@click.option(
    "--form",
    type=click.Choice(["plain", "chat"]),
    default="plain",
    show_default=True,
    help="The form of a line.",
)
@_of_outputs
@click.option(
    "--holdout",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    metavar="SHARE",
    help="Share to hold out for testing.",
)
@click.option(
    "--recorded-labels", is_flag=True, help="Take the recorded status of what nobody reviewed."
)
def export_training(
    path: str, form: Any, written: str, holdout: float, *, recorded_labels: bool
) -> None:
    """Write what was reviewed as training data for a judge, one JSON object a line."""
    from whence.dialects.generations import training  # noqa: PLC0415 - help does not need it

    with open_reader() as reader:
        report = training.export_training(
            reader,
            path,
            form=form,
            filter=written,
            holdout=holdout,
            recorded_labels=recorded_labels,
        )
    if choices().json:
        output.print_json(report)
        return
    left_out = figures.counted(report.unjudged, "thing")
    examples = figures.counted(report.examples, "example")
    labels = f"{report.good:,} good, {report.bad:,} bad"
    split = f"{report.train:,} for training, {report.test:,} held out"
    output.print_lines([f"{examples}: {labels}; {split}"])
    output.note(f"{left_out} left out, because nobody judged them")
    if report.without_answer:
        output.note(f"{report.without_answer:,} left out, because their answers are gone")


@command("trim")
@_age_option("The age from which on texts go: 30d, 4w.")
@_fate_option("--prompts")
@_fate_option("--reasoning")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def trim(older_than: int, prompts: Any, reasoning: Any, *, dry_run: bool, yes: bool) -> int:
    """Take prompts and reasoning out of older model calls, on the record.

    Everything else about them stays: counts, costs, answers, ids, links. Segments that a process
    still writes are left for later.
    """  # noqa: DOC201 - it is what --help shows
    from whence.dialects.generations import storage  # noqa: PLC0415 - help does not need it

    home = existing_home()
    how: dict[str, Any] = {
        "older_than_days": older_than,
        "prompts": prompts,
        "reasoning": reasoning,
    }
    planned = storage.trim(home, **how, dry_run=True)
    if dry_run or not planned.records:
        _tell(planned)
        return 0
    if not yes and not _agrees(planned):
        output.note("nothing was changed; say --yes to change it without being asked")
        return 2
    _tell(storage.trim(home, **how))
    return 0


def _agrees(planned: ErasureReport) -> bool:
    if not sys.stdin.isatty():
        return False
    output.note(_sentence(planned))
    return click.confirm("Take it out?", err=True)


def _tell(report: ErasureReport) -> None:
    if choices().json:
        output.print_json(report)
        return
    output.print_lines([_sentence(report)])
    for kept in report.kept:
        output.note(f"{kept.segment} stays: {kept.reason}")


def _sentence(report: ErasureReport) -> str:
    records = figures.counted(report.records, "record")
    if not report.records:
        return "no model call of that age holds such a text"
    where = figures.counted(len(report.segments), "segment")
    size = figures.size(report.old_bytes)
    if report.new_bytes is None:
        return f"would take content out of {records} in {where} ({size})"
    gone = f"{figures.counted(report.blobs, 'blob')} ({figures.size(report.blob_bytes)})"
    now = figures.size(report.new_bytes)
    return f"took content out of {records} in {where}: {size} became {now}, and {gone} went"


@command("archive")
@_age_option("The age from which on traces are put away: 90d, 12w.")
@click.option(
    "--into",
    "path",
    required=True,
    metavar="FILE",
    help="The gzip file to write; it must not exist.",
)
def archive(older_than: int, path: str) -> None:
    """Write the whole traces of older things to a compressed file.

    They stay in the log too, until `trim` or `whence retain` takes them out of it.
    """
    from whence.dialects.generations import storage  # noqa: PLC0415 - help does not need it

    with open_reader() as reader:
        done = storage.archive(reader, Path(path), older_than_days=older_than)
    if choices().json:
        output.print_json(done)
    else:
        traces, size = figures.counted(done.traces, "trace"), figures.size(done.size_bytes)
        output.print_lines([f"{traces} in {output.text.printable(done.path)} ({size})"])


COMMANDS = (compare_prompts, trend, export_training, trim, archive)
"""The commands of this module, in the order of help."""
