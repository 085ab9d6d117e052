"""One module a command: its options, its question to the query layer, its answer as JSON and as a table.

To add one: a module with a function of the command's name under `@command(...)`, its line in `COMMANDS` of `whence.cli.app`, a test in `tests/cli`, and its
section in `docs/reference/cli.md`.
"""
