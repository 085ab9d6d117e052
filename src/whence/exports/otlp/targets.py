"""Where a live mirror sends: an address, an exporter of an OpenTelemetry SDK, or a provider.

Each target has one method, `send`, which tries once. What it could not hand over for now comes
again; what was refused for good is lost to the mirror, and only to it: the log has it.

A program names its target in `whence.configure(otel=...)`: an address; an exporter or a provider;
or a mapping with one of these under `to`, and `headers`, `convention`, `content`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from whence.errors import ConfigError
from whence.exports.otlp import encode, sdk, send
from whence.exports.otlp.model import CONVENTIONS, Options
from whence.exports.otlp.send import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.exports.otlp.model import SpanOut

_WORDS = frozenset({"to", "headers", "convention", "content"})
_FLUSH_MS = 2_000


class Mirrored(Protocol):
    """What a mirror sends to."""

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        ...

    def send(self, spans: Sequence[SpanOut]) -> Outcome:
        """Hand spans over, once."""
        ...

    def flush(self) -> None:
        """Have what was handed over sent on."""
        ...


class Wanted(msgspec.Struct, frozen=True):
    """What a program asked for."""

    target: Mirrored
    """Where to."""
    options: Options
    """Names and content."""


def wanted(otel: object) -> Wanted:
    """Return what `configure(otel=...)` asks for.

    Raises:
        ConfigError: It is nothing that spans can be sent to.
        MissingExtraError: An object of the SDK is given, which is not installed.
    """
    given: dict[str, Any] = {"to": otel}
    if isinstance(otel, Mapping):
        given = dict(cast("Mapping[str, Any]", otel))
        if "to" not in given or not given.keys() <= _WORDS:
            raise ConfigError(
                f"otel is a mapping with `to` and any of {', '.join(sorted(_WORDS - {'to'}))}; "
                f"it has {', '.join(sorted(map(str, given)))}"
            )
    convention = given.get("convention", "both")
    if convention not in CONVENTIONS:
        raise ConfigError(f"convention is {convention!r}; it is one of {', '.join(CONVENTIONS)}")
    options = Options(convention, content=bool(given.get("content", True)))
    return Wanted(_target(given["to"], given.get("headers")), options)


def _target(to: Any, headers: Mapping[str, str] | None) -> Mirrored:
    if isinstance(to, str):
        has_proto = importlib.util.find_spec("google") is not None and _has("opentelemetry.proto")
        return _Address(send.target_of(to, headers, encoding="protobuf" if has_proto else "json"))
    if callable(getattr(to, "export", None)):
        return _Exporter(to)
    processor = getattr(to, "_active_span_processor", None)
    if processor is not None and callable(getattr(processor, "on_end", None)):
        return _Provider(to, processor)
    raise ConfigError(
        f"otel is {type(to).__name__}; give an address, a SpanExporter or a TracerProvider of "
        "opentelemetry-sdk"
    )


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class _Address:
    def __init__(self, target: send.Target) -> None:
        self._target = target
        self.shown = target.shown
        is_json = target.encoding == "json"
        self._encoded = encode.to_json if is_json else encode.to_protobuf

    def send(self, spans: Sequence[SpanOut]) -> Outcome:
        return send.post_once(self._target, self._encoded(spans))

    def flush(self) -> None:
        """Nothing waits: an answer was awaited."""


class _Exporter:
    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self.shown = type(exporter).__name__

    def send(self, spans: Sequence[SpanOut]) -> Outcome:
        result = _quietly(lambda: self._exporter.export(sdk.readable(spans)))
        if getattr(result, "name", "") == "SUCCESS":
            return Outcome(taken=True)
        return Outcome(taken=False, why=f"the exporter {self.shown} failed")

    def flush(self) -> None:
        flush = getattr(self._exporter, "force_flush", None)
        if callable(flush):
            flush(_FLUSH_MS)


class _Provider:
    def __init__(self, provider: Any, processor: Any) -> None:
        self._provider = provider
        self._processor = processor
        self.shown = type(provider).__name__

    def send(self, spans: Sequence[SpanOut]) -> Outcome:
        for span in sdk.readable(spans, self._provider.resource):
            self._processor.on_end(span)
        return Outcome(taken=True)

    def flush(self) -> None:
        self._provider.force_flush(_FLUSH_MS)


def _quietly(call: Any) -> Any:
    """Return what a call returns, its own HTTP requests not being traced."""
    from opentelemetry import context  # noqa: PLC0415 - an object of the SDK was given, so it is there

    token = context.attach(context.set_value("suppress_instrumentation", True))  # noqa: FBT003 - the value of a key
    try:
        return call()
    finally:
        context.detach(token)
