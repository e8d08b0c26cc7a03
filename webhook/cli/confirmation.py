"""Asks before a command removes something or changes many things."""

import sys

import click

from webhook.cli.exit_codes import NOTHING_FOUND

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")

_NO_TERMINAL = "pass --yes to confirm: there is no terminal to ask on"


def confirm(question: str, *, yes: bool) -> None:
    """Ask unless --yes was given; exits with 1 on no, with 2 if there is no terminal."""
    if yes:
        return
    # Only the input has to be a terminal; the output may be a pipe.
    if not sys.stdin.isatty():
        raise click.UsageError(_NO_TERMINAL)
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(NOTHING_FOUND)


def confirm_by_typing(text: str, *, yes: bool) -> None:
    """Ask for this text unless --yes was given; exits with 1 on another, with 2 as above."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(_NO_TERMINAL)
    typed = click.prompt(f"Type {text} to erase it permanently", err=True, default="")
    if typed.strip().lower() != text:
        click.echo("not erased: what was typed differs from the address", err=True)
        raise click.exceptions.Exit(NOTHING_FOUND)
