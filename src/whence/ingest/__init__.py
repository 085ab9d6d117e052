"""Records from elsewhere: what another system wrote becomes records in the log, once.

In the order of the data: `base` says what a format module is and how to add one; `registry` lists
them and finds the one for a file; a format module (`otlp`, `otel_json`, ...) turns a source into
records whose ids and times follow from the source; `sink` writes those that the home does not have
yet, with `values` for what JSON cannot hold, `segments` for the files and `ledger` for what was
imported before; `report` counts what the sources said; `importer` does all of it for paths.

It writes the same log as capture and knows nothing of stores and queries.
"""
