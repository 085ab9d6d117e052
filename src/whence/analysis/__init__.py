"""What the records say about the pipeline: pure functions from facts to findings.

`facts` is what is asked of a home, small enough for a million model calls: groups, edges, a few
calls. `asking` picks who answers: `memoryfacts` in plain Python, for any store and for calls at
hand, or `sqlfacts` inside DuckDB. `patterns`, `recommend`, `costs` and `agents` decide what the
answers mean; `graph` walks edges. A finding cites record ids and carries the SQL that shows them.

To add an analyzer: one module of functions from `Facts` to `Finding`, one case in `tests/analysis`,
one section of `docs/reference/patterns.md`. Nothing here writes, and no random number is drawn.
"""
