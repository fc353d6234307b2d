"""`router completion`: what a shell needs to complete commands, models and versions."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from router.app.mistake import Failed


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what a shell needs to complete commands, and models and versions of the server that runs.

    For bash: eval "$(router completion bash)" in ~/.bashrc; for zsh the same with zsh in ~/.zshrc; for fish: router
    completion fish > ~/.config/fish/completions/router.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Failed(f"this version of click knows no completion for {shell}")
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "router", "_ROUTER_COMPLETE").source())
