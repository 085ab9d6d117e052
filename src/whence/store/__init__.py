"""An index over the log that answers questions, and can be deleted and rebuilt from it at any time.

`rows` are what every store gives; `fields` and `predicate` what may be asked of them; `project`
turns records into rows; `base` is the protocol and how to add a store; `memory` the reference
implementation; `duckdb` the one for files, over the archive that `compactor` makes.
"""
