"""One module a command: its options, its question, its answer as JSON and for people.

To add one: a module with a function of the command's name under `@command(...)`, its line in
`COMMANDS` of `whence.cli.app`, a test in `tests/cli`, and its section in `docs/reference/cli.md`.
"""
