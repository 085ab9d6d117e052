"""The command `whence`: words and options in, answers for people or for programs out.

It asks `whence.query` and prints what comes back; it decides nothing about records itself. `main`
is what the shell starts, `app` knows the commands and what happens when one fails, `output` prints,
and each module in `commands` is one command.
"""
