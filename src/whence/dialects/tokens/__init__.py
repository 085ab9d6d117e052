"""Token usage with its provenance: the API of document 2 (token provenance).

`usage`, `provenance`, `relationships` and `budget` are what users write and get; `signals` checks
what comes in; `recording` writes a tracked request as a run with its generation and link; `rows`
reads it back; `manager` is the token manager, `answers` what it is asked; `analyzer` is a thin
translation of `whence.analysis`. Users import `whence.tokens`.
"""
