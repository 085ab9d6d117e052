"""How user code speaks: runs, spans and verbs, turned into records and handed to the log.

In the order of a call: `context` knows the current run and span; `scopes` opens and closes them;
`verbs` is what can be said in one; `values` brings what the user passed into a form that can be
kept; `emit` encodes the record and writes it; `state` holds the settings and the writer of this
process. `guard` is where failures of ours end. Nothing here raises into the user's program except
`ConfigError` and `LinkError`, which answer a wrong call.
"""
