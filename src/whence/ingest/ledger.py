"""What was imported into a home: which records each run has, so that nothing is imported twice.

Comes in: notes on the records that a batch wrote. Goes out: the `Shape` of any run. The ledger is
an SQLite file beside the log and follows from it: a batch is written to the log first and entered
here in the same transaction that says how far each segment is covered, so whatever a killed import
left in the log is read back by the next one. A ledger that is damaged, or deleted, is made anew
from the segments of imports; what `whence retain` removes from the log is forgotten here too.

The transaction is also the lock between importing processes: whoever holds it has seen everything
that others imported.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from whence.errors import RecordError, StoreError
from whence.ingest import keys, segments
from whence.ingest.shape import Note, Shape, answers_in, fitting, note_of
from whence.log import reader, segment
from whence.record import codec

if TYPE_CHECKING:
    from collections.abc import Collection, Generator
    from pathlib import Path

    from whence.log.home import Home
    from whence.log.segment import SegmentName

WAIT_S = 60.0
MEMORY_KEYS = 400_000
"""How many records' keys are kept in memory, at about 150 bytes each."""
_CHUNK = 5_000
_TABLES = """
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL,
    covered INTEGER NOT NULL, open INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS notes (run TEXT NOT NULL, segment INTEGER NOT NULL, notes BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS notes_run ON notes (run);
CREATE TABLE IF NOT EXISTS answers (
    answer TEXT NOT NULL, ended_ns INTEGER NOT NULL, run TEXT NOT NULL, segment INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_answer ON answers (answer);
"""
_VERSION = 1
"""What the tables are like. A ledger of another version is made anew from the log."""
_NEAR_NS = 1_000_000
"""Times of one answer may differ so much: things with equal times follow each other."""
_NEW_SEGMENT = "INSERT OR IGNORE INTO segments (name, covered, open) VALUES (?, 0, 1)"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Any]).decode
_inherited: list[sqlite3.Connection] = []
"""Connections of the parent process: kept, for to close one would be to close the parent's."""


def path_of(home: Home) -> Path:
    """Return where the ledger of a home is."""
    return home.root / "imported" / "ledger.sqlite"


class Ledger:
    """The ledger of one home, open for an import.

    Raises:
        StoreError: It cannot be opened or made.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._shapes: dict[str, Shape] = {}
        self._held = 0
        self._version: int | None = None
        self._fresh: dict[str, list[Note]] = {}
        self._fresh_answers: dict[str, list[tuple[str, int]]] = {}
        """Answers among the fresh notes to their runs and times, as far as they were looked at."""
        self._looked_at: dict[str, int] = {}
        self._own = 0
        self._own_name: str = ""
        self._looked_ns = 0
        self._is_ours = True
        self._db = self._opened()

    def _opened(self) -> sqlite3.Connection:
        path = path_of(self._home)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._connect(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, or no room
                    raise
                for file in path.parent.glob(f"{path.name}*"):  # damaged: the log has it all
                    file.unlink(missing_ok=True)
                return self._connect(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"the ledger of imports {path} cannot be opened: {error}") from error

    def _connect(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(
            path,
            timeout=WAIT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=32,
        )
        try:
            db.execute("PRAGMA journal_mode=WAL")
            # A power failure may cost the last commits, which the log then makes good.
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                for table in ("segments", "notes", "answers"):
                    db.execute(f"DROP TABLE IF EXISTS {table}")
                db.execute(f"PRAGMA user_version = {_VERSION}")
            for statement in _TABLES.split(";"):
                db.execute(statement)
            self._take_stock(db)
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def _take_stock(self, db: sqlite3.Connection) -> None:
        """Compare with the segments that are there: forget those that are gone, note new ones."""
        there = {str(name) for name in segments.iter_imported(self._home)}
        noted: dict[str, int] = dict(db.execute("SELECT name, id FROM segments").fetchall())
        for name in noted.keys() - there:
            db.execute("DELETE FROM notes WHERE segment = ?", [noted[name]])
            db.execute("DELETE FROM answers WHERE segment = ?", [noted[name]])
            db.execute("DELETE FROM segments WHERE id = ?", [noted[name]])
        self._note_new(db)
        self._catch_up(db)

    def _note_new(self, db: sqlite3.Connection) -> None:
        """Note the segments that others made: one may have been killed before it could."""
        try:
            changed_ns = self._home.hot.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed_ns != self._looked_ns:
            self._looked_ns = changed_ns
            names = [[str(name)] for name in segments.iter_imported(self._home)]
            db.executemany(_NEW_SEGMENT, names)

    def _catch_up(self, db: sqlite3.Connection) -> None:
        """Read back what is in the log and not entered: a killed import's last batch."""
        rows = db.execute(
            "SELECT id, name, covered FROM segments WHERE open AND id != ?", [self._own]
        ).fetchall()
        for number, text, covered in rows:
            name = segment.parse_name(text)
            path = name.path_in(self._home) if name is not None else None
            if path is None or not path.exists():
                continue
            # Asked first: a writer that lives may write on, but never outside its transaction.
            live = segment.is_live(path)
            end = covered
            if path.stat().st_size > covered:
                end = self._read_back(db, number, path, covered)
            if end != covered or not live:
                db.execute(
                    "UPDATE segments SET covered = ?, open = ? WHERE id = ?", [end, live, number]
                )

    def _read_back(self, db: sqlite3.Connection, number: int, path: Path, start: int) -> int:
        """Enter the records of a segment from a byte on; return where the last whole line ends."""
        found: dict[str, list[Note]] = {}
        end, count = start, 0
        for line in reader.iter_lines(path, start):
            end = line.offset + len(line.content) + 1
            try:
                record = codec.decode(line.content)
            except RecordError:  # whence doctor tells of it
                continue
            found.setdefault(record.run, []).append(note_of(keys.key_of(record), record))
            count += 1
            if count % _CHUNK == 0:
                self._enter(db, number, found)
                found = {}
        self._enter(db, number, found)
        self._forget()
        return end

    @staticmethod
    def _enter(db: sqlite3.Connection, number: int, notes: dict[str, list[Note]]) -> None:
        rows = [(run, number, _encode(of_run)) for run, of_run in notes.items() if of_run]
        db.executemany("INSERT INTO notes (run, segment, notes) VALUES (?, ?, ?)", rows)
        answers = [
            (answer, ended_ns, run, number)
            for run, of_run in notes.items()
            for answer, ended_ns in answers_in(of_run)
        ]
        db.executemany(
            "INSERT INTO answers (answer, ended_ns, run, segment) VALUES (?, ?, ?, ?)", answers
        )

    def own(self, name: SegmentName) -> None:
        """Say which segment the current batch goes to, before the first byte of it is written.

        Raises:
            StoreError: The ledger cannot be written.
        """
        text = str(name)
        if text == self._own_name:
            return
        with self._translated():
            self._db.execute(_NEW_SEGMENT, [text])
            row = self._db.execute("SELECT id FROM segments WHERE name = ?", [text]).fetchone()
        self._own, self._own_name = int(row[0]), text

    def begin(self) -> None:
        """Begin a batch: wait for other imports, and see what they did.

        Raises:
            StoreError: Another import held the ledger for a minute, or it cannot be read.
        """
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:  # another process entered something
                self._version = version
                self._forget()
            self._note_new(self._db)
            self._catch_up(self._db)

    def commit(self, covered: int) -> None:
        """End a batch that is in the log.

        Args:
            covered: Length of the current segment in bytes.

        Raises:
            StoreError: The ledger cannot be written; the log has the batch, and the ledger will
                read it back.
        """
        with self._translated():
            self._enter(self._db, self._own, self._fresh)
            self._db.execute("UPDATE segments SET covered = ? WHERE id = ?", [covered, self._own])
            self._db.execute("COMMIT")
        self._held += sum(map(len, self._fresh.values()))
        latest, self._fresh = self._fresh, {}
        self._fresh_answers, self._looked_at = {}, {}
        if self._held > MEMORY_KEYS:
            self._forget_oldest(latest)

    def roll_back(self) -> None:
        """End a batch of which nothing was written."""
        self._fresh, self._fresh_answers, self._looked_at = {}, {}, {}
        self._own, self._own_name = 0, ""
        self._forget()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def run(self, run_id: str) -> Shape:
        """Return what is known of a run; an empty shape if nothing is.

        Raises:
            StoreError: The ledger cannot be read.
        """
        shape = self._shapes.get(run_id)
        if shape is None:
            shape = self._shapes[run_id] = Shape()
            with self._translated():
                for (text,) in self._db.execute(
                    "SELECT notes FROM notes WHERE run = ? ORDER BY rowid", [run_id]
                ):
                    for note in _decode(text):
                        shape.add_note(note)
            self._held += len(shape.keys) + 1
        return shape

    def answered(self, answer: str, ended_ns: int) -> str | None:
        """Return the run that has the model call with an answer; None if none has.

        Raises:
            StoreError: The ledger cannot be read.
        """
        answer = fitting(answer)
        for run_id, notes in self._fresh.items():  # of the batch that is not entered yet
            for found, at_ns in answers_in(notes[self._looked_at.get(run_id, 0) :]):
                self._fresh_answers.setdefault(found, []).append((run_id, at_ns))
            self._looked_at[run_id] = len(notes)
        with self._translated():
            entered = self._db.execute(
                "SELECT run, ended_ns FROM answers WHERE answer = ? ORDER BY rowid", [answer]
            ).fetchall()
        there = [*entered, *self._fresh_answers.get(answer, ())]
        return next((run for run, at_ns in there if abs(at_ns - ended_ns) < _NEAR_NS), None)

    def notes_of(self, run_id: str) -> list[Note]:
        """Return the list that gets the notes on the current batch's records of a run."""
        return self._fresh.setdefault(run_id, [])

    def _forget(self) -> None:
        self._shapes.clear()
        self._held = 0

    def _forget_oldest(self, latest: Collection[str]) -> None:
        """Keep the younger half of what is in memory, and what the latest batch was about.

        A run that is larger than the memory would else be loaded again for every batch.
        """
        for run_id in list(self._shapes):
            if self._held <= MEMORY_KEYS // 2:
                return
            if run_id not in latest:
                self._held -= len(self._shapes.pop(run_id).keys) + 1

    def disown(self) -> None:
        """Give the file up in a forked child, in which SQLite must not touch it any more."""
        _inherited.append(self._db)
        self._is_ours = False

    def close(self) -> None:
        """Close the file."""
        if not self._is_ours:
            return
        if self._db.in_transaction:
            self.roll_back()
        self._db.close()

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"the ledger of imports {path_of(self._home)} cannot be used ({error}); "
                "should that last, delete it: it is made anew from the log"
            ) from error
