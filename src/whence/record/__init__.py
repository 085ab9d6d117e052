"""What is known, as frozen structs and nothing else: no file, no clock, no process.

`base` has the envelope that every record shares; `run`, `span`, `decision`, `source`, `generation`,
`score`, `link` and `event` have one or more kinds each; `values` says how a value that JSON cannot
hold is written; `codec` turns records into lines and back; `upgrade` brings lines of older formats
up to date.
"""
