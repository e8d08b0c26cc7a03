"""How commands print: a table on a terminal, plain text when piped, JSON or CSV when asked."""

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from models.plain import plain
from webhook.csv_rows import csv_lines

NOTHING_FOUND = 1
USAGE = 2
AWAY = 3
PIPED_WIDTH = 200
# What comes from outside must not move the cursor, hide text, or turn its direction.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def is_terminal() -> bool:
    """Whether a person is looking."""
    return sys.stdout.isatty()


def console() -> Console:
    """Return where tables and words go; piped, it is as wide as what is printed."""
    return Console(
        width=None if is_terminal() else 200, highlight=False, soft_wrap=not is_terminal()
    )


def visible(value: object) -> str:
    """Return a value as one line of text: times to the second in UTC, controls written out."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return _UNSEEN.sub(lambda found: repr(found[0])[1:-1], str(value))


def print_rows(rows: Iterable[Any], row: type, shown: Sequence[str], form: str) -> int:
    """Print a list in the form asked for; returns how many rows there were."""
    if form == "csv":
        return _print_csv(rows, row)
    found = list(rows)
    if form == "json":
        print_json({"items": found})
    elif is_terminal():
        console().print(_table(found, shown))
    else:
        click.echo("\t".join(shown))
        for one in found:
            click.echo("\t".join(visible(getattr(one, name)) for name in shown))
    return len(found)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(plain(value), indent=2 if is_terminal() else None, ensure_ascii=False))


def progress() -> Progress:
    """Return a progress bar on standard error, so that what is printed can be piped."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _print_csv(rows: Iterable[Any], row: type) -> int:
    count = 0

    def counted() -> Iterable[Any]:
        nonlocal count
        for one in rows:
            count += 1
            yield one

    for text in csv_lines(counted(), row):
        sys.stdout.write(text)
    return count


def _table(rows: Iterable[Any], shown: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in shown:
        table.add_column(name, overflow="fold" if name.endswith("_id") else "ellipsis")
    for one in rows:
        table.add_row(*(_markup_free(getattr(one, name)) for name in shown))
    return table


def _markup_free(value: object) -> str:
    # rich reads [bold] in a title as an order.
    return visible(value).replace("[", r"\[")


def fields_of(row: type) -> list[str]:
    """Return the names of a row's fields."""
    return [field.name for field in dataclasses.fields(row)]
