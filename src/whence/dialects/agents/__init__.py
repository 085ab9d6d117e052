"""Sessions of agents: the API of document 3, hybrid sessions.

Writing: `base` is the agent that users derive from, `tracker` and `recording` are what it tells,
`session` and `livefolder` where that goes, `detail` how much of a value is kept, `streams` agents
that yield. Reading needs nothing of these: `queries` (its SQL in `sessionsql`) asks about sessions
wherever they are, `report` and `indexing` put the answers together; `asking` takes the home of this
process. Users import `whence.agents`.
"""
