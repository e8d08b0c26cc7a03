"""completion: the shell code that completes our commands and options."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print shell completion: eval "$(recall-links completion bash)"."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    program = context.find_root()
    name = program.info_name or ""
    click.echo(kind(program.command, {}, name, "_RECALL_LINKS_COMPLETE").source())


COMMANDS = (completion,)
