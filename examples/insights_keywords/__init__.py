"""A worker that ranks the keywords of pages, each ranking an insight with its provenance."""
