"""Homes full of odd but lawful records, the same for the same seed: what stores are compared on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import msgspec
from strategies import POOL_KEYS, POOL_NUMBERS, POOL_TEXTS

from whence import _clock
from whence.log.writer import Writer
from whence.record import codec
from whence.record.decision import Option
from whence.record.event import Foreign
from whence.record.generation import Usage

if TYPE_CHECKING:
    from whence.log.home import Home
    from whence.record.base import Record

START_NS = 1_793_527_200_000_000_000
_ENVELOPE = {"v", "seq", "ts", "run", "span", "id", "stage", "extra"}
_POINTS = [
    kind
    for kind in codec.KINDS.values()
    if kind is not Foreign and not kind.__name__.startswith(("Run", "Span", "Update"))
]


def fill(home: Home, seed: int, *, runs: int = 12, writers: int = 3) -> list[Writer]:
    """Write runs with records of every kind over several writers, and return these, still open.

    Some runs and spans never end, some records of a run come from another writer than its start,
    some arrive out of order.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    opened = [Writer(home, rotate_bytes=20_000) for _ in range(writers)]
    clock = START_NS
    for number in range(runs):
        run = f"{rng.getrandbits(128):032x}"
        mine = opened[number % writers]
        clock += rng.choice((1, 1_000_000_000))
        spans = [f"{rng.getrandbits(64):016x}" for _ in range(rng.randrange(4))]
        lines: list[tuple[Writer, Record]] = [
            (mine, _made(rng, codec.KINDS["run_started"], clock, run, None))
        ]
        lines += [
            (mine, _made(rng, codec.KINDS["span_started"], clock + i, run, s))
            for i, s in enumerate(spans)
        ]
        for _ in range(rng.randrange(18)):
            clock += rng.choice((0, 1, 1_000))
            writer = mine if rng.random() < 0.8 else rng.choice(opened)
            span = rng.choice([None, *spans])
            kind = rng.choice([*_POINTS, codec.KINDS["update"]])
            lines.append((writer, _made(rng, kind, clock, run, span)))
        for span in spans:
            if rng.random() < 0.8:
                lines.append((mine, _made(rng, codec.KINDS["span_ended"], clock, run, span)))
        if rng.random() < 0.8:
            lines.append((mine, _made(rng, codec.KINDS["run_ended"], clock + 5, run, None)))
        for writer, record in lines:
            writer.append(codec.encode_json(record), _clock.wall_ns(), run)
    return opened


def _made(rng: random.Random, kind: type[Record], ts_ns: int, run: str, span: str | None) -> Record:
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
        counts = {
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
