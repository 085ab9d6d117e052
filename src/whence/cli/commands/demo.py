"""`whence demo`: runs the example pipeline and asks what whence is there to answer.

The pipeline runs in processes of its own, as a user's would, and only its log is read here. Nothing
is canned: other questions give other answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whence import _clock, config
from whence.cli import figures, filtering, output
from whence.cli.commands.runs import print_runs
from whence.cli.common import choices, command, home_option, home_path, open_reader
from whence.errors import StoreError

if TYPE_CHECKING:
    from whence.query.reader import Reader
    from whence.store.rows import RunRow

EXAMPLE = "python_reference"
PROJECT = "python-reference"
_LEAST_SURE = 5


@command("demo")
@click.option(
    "--questions", type=click.IntRange(min=1), metavar="N", help="Ask the first N questions only."
)
@click.option("--ask", metavar="QUESTION", help="Ask this about Python instead.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Work in N processes.",
)
def demo(questions: int | None, ask: str | None, processes: int) -> int:
    """Run the example pipeline and ask it why.

    A research pipeline with five stages answers questions about Python from the language reference
    that came with your Python: no model, no network. Its quality gate fails some reports and
    retries. What it recorded is then asked: which runs, why this report, what fails most, what to
    look at next. It takes a few seconds.
    """
    began_ns = _clock.wall_ns()
    _run_pipeline(questions, ask, processes)
    with open_reader() as reader:
        runs = reader.runs(
            f"project = {filtering.quote(PROJECT)} and started_ns >= {began_ns}", limit=None
        ).items
        if not runs:
            raise StoreError(
                "the example recorded nothing; is WHENCE_DISABLED set? `whence doctor` says more"
            )
        answer = _ask(reader, runs)
    if choices().json:
        output.print_json(answer)
    return 0


def find_examples() -> Path:
    """Return the folder that the example package is in: the installed package's, or the checkout's.

    Raises:
        StoreError: It is in neither.
    """
    here = Path(__file__).resolve()
    for folder in (here.parents[2] / "_examples", here.parents[4] / "examples"):
        if (folder / EXAMPLE / "__main__.py").is_file():
            return folder
    raise StoreError(
        "the example is not part of this installation; get it with pip install 'whence[cli]' or a checkout"
    )


def _run_pipeline(questions: int | None, ask: str | None, processes: int) -> None:
    """Run the example and pass on what it says, but for what to do next.

    Raises:
        StoreError: It did not come to its end.
    """
    arguments = [
        sys.executable,
        "-m",
        EXAMPLE,
        "--home",
        str(home_path()),
        "--processes",
        str(processes),
    ]
    arguments += ["--ask", ask] if ask else ["--questions", str(questions)] if questions else []
    source = str(Path(config.__file__).resolve().parents[1])
    paths = [str(find_examples()), source, os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, env=environment, encoding="utf-8"
    ) as process:
        for line in process.stdout or ():
            said = output.safe_lines(line.rstrip("\n"))
            if choices().json:
                output.note(said)
            elif not said.startswith("Next:"):
                output.print_lines([said])
                output.flush()
    if process.returncode:
        raise StoreError(
            f"the example ended with exit code {process.returncode}; what it said is above"
        )


def _ask(reader: Reader, runs: list[RunRow]) -> dict[str, Any]:
    """Ask the questions, print the answers unless JSON is wanted, and return them."""
    these = filtering.one_of("run", [run.id for run in runs])
    report_run = _interesting(runs)
    report = str(report_run.output)
    scores = reader.scores(
        f'{these} and name != "overall" and passed is not null', limit=None
    ).items
    judged = Counter(score.name for score in scores)
    failed = Counter(score.name for score in scores if not score.passed)
    unsure = reader.decisions(
        f"{these} and confidence is not null", order="confidence", limit=_LEAST_SURE
    ).items
    worst = failed.most_common(1)[0][0] if failed else None
    commands = _next_commands(runs, report_run, worst)
    why = reader.why(report)
    answer: dict[str, Any] = {
        "home": str(home_path()),
        "runs": [run.to_dict() for run in runs],
        "report": report,
        "why": why.to_dict(),
        "failed_principles": [
            {"name": name, "failed": count, "judged": judged[name]}
            for name, count in failed.most_common()
        ],
        "least_sure": [decision.to_dict() for decision in unsure],
        "next": commands,
    }
    if choices().json:
        return answer
    output.print_heading("The runs")
    print_runs(runs)
    rounds = report_run.attributes.get("rounds")
    output.print_heading(f"Why the report {report} says what it says (round {rounds})")
    output.print_text(str(why))
    output.print_heading("Principles that failed most")
    output.print_table(
        [
            output.Column("principle"),
            output.Column("failed", right=True),
            output.Column("of", right=True),
            output.Column("share", right=True),
        ],
        [
            [name, count, judged[name], figures.share(count / judged[name])]
            for name, count in failed.most_common(_LEAST_SURE)
        ],
    )
    output.print_heading("The decisions it was least sure of")
    output.print_table(
        [
            output.Column("confidence", right=True),
            output.Column("decision"),
            output.Column("chosen"),
            output.Column("why"),
            output.Column("run", whole=True),
        ],
        [[d.confidence, d.name, output.text.printable(d.what, 40), d.why, d.run] for d in unsure],
    )
    output.print_heading("Where to look next")
    output.print_table(
        [output.Column("to see"), output.Column("type", whole=True)],
        [[c["to_see"], c["type"]] for c in commands],
    )
    return answer


def _interesting(runs: list[RunRow]) -> RunRow:
    """Return the run to explain: one that passed after a retry, else one that passed."""

    def rank(run: RunRow) -> tuple[bool, bool]:
        rounds = run.attributes.get("rounds")
        return "gate_passed" in run.tags, isinstance(rounds, int) and rounds > 1

    return max(runs, key=rank)


def _next_commands(
    runs: list[RunRow], report_run: RunRow, worst: str | None
) -> list[dict[str, str]]:
    home = home_option()
    failed = next((run for run in runs if "gate_failed" in run.tags), None)
    other = failed or next((run for run in runs if run.id != report_run.id), report_run)
    commands = [
        ("that run step by step", f"whence show {report_run.id}{home}"),
        ("where two runs part", f"whence compare {report_run.id} {other.id}{home}"),
    ]
    if worst is not None:
        commands.append(
            ("who failed that principle", f"whence runs 'score(\"{worst}\") < 2'{home}")
        )
    if failed is not None:
        commands.append(("why a report never passed", f"whence why {failed.output}{home}"))
    commands.append(
        ("how sure each decision is", f"whence stats --table decisions --by name{home}")
    )
    return [{"to_see": to_see, "type": typed} for to_see, typed in commands]
