"""Homes full of odd but lawful records, the same for the same seed: what stores are compared on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from strategies import POOL_KEYS, POOL_NUMBERS, POOL_TEXTS

from whence import _clock
from whence.log.writer import Writer
from whence.record import codec
from whence.record.base import Record
from whence.record.decision import Option
from whence.record.event import Foreign
from whence.record.generation import Generation, ToolCall, Usage
from whence.record.span import SpanStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.log.home import Home

_R = TypeVar("_R", bound=Record)
START_NS = 1_793_527_200_000_000_000
_ENVELOPE = {"v", "seq", "ts", "run", "span", "id", "stage", "extra"}
_POINTS = [
    kind
    for kind in codec.KINDS.values()
    if kind is not Foreign and not kind.__name__.startswith(("Run", "Span", "Update"))
]


def fill(
    home: Home,
    seed: int,
    *,
    runs: int = 12,
    writers: int = 3,
    pause: Callable[[], object] | None = None,
) -> list[Writer]:
    """Write runs with records of every kind over several writers, and return these, still open.

    Some runs and spans never end, some records of a run come from another writer than its start,
    some arrive out of order, and segments end in the middle of a run. Spans of tools and models
    have calls that end them, and others that do not. `pause` is called now and then.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    opened = [Writer(home, rotate_bytes=rng.choice((4_000, 20_000))) for _ in range(writers)]
    clock = START_NS
    for number in range(runs):
        run = f"{rng.getrandbits(128):032x}"
        mine = opened[number % writers]
        clock += rng.choice((1, 1_000_000_000))
        starts = [_span_start(rng, clock + i, run) for i in range(rng.randrange(5))]
        lines: list[tuple[Writer, Record]] = [
            (mine, _made(rng, codec.KINDS["run_started"], clock, run, None))
        ]
        lines += [(mine, start) for start in starts]
        for _ in range(rng.randrange(24)):
            clock += rng.choice((0, 1, 1_000))
            writer = mine if rng.random() < 0.8 else rng.choice(opened)
            start = rng.choice([None, *starts])
            lines.append((writer, _point(rng, clock, run, start)))
        lines += [
            (mine, _made(rng, codec.KINDS["span_ended"], clock, run, start.span))
            for start in starts
            if rng.random() < (0.4 if start.span_kind in ("tool", "generation") else 0.8)
        ]
        if rng.random() < 0.8:
            lines.append((mine, _made(rng, codec.KINDS["run_ended"], clock + 5, run, None)))
        for writer, record in lines:
            writer.append(codec.encode_json(record), _clock.wall_ns(), run)
            if pause is not None and rng.random() < 0.03:
                pause()
    return opened


def _span_start(rng: random.Random, ts_ns: int, run: str) -> SpanStarted:
    kind = rng.choice(("stage", "tool", "tool", "generation", "generation", "step", *POOL_TEXTS))
    made = _made(rng, SpanStarted, ts_ns, run, f"{rng.getrandbits(64):016x}")
    return msgspec.structs.replace(made, span_kind=kind)


def _point(rng: random.Random, ts_ns: int, run: str, start: SpanStarted | None) -> Record:
    """Return a record in the span: for a tool's or model's, often the call that it stands for."""
    span = start.span if start is not None else None
    if start is not None and start.span_kind == "tool" and rng.random() < 0.5:
        call = _made(rng, ToolCall, ts_ns, run, span)
        return msgspec.structs.replace(call, tool_name=start.name, status=_call_status(rng))
    if start is not None and start.span_kind == "generation" and rng.random() < 0.5:
        call = _made(rng, Generation, ts_ns, run, span)
        return msgspec.structs.replace(call, status=_call_status(rng))
    return _made(rng, rng.choice([*_POINTS, codec.KINDS["update"]]), ts_ns, run, span)


def _call_status(rng: random.Random) -> str:
    return rng.choice(("ok", "ok", "error", "cancelled"))


def _made(rng: random.Random, kind: type[_R], ts_ns: int, run: str, span: str | None) -> _R:
    fields: dict[str, Any] = {"ts": _clock.format_ns(ts_ns), "run": run, "span": span}
    fields["id"] = f"{rng.getrandbits(64):016x}"
    fields["stage"] = rng.choice((None, "collection", "Draft"))
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        if field.name in _ENVELOPE:
            continue
        required = field.default is msgspec.NODEFAULT
        if not required and rng.random() < 0.4:
            continue
        fields[field.name] = _value(rng, hints[field.name], field.name)
    if "status" in fields and rng.random() < 0.5:
        fields["status"] = "error"
    return kind(**fields)


def _value(rng: random.Random, hint: Any, name: str) -> Any:  # noqa: C901, PLR0911 - one branch a field or form
    options = (
        [t for t in get_args(hint) if t is not type(None)]
        if type(None) in get_args(hint)
        else [hint]
    )
    kind = options[0]
    if name == "since":
        return _clock.format_ns(START_NS)
    if kind is Usage:
        counts: dict[str, Any] = {
            n: rng.choice((None, 0, 7, 10)) for n in ("input_uncached", "cache_read", "reasoning")
        }
        return Usage(**counts, stated=rng.choice((None, {"total": 3})))
    if kind is str:
        return rng.choice(POOL_TEXTS)
    if kind is bool:
        return rng.random() < 0.5
    if kind is int:
        return (
            rng.choice((0, 1, 2, 10, 2**53 + 1, -(2**63), 2**63 - 1))
            if name == "seed"
            else rng.choice((0, 1, 2, 10))
        )
    if kind is float:
        return float(rng.choice(POOL_NUMBERS))
    if kind == list[str]:
        return [rng.choice(POOL_TEXTS) for _ in range(rng.randrange(3))]
    if kind == list[Option]:
        return [Option(rng.choice(POOL_TEXTS), probability=0.5) for _ in range(rng.randrange(3))]
    if get_origin(kind) is list:
        return [
            _object(rng, 2) if "dict" in str(kind) else _json(rng, 2)
            for _ in range(rng.randrange(3))
        ]
    if get_origin(kind) is dict:
        return _object(rng, 3)
    return _json(rng, 3)


def _object(rng: random.Random, depth: int) -> dict[str, Any]:
    return {rng.choice(POOL_KEYS): _json(rng, depth - 1) for _ in range(rng.randrange(4))}


def _json(rng: random.Random, depth: int) -> Any:
    shape = rng.randrange(8)
    if depth > 0 and shape == 0:
        return _object(rng, depth)
    if depth > 0 and shape == 1:
        return [_json(rng, depth - 1) for _ in range(rng.randrange(3))]
    if shape == 2:
        return None
    if shape == 3:
        return rng.random() < 0.5
    if shape in (4, 5):
        return rng.choice(POOL_NUMBERS)
    return rng.choice(POOL_TEXTS)
