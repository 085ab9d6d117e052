"""`whence tail`: the newest records, and then those that are being written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from whence import _clock
from whence.cli import figures, filtering, gist, output
from whence.cli.common import choices, command, existing_home, open_reader
from whence.errors import StoreError
from whence.record import codec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whence.query.reader import Reader
    from whence.record.codec import AnyRecord

POLL_S = 0.1
_IDS_AT_ONCE = 200
_RUN_DIGITS = 16
_KIND_COLUMNS = 12


@dataclass(frozen=True)
class Wanted:
    """Which records are shown."""

    run: str | None = None
    """Records of this run."""
    table: str | None = None
    """Records that belong to this table."""
    kinds: frozenset[str] = frozenset()
    """Records of these kinds; of all if empty."""
    filter: str = ""
    """Rows of the table, or runs, that satisfy this."""
    reader: Reader | None = None
    """Who answers the filter."""

    def keep(self, records: list[AnyRecord]) -> list[AnyRecord]:
        """Return the wanted ones of some records."""
        kept = [record for record in records if self._fits(record)]
        if not kept or self.reader is None:
            return kept
        if self.table is None:
            runs = _matching(self.reader, "runs", self.filter, {r.run for r in kept})
            return [record for record in kept if (record.run, record.run) in runs]
        rows = _matching(self.reader, self.table, self.filter, {_row_id(r) for r in kept})
        return [record for record in kept if (record.run, _row_id(record)) in rows]

    def _fits(self, record: AnyRecord) -> bool:
        return (self.run is None or record.run == self.run) and (
            not self.kinds or gist.kind_of(record) in self.kinds
        )


def _row_id(record: AnyRecord) -> str:
    table = gist.TABLE_OF_KIND.get(gist.kind_of(record))
    return record.run if table == "runs" else record.span or "" if table == "spans" else record.id


def _matching(reader: Reader, table: str, written: str, ids: Iterable[str]) -> set[tuple[str, str]]:
    """Return run and id of the rows among `ids` that satisfy the filter."""
    wanted = sorted(ids)
    found: set[tuple[str, str]] = set()
    for begin in range(0, len(wanted), _IDS_AT_ONCE):
        part = filtering.one_of("id", wanted[begin : begin + _IDS_AT_ONCE])
        whole = filtering.combined(table, written, [part])
        found |= {(row.run, row.id) for row in reader.rows(table, whole, limit=None)}
    return found


@command("tail")
@filtering.argument_or_option
@click.option("--run", "run_id", metavar="ID", help="Records of this run.")
@click.option(
    "--kind", metavar="KIND", help="Records of this kind or table: decision, scores, runs."
)
@click.option(
    "-n",
    "last",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Show the last N first.",
)
@click.option(
    "--follow/--no-follow", default=True, show_default=True, help="Go on as records are written."
)
def tail(
    written: str,
    *,
    by_option: str,
    run_id: str | None,
    kind: str | None,
    last: int,
    follow: bool,
) -> int:
    """Show the newest records, and go on as they are written.

    Ctrl-C ends it.

    FILTER is an expression of the filter language: about rows of the table that --kind names, and
    without --kind about runs, of which all records are shown then. With --json each record is one
    line of JSON.
    """  # noqa: DOC201 - it is what --help shows
    from whence.cli.follow import Follower, last_records  # noqa: PLC0415 - help does not need it
    from whence.query.find import find_run  # noqa: PLC0415

    written = filtering.given_once(written, by_option)
    home = existing_home()
    table, kinds = _of_kind(kind)
    filtering.combined(table or "runs", written)
    reader = open_reader() if written.strip() or run_id else None
    try:
        wanted = Wanted(
            run=find_run(reader.store, run_id) if reader and run_id else None,
            table=table,
            kinds=kinds,
            filter=written,
            reader=reader if written.strip() else None,
        )
        follower = Follower(home)
        _show(last_records(home, last, wanted.keep))
        while follow:
            _show(wanted.keep(follower.read_new()))
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        return 0  # how one leaves it
    finally:
        if reader is not None:
            reader.close()
    return 0


def _of_kind(word: str | None) -> tuple[str | None, frozenset[str]]:
    """Return the table that a word means, and the kinds of records that make its rows.

    Raises:
        StoreError: There is no such kind.
    """
    if word is None:
        return None, frozenset()
    for kind, table in gist.TABLE_OF_KIND.items():
        if word in {kind, table, table.removesuffix("s")}:
            kinds = (
                {word} if word == kind else {k for k, t in gist.TABLE_OF_KIND.items() if t == table}
            )
            return table, frozenset(kinds)
    known = ", ".join(gist.TABLE_OF_KIND)
    raise StoreError(
        f"there is no kind of record {output.text.printable(word, 40)!r}; the kinds are {known}"
    )


def _show(records: list[AnyRecord]) -> None:
    if not records:
        return
    if choices().json:
        output.print_lines(
            [output.json_text(codec.decode_json(codec.encode(record))) for record in records]
        )
    elif output.is_terminal():
        _show_rich(records)
    else:
        output.print_lines([_line(record) for record in records])
    output.flush()


def _line(record: AnyRecord) -> str:
    kind = text_of(gist.kind_of(record)).ljust(_KIND_COLUMNS)
    where = text_of(record.stage or "")
    head = (
        f"{figures.clock(_clock.parse_ns(record.ts))} {figures.zone()}  {record.run or '-'}  {kind}"
    )
    return f"{head}  {f'[{where}] ' if where else ''}{gist.gist(record)}".rstrip()


def _show_rich(records: list[AnyRecord]) -> None:
    from rich.text import Text  # noqa: PLC0415 - help does not need it

    console = output.console()
    for record in records:
        state = gist.state_of(record)
        line = Text.assemble(
            (figures.clock(_clock.parse_ns(record.ts)), "dim"),
            " ",
            (text_of(record.run)[:_RUN_DIGITS].ljust(_RUN_DIGITS), "dim"),
            " ",
            (text_of(gist.kind_of(record)).ljust(_KIND_COLUMNS), output.style_of(state) or "bold"),
            " ",
            (f"[{text_of(record.stage)}] " if record.stage else "", "cyan"),
            gist.gist(record),
        )
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def text_of(value: str) -> str:
    """Return a text as a terminal may show it."""
    return output.text.printable(value)
