"""opentelemetry-sdk as its documentation has it.

BatchSpanProcessor with its defaults, OTLP over HTTP, one span a record.
"""

# The signature of a driver is fixed, and its packages are imported where an environment has them.
# ruff: noqa: ARG002, FBT001, FBT002, PLC0415

from __future__ import annotations

import json
from typing import Any, ClassVar

from benchmarks.drivers.base import Driver

_dumps = json.dumps


class D(Driver):
    """Spans are nested by context.

    Structures become attributes as JSON text, since attributes hold no mappings.
    """

    PACE_MS = 10.0
    SENDS = True
    DISABLED: ClassVar[dict[str, str]] = {
        "span": "with d.tracer.start_as_current_span('x'): pass",
        "set": "d.span.set_attribute('output', 'y')",
        "event": "d.span.add_event('x')",
    }

    def setup(self, sink: str, outdir: str, enabled: bool = True) -> None:
        """Set the provider up; without one the API's no-op tracer is what records."""
        from opentelemetry import trace

        self.provider: Any = None
        if enabled:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            self.provider = TracerProvider(resource=Resource.create({"service.name": "benchmarks"}))
            exporter = OTLPSpanExporter(endpoint=sink + "/v1/traces")
            self.provider.add_span_processor(BatchSpanProcessor(exporter))
            trace.set_tracer_provider(self.provider)
        self.tracer = trace.get_tracer("benchmarks")
        self.span: Any = trace.get_current_span()

    def record_run(self, run: dict[str, Any]) -> None:
        """Record one run as 33 spans."""
        start = self.tracer.start_as_current_span
        with start(run["name"]) as root:
            root.set_attributes(
                {
                    "run.id": run["run_id"],
                    "tenant": run["tenant"],
                    "release": run["release"],
                    "input.value": _dumps(run["inputs"]),
                }
            )
            for stage in run["stages"]:
                with start("stage " + stage["name"]) as span:
                    span.set_attributes(
                        {f"stage.{key}": stage[key] for key in ("name", "attempt", "status")}
                    )
                    for decision in stage["decisions"]:
                        self.record_single(decision)
                    for tool in stage["tools"]:
                        self._tool(tool)
                    if stage["llm"]:
                        self._chat(stage["llm"])
            for number, factor in enumerate(run["factors"]):
                root.set_attribute(f"decision.factor.{number}", _dumps(factor))
            root.set_attribute("outcome", run["outcome"])

    def record_single(self, decision: dict[str, Any]) -> None:
        """Record one decision as a child span."""
        with self.tracer.start_as_current_span("decision " + decision["name"]) as span:
            span.set_attributes(
                {
                    "decision.name": decision["name"],
                    "decision.what": decision["what"],
                    "decision.why": decision["why"],
                    "decision.confidence": decision["confidence"],
                    "decision.alternatives": _dumps(decision["alternatives"]),
                    "decision.inputs": _dumps(decision["inputs"]),
                }
            )

    def _tool(self, tool: dict[str, Any]) -> None:
        with self.tracer.start_as_current_span("execute_tool " + tool["name"]) as span:
            span.set_attributes(
                {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": tool["name"],
                    "gen_ai.tool.type": tool["kind"],
                    "gen_ai.tool.call.arguments": tool["input"],
                    "gen_ai.tool.call.result": tool["output"],
                    "tool.status": tool["status"],
                }
            )

    def _chat(self, call: dict[str, Any]) -> None:
        with self.tracer.start_as_current_span("chat " + call["model"]) as span:
            span.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.request.model": call["model"],
                    "gen_ai.request.temperature": call["temperature"],
                    "gen_ai.system_instructions": call["system"],
                    "gen_ai.input.messages": call["user"],
                    "gen_ai.output.messages": call["completion"],
                    "gen_ai.usage.input_tokens": call["prompt_tokens"],
                    "gen_ai.usage.output_tokens": call["completion_tokens"],
                    "gen_ai.usage.cost": call["cost"],
                }
            )

    def open_single(self, run: dict[str, Any]) -> None:
        """Open a root span that stays open."""
        self._root = self.tracer.start_as_current_span(run["name"])
        self._root.__enter__()

    def flush(self) -> None:
        """Return when the exporter has sent everything."""
        if self.provider is not None:
            self.provider.force_flush()
