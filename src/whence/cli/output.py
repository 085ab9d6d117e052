"""Prints: one JSON document for programs, tables on a terminal, aligned plain text in a pipe.

Whatever a user recorded is data here. It reaches a terminal only through
`whence.query.text.printable` and inside a rich `Text`, which no markup of its own can leave; JSON
escapes what a terminal might obey. Nothing here knows a store.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.cli import fitting
from whence.query import restore, text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from rich.console import Console

_OBEYED = re.compile(
    "[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What JSON leaves as it is and a terminal may obey: C1 controls, directions, invisible characters;
and lone surrogates, which UTF-8 refuses.
"""

_HALVES_FROM = 0x10000
_WORD = re.compile(r"[^ \n]+")

PROGRESS_AFTER_NS = 1_000_000_000
_STYLES = {
    "complete": "green",
    "ok": "green",
    "passed": "green",
    "kept": "green",
    "running": "cyan",
    "failed": "bold red",
    "error": "bold red",
    "dropped": "dim",
    "incomplete": "yellow",
    "cancelled": "yellow",
    "warning": "yellow",
    "flagged": "yellow",
    "note": "cyan",
}
"""The colour of a word in a column of states."""


_HIGHLIGHTS = (
    (r"\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b", "dim"),
    (r"(?m)^ *(stage|step|agent|tool|retrieval|generation) ", "cyan"),
    (r"\b(kept|passed|complete)\b", "green"),
    (r"\b(failed|error|lost)\b", "red"),
    (r"\b(dropped|rejected)\b", "yellow"),
    (r"(?m)^ +not .*$", "dim"),
    (r"\bdecided [^:\n]+:", "bold cyan"),
    (r"(?m)^(#+|run) .*$", "bold"),
)
"""What stands out in text that was laid out elsewhere."""


Column = fitting.Column


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def console() -> Console:
    """Return rich's view of the terminal."""
    from rich.console import Console  # noqa: PLC0415 - plain output does without it

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """Print one JSON document: exact values, nothing that a terminal would obey."""
    print_lines([json_text(value, indent=2)])


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON in which everything a terminal may obey is escaped."""
    plain = restore.to_json(_plain(value))
    written = json.dumps(plain, ensure_ascii=False, indent=indent, allow_nan=False)
    return _OBEYED.sub(_escaped, written)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code >= _HALVES_FROM:
        high, low = divmod(code - _HALVES_FROM, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return f"\\u{code:04x}"


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}  # type: ignore[misc] - any mapping
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]  # type: ignore[misc] - any sequence
    return value


def safe_lines(content: str) -> str:
    """Return text of several lines with every word made printable and its layout kept."""
    return _WORD.sub(lambda match: text.printable(match[0]), content)


def print_text(content: str) -> None:
    """Print text that was laid out already; a terminal colours the words of states."""
    safe = safe_lines(content)
    if not is_terminal():
        print_lines([safe])
        return
    from rich.text import Text  # noqa: PLC0415 - plain output does without it

    coloured = Text(safe)
    for pattern, style in _HIGHLIGHTS:
        coloured.highlight_regex(pattern, style)
    console().print(coloured)


def print_lines(lines: Sequence[str]) -> None:
    """Print lines as they are; they have to be printable already."""
    out = sys.stdout
    content = "\n".join(lines) + "\n"
    try:
        out.write(content)
    except UnicodeEncodeError:  # a terminal with a smaller alphabet than the records
        encoding = out.encoding or "ascii"
        out.write(content.encode(encoding, "backslashreplace").decode(encoding))


def print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[Any]], *, title: str = ""
) -> None:
    """Print a table; cells may be anything and are made printable here.

    On a terminal states are coloured, and a table that is too wide is made to fit as `fitting`
    says: what it leaves out is named below it, and where no table fits each row is a record. In a
    pipe every cell is whole, on one line.
    """
    cells = [[text.printable(cell) for cell in row] for row in rows]
    if is_terminal():
        _print_rich(columns, cells, title)
        return
    if title:
        print_lines([text.printable(title)])
    right = frozenset(place for place, column in enumerate(columns) if column.right)
    print_lines(text.table([column.title for column in columns], cells, right))


def _print_rich(columns: Sequence[Column], rows: list[list[str]], title: str) -> None:
    from rich import box  # noqa: PLC0415 - plain output does without it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    screen = console()
    if title:
        screen.print(Text(text.printable(title), style="bold"))
    layout = fitting.fit(columns, rows, screen.width)
    if layout is None:
        _print_records(columns, rows)
        return
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, fitting.GAP_COLUMNS - 1, 0, 0),  # the box draws the rest of the gap
        header_style="bold",
    )
    shown = [columns[place] for place in layout.places]
    for column, width in zip(shown, layout.widths, strict=True):
        table.add_column(
            Text(text.printable(column.title)),
            justify="right" if column.right else "left",
            width=width,
            overflow="fold",
            style="dim" if column.dim else "",
        )
    for row in rows:
        table.add_row(
            *(
                Text(
                    text.cut(row[place], width) if column.cut else row[place],
                    style=_STYLES.get(row[place], "") if column.state else "",
                )
                for place, column, width in zip(layout.places, shown, layout.widths, strict=True)
            )
        )
    screen.print(table)
    if layout.left_out:
        titles = ", ".join(text.printable(one) for one in layout.left_out)
        said = f"left out: {titles}; a wider terminal, a pipe or --json shows all"
        screen.print(Text(said, style="dim"))


def _print_records(columns: Sequence[Column], rows: list[list[str]]) -> None:
    """Print each row as names and values below each other, every value whole."""
    from rich.table import Table  # noqa: PLC0415 - plain output does without it
    from rich.text import Text  # noqa: PLC0415

    screen = console()
    titles = [text.printable(column.title) for column in columns]
    if not rows:
        screen.print(Text(", ".join(titles), style="bold"))
    widest = max((text.columns(title) for title in titles), default=0)
    for number, row in enumerate(rows, start=1):
        grid = Table.grid(padding=(0, fitting.GAP_COLUMNS, 0, 0))
        grid.add_column(style="dim", overflow="fold", width=min(widest, screen.width // 3))
        grid.add_column(overflow="fold")
        for title, column, cell in zip(titles, columns, row, strict=True):
            grid.add_row(
                Text(title), Text(cell, style=_STYLES.get(cell, "") if column.state else "")
            )
        screen.print(Text(f"{number:,} of {len(rows):,}", style="bold"))
        screen.print(grid)


def style_of(state: str) -> str:
    """Return the colour of a word that says how something went; empty for a word without one."""
    return _STYLES.get(state, "")


def flush() -> None:
    """Hand over what was printed, to whoever reads it live."""
    sys.stdout.flush()


def print_facts(rows: Sequence[Sequence[str]]) -> None:
    """Print names and what is to be said about each, in two columns without a head."""
    cells = [[text.printable(name), text.printable(said)] for name, said in rows]
    if is_terminal():
        from rich.table import Table  # noqa: PLC0415 - plain output does without it
        from rich.text import Text  # noqa: PLC0415

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, said in cells:
            grid.add_row(Text(name), Text(said))
        console().print(grid)
        return
    width = max((text.columns(name) for name, _ in cells), default=0)
    print_lines([f"{text.pad(name, width)}  {said}" for name, said in cells])


def print_item(state: str, said: str, below: Sequence[str] = ()) -> None:
    """Print a line that begins with a word of state, and lines below it that explain."""
    indent = " " * 9
    if is_terminal():
        from rich.table import Table  # noqa: PLC0415 - plain output does without it
        from rich.text import Text  # noqa: PLC0415

        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=len(indent) - 1, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(state, style=style_of(state)), Text(text.printable(said)))
        for line in below:
            grid.add_row("", Text(text.printable(line), style="dim"))
        console().print(grid)
        return
    lines = [f"{state:<{len(indent)}}{text.printable(said)}"]
    print_lines([*lines, *(indent + text.printable(line) for line in below)])


def print_heading(heading: str) -> None:
    """Print a line that begins a part of the output, with an empty line before it."""
    if is_terminal():
        from rich.text import Text  # noqa: PLC0415 - plain output does without it

        console().print(Text("\n" + text.printable(heading), style="bold"))
    else:
        print_lines(["", text.printable(heading)])


def note(message: str) -> None:
    """Print a remark on standard error, where it does not mix with the answer."""
    sys.stderr.write(f"{safe_lines(message)}\n")


@contextmanager
def progress(label: str, unit: str = "bytes") -> Generator[Callable[[int, int], None]]:
    """Yield a function that takes how much is done and how much there is, and draws a bar.

    The bar is drawn on standard error, when that is a terminal and the work has taken longer than a
    second.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415 - plain output does without it
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    figures = (
        DownloadColumn()
        if unit == "bytes"
        else TextColumn("{task.completed:,.0f} of {task.total:,.0f}")
    )
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        figures,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(label, total=None)
    began_ns = _clock.mono_ns()

    def advance(done: int, total: int) -> None:
        if _clock.mono_ns() - began_ns >= PROGRESS_AFTER_NS and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        bar.stop()
