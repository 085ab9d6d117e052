"""`whence completion`: the script that teaches a shell to complete the command line."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from whence.cli import output
from whence.cli.common import choices, command, refuse

SHELLS = ("bash", "zsh", "fish")
_HINTS = {
    "bash": 'eval "$(whence completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(whence completion zsh)"   in ~/.zshrc',
    "fish": "whence completion fish > ~/.config/fish/completions/whence.fish",
}


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash    eval "$(whence completion bash)"     in ~/.bashrc
    zsh     eval "$(whence completion zsh)"      in ~/.zshrc
    fish    whence completion fish > ~/.config/fish/completions/whence.fish
    """  # noqa: D301 - click reads the character
    kind = get_completion_class(shell)
    if kind is None:
        refuse(f"click cannot complete {shell}")
    script = kind(context.find_root().command, {}, "whence", "_WHENCE_COMPLETE").source()
    if choices().json:
        output.print_json({"shell": shell, "install": _HINTS[shell], "script": script})
    else:
        click.echo(script)
