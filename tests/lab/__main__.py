"""The lab by hand: `python -m tests.lab recall`, `… send`, `… secret`."""

import click

from tests.lab.sender.signing import new_secret
from tests.lab.stack.cli_demo import demo, up
from tests.lab.stack.cli_recall import recall
from tests.lab.stack.cli_send import send
from tests.lab.stack.signals import end_as_by_ctrl_c


@click.group()
def main() -> None:
    """Stand in for Recall and its webhooks."""


@click.command()
def secret() -> None:
    """Print a new whsec_ secret."""
    click.echo(new_secret())


main.add_command(demo)
main.add_command(up)
main.add_command(recall)
main.add_command(send)
main.add_command(secret)

if __name__ == "__main__":
    end_as_by_ctrl_c()
    main()
