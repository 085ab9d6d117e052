"""What capture knows in this process.

The settings, the one writer, and what the current segment already holds.

`configure` may be called at any time and holds for runs started afterwards. The writer opens with
the first record, so importing and configuring touch no disk. A forked child forgets its parent's
writer and opens its own segment.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence import _ids, _interrupts, config
from whence.capture import guard
from whence.errors import ConfigError
from whence.log import blobs, lines
from whence.log.writer import Writer
from whence.record.values import MARK

if TYPE_CHECKING:
    from whence.log.resend import Seen

Redact = Callable[..., Any]
Direct = Callable[..., Any]
HELD = "held"
"""Key of a marker that holds bytes until texts in them are redacted."""


class FlushReport(msgspec.Struct, frozen=True):
    """What became of the records of this process so far."""

    written: int
    """How many are in the log."""
    lost: int
    """How many could not be kept."""
    why: str | None = None
    """Why the last of them was lost; None if none was."""
    unmirrored: int = 0
    """How many spans and records `otel` did not get; the log has them."""


class State:
    """The process-wide settings and writer. There is one, `current`."""

    def __init__(self) -> None:
        self.enabled = True
        self.settings: config.Settings | None = None
        self.writer: Writer | None = None
        self.mirror: Any = None
        """What sends finished runs on, if `otel` asks for it."""
        self.seen: Seen | None = None
        """What the current segment holds already; None before anything was looked for."""
        self.projects: dict[str, bool] = {}
        self.redact: Redact | None = None
        self.redact_takes_path = False
        self.capture_content = True
        self.sample_ratio = 1.0
        self.careful = False
        """Whether records have to take the slow path because of `redact` or `capture_content`."""
        self.quick: Writer | None = None
        """The writer if it is open and records may take the fast path."""
        self.direct: Direct | None = None
        """The compiled way to write a record, if there is one and records may take the fast path.

        It answers None for a record that it leaves to the writer's other methods.
        """
        self.direct_fields: Any = None
        """The same for values by name."""
        self.unwritable: dict[str, int] = {}
        """How many records of each run were lost because no writer could be opened."""
        self.unwritable_why = ""
        self.pid = os.getpid()
        self.opening = threading.RLock()
        self.parked: tuple[Writer | None, Writer | None] | None = None
        """Writer and `quick` while the process forks, which they have to stay out of."""

    def load(self) -> config.Settings:
        """Return the settings, read from the environment if nobody configured them."""
        if self.settings is None:
            self.settings = config.from_environment()
            self.enabled = self.settings.enabled
        return self.settings

    def is_on(self) -> bool:
        """Whether anything is to be recorded.

        Returns:
            True, too, if the settings cannot be read now: whoever writes finds out why, and counts.
        """
        try:
            return self.load().enabled
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            _interrupts.pass_on(error)
            return True

    def open_writer(self) -> Writer:
        """Return the writer of this process, made now if there is none."""
        writer = self.find_writer()
        if writer is not None:
            return writer
        with self.opening:  # two threads may record their first records at once
            if self.writer is None:
                from whence.log.home import Home  # noqa: PLC0415 - only those who record pay for it

                settings = self.load()
                writer = Writer(Home(settings.home), durability=settings.durability)
                lost, self.unwritable = self.unwritable, {}
                for run, count in lost.items():
                    writer.count_loss(run, self.unwritable_why, count)
                self.write_with(writer)
            return cast("Writer", self.writer)

    def lose_without_writer(self, run: str, why: str) -> None:
        """Count a record that was lost because no writer could be opened."""
        self.unwritable[run] = self.unwritable.get(run, 0) + 1
        self.unwritable_why = why

    def write_with(self, writer: Writer) -> None:
        """Let the records of this process go to a writer from now on."""
        if not self.careful:
            self._be_quick_with(writer)
        if self.mirror is not None:
            self.mirror.follow(writer)
        self.writer = writer

    def _be_quick_with(self, writer: Writer | None) -> None:
        self.quick = writer
        if lines.COMPILED and writer is not None:
            self.direct, self.direct_fields = writer.put, writer.put_fields

    def park(self) -> None:
        """Put the writer aside."""
        if self.writer is not None or self.parked is None:
            self.parked = self.writer, self.quick
        self.let_go()

    def resume(self) -> None:
        """Take the writer up again, unless another one was opened meanwhile."""
        parked, self.parked = self.parked, None
        if parked is not None and self.writer is None:
            self._be_quick_with(parked[1])
            self.writer = parked[0]

    def let_go(self) -> None:
        """Have no writer any more."""
        self.writer = self.quick = self.direct = self.direct_fields = None

    def find_writer(self) -> Writer | None:
        """Return the writer of this process if there is one, also while the process forks."""
        parked = self.parked
        if parked is not None and self.pid != os.getpid():
            _after_fork_in_child()
            parked = None
        return self.writer or (None if parked is None else parked[0])

    def records_project(self, project: str | None) -> bool:
        """Whether runs of `project` are recorded, the sampling draw included."""
        if project is not None and not self.projects.get(project, True):
            return False
        if self.sample_ratio >= 1.0:
            return True
        import random  # noqa: PLC0415 - only those who sample pay for it

        return random.random() < self.sample_ratio  # noqa: S311 - no secret


current = State()


def put_blob(content: bytes, encoding: blobs.Encoding, preview: str) -> dict[str, Any]:
    """Return the marker of bytes that a user's value holds, stored as a blob of the current home.

    Where texts are redacted first, the marker holds the bytes until that is done.
    """
    if not current.capture_content:
        return {MARK: "withheld", "why": "capture_content is off", "size_bytes": len(content)}
    if current.redact is not None:
        return {MARK: "blob", "encoding": encoding, HELD: content}
    return store_blob(content, encoding, preview)


def store_blob(content: bytes, encoding: blobs.Encoding, preview: str) -> dict[str, Any]:
    """Store bytes as a blob.

    Returns:
        The marker; one without bytes if the disk refuses them.
    """
    writer = current.writer or current.open_writer()
    try:
        return blobs.put(
            writer.home, content, encoding, preview=preview, sync=writer.durability != "process"
        )
    except OSError as error:
        _interrupts.pass_on(error)
        why = f"{error.strerror or error} while storing a value of {len(content)} bytes"
        from whence.capture.context import current_scope  # noqa: PLC0415 - hardly any disk refuses

        scope = current_scope.get()
        writer.count_loss("" if scope is None else scope.run_id, why)
        return {MARK: "withheld", "why": why, "size_bytes": len(content), "preview": preview}


def configure(
    home: str | os.PathLike[str] | None = None,
    *,
    enabled: bool = True,
    projects: Mapping[str, bool] | None = None,
    durability: config.Durability = "process",
    redact: Redact | None = None,
    capture_content: bool = True,
    sample_ratio: float = 1.0,
    otel: object = None,
) -> None:
    """Set where and how this process records.

    Args:
        home: The home folder; the variable `WHENCE_HOME`, else `./.whence`, if None.
        enabled: False turns every verb into a call that does nothing.
        projects: `{"secret": False}` switches recording off for runs of one project.
        durability: `process`: a record survives SIGKILL when its call returns. `group`: it is on
            the disk within 50 ms. `record`: it is on the disk when its call returns.
        redact: Called with every text in a record before it is written, and with its path if it
            takes two arguments; returns the text to write. If it raises, the text is withheld.
        capture_content: False keeps prompts, messages, inputs and outputs out of the log; their
            sizes are kept.
        sample_ratio: Share of runs to record, 0 to 1.
        otel: Where finished runs are sent as OpenTelemetry spans while the program goes on: an
            address, a `SpanExporter` or `TracerProvider` of opentelemetry-sdk, or a mapping with
            one of these under `to` and any of `headers`, `convention`, `content`.

    Raises:
        ConfigError: A value cannot be used.
    """
    if type(sample_ratio) not in (float, int) or not 0.0 <= sample_ratio <= 1.0:
        message = f"sample_ratio is {sample_ratio!r}; it has to be between 0 and 1"
        raise ConfigError(message)
    if redact is not None and not callable(redact):
        message = f"redact is {redact!r}; it has to be a function of a text"
        raise ConfigError(message)
    if projects is not None and not isinstance(cast("Any", projects), Mapping):
        message = f"projects is {projects!r}; it has to be a mapping of names to True or False"
        raise ConfigError(message)
    for project, switch in (projects or {}).items():
        config.check_switch(f"projects[{project!r}]", switch)
    config.check_switch("capture_content", capture_content)
    config.check_switch("enabled", enabled)
    loaded = config.from_environment()
    settings = config.Settings(
        home=config.home_path(home),
        enabled=enabled and loaded.enabled,
        durability=config.check_durability(
            durability if durability != "process" else loaded.durability
        ),
        compact_at_exit=loaded.compact_at_exit,
    )
    mirror = None
    if otel is not None:
        from whence import _registry  # noqa: PLC0415 - importing whence has to be quick

        mirror = _registry.load("mirror").open_mirror(otel, guard.tell_once)
    redact_takes_path = redact is not None and _takes_path(redact)
    current.find_writer()  # a forked child forgets its parent's, and the lock
    with current.opening:  # else a thread that records now could open a writer that redacts nothing
        writer, mirrored = current.find_writer(), current.mirror
        current.mirror = mirror
        current.settings = settings
        current.enabled = settings.enabled
        current.projects = dict(projects or {})
        current.redact = redact
        current.redact_takes_path = redact_takes_path
        current.capture_content = capture_content
        current.sample_ratio = sample_ratio
        current.careful = redact is not None or not capture_content
        current.parked = None
        current.let_go()
    if writer is not None:
        writer.close()
        guard_losses(writer)
    if mirrored is not None:
        mirrored.stop()


def flush(timeout: float | None = None) -> FlushReport:
    """Bring what is written to the disk and return how much was written and lost.

    At durability `process` there is nothing to wait for: every record is in the file when its call
    returns. A flush of the log is one fdatasync and cannot be stopped half-way; `timeout` (seconds)
    is how long what `otel` names is waited for, 5 if None.

    Returns:
        What became of the records of this process.
    """
    writer = current.find_writer()
    if writer is None:
        lost = sum(current.unwritable.values())
        return FlushReport(0, lost, current.unwritable_why if lost else None)
    writer.flush()
    unmirrored = 0 if current.mirror is None else current.mirror.drain(timeout).lost
    why = writer.last_reason if writer.lost else None
    return FlushReport(writer.written, writer.lost, why, unmirrored)


def guard_losses(writer: Writer) -> None:
    """Say on standard error that records were lost, if any were since it was said last."""
    if writer.lost:
        guard.tell_once(
            f"lost {writer.home.root}",
            f"{writer.lost} records could not be kept: {writer.last_reason}. See `whence doctor`.",
        )


def _takes_path(redact: Redact) -> bool:
    """Whether a function asks for the path.

    Returns:
        True if it has a second argument that it needs or that is called `path`.
    """
    import inspect  # noqa: PLC0415 - only those who redact pay for it

    try:
        parameters = list(inspect.signature(redact).parameters.values())
    except (TypeError, ValueError):
        return False
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return True
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 and (
        positional[1].default is inspect.Parameter.empty or positional[1].name == "path"
    )


def _at_exit() -> None:
    writer = current.find_writer()
    if writer is None:
        return
    writer.close()
    guard_losses(writer)
    if current.mirror is not None:
        current.mirror.stop()
    if writer.serial > 1 and (current.settings is None or current.settings.compact_at_exit):
        from whence.capture import handover  # noqa: PLC0415 - only for programs that recorded much

        handover.start_compactor_if_due(writer.home)


def _before_fork() -> None:
    """Put the writer aside until the process has forked.

    In the child, hooks of others and finalizers may record before ours has run: they must find
    neither the parent's segment nor a lock that a thread of the parent holds. Who records in the
    parent meanwhile gets it from `open_writer`.
    """
    _ids.begin_fork()
    current.park()


def _after_fork_in_parent() -> None:
    current.resume()
    _ids.end_fork()


def _after_fork_in_child() -> None:
    parked, current.parked = current.parked, None
    if parked is None and current.pid == os.getpid():
        return  # a record came first
    _ids.reseed()
    inherited = [current.writer] if parked is None else [current.writer, parked[0]]
    current.let_go()
    current.seen = None
    current.unwritable = {}  # the parent tells of its own
    current.pid = os.getpid()
    current.opening = threading.RLock()  # another thread of the parent may have held it
    for writer in inherited:
        if writer is not None:
            writer.disown()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
