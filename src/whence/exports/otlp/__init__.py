"""Runs as traces of OpenTelemetry: written to files, sent to a collector, or mirrored as they end.

Comes in: rows of runs. Goes out: OTLP spans whose attributes follow the OpenTelemetry GenAI
conventions, OpenInference, or both. A run is a trace, its id the trace id; span ids are kept.

`model` has the spans as plain data, `conventions` the names, `events` what becomes an event of a
span, `convert` puts the three together, `encode` makes bytes, `send` posts them, `losses` counts
what a trace has no place for, `files` is what the command line calls. `mirror`, `targets` and `sdk`
do the same for a running program.
"""
