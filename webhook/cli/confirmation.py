"""Asking before a command takes something away, or changes many things at once."""

import sys

import click

from webhook.cli.output import NOTHING_FOUND

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless --yes was said; ends with exit code 1 at a no, 2 where nobody can be asked."""
    if yes:
        return
    # Whoever answers sits at the input: what is printed may go into a pipe all the same.
    if not sys.stdin.isatty():
        raise click.UsageError("pass --yes to confirm: there is no terminal to ask on")
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(NOTHING_FOUND)
