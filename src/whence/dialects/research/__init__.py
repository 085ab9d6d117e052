"""The API of document 5 (pipeline observability): traces of research runs, stage by stage.

In the order of the data: `settings` says where files and rows go; `stages` has the parts of a trace
as its users see them; `trace` is the object that a pipeline talks to, and `recording` the core run
behind it; `context` begins and finds traces, and `live` knows which are open. When a trace ends,
`ending` puts things in order: `readback` reads the run as it was logged, `files` writes its
document beside the reports, `row` makes the row of the table `traces`. Such rows are a `history`:
`embedded` finds them in the home itself, `postgres` keeps them in a database (its tables in
`schema`), and `keeping` knows which of them holds. `query` asks, `flags` and `calibration` help to
tune, `frontmatter` ties report to trace, and `component` holds components to what they promised.
"""
