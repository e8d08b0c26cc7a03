"""How commands print: a table on a terminal, plain text when piped, JSON or CSV when asked."""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from models.core.sanitize import SHORTEST_PREFIX, plain_uuid
from models.core.serialize import plain
from webhook.cli.table import Column, fits, fitting_table
from webhook.web.csv_export import csv_lines

NOTHING_FOUND = 1
USAGE = 2
AWAY = 3
PIPED_WIDTH = 200
LONGEST_ID = 36
# What comes from outside must not move the cursor, hide text, or turn its direction.
_TURNS = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_UNSEEN = re.compile(f"[\x00-\x1f{_TURNS}]")
# JSON writes out the others by itself, and both forms have line ends of their own.
_UNSEEN_IN_JSON = re.compile(f"[{_TURNS}]")
_UNSEEN_IN_CSV = re.compile(f"[\x00-\x09\x0b\x0c\x0e-\x1f{_TURNS}]")


def is_terminal() -> bool:
    """Whether a person is looking."""
    return sys.stdout.isatty()


def console() -> Console:
    """Return where tables and words go; piped, lines are never wrapped."""
    wide = None if is_terminal() else PIPED_WIDTH
    return Console(
        width=wide, highlight=False, markup=False, emoji=False, soft_wrap=wide is not None
    )


def visible(value: object) -> str:
    """Return a value as one line of text: times to the second in UTC, controls written out."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return _UNSEEN.sub(_written_out, str(value))


def say(*parts: tuple[object, str]) -> None:
    """Print one line of (value, style) parts; what is not one line's is written out."""
    console().print(Text.assemble(*((visible(value), style) for value, style in parts)))


def print_rows(rows: Iterable[Any], row: type, shown: Sequence[str], form: str) -> int:
    """Print a list in the form asked for; returns how many rows there were."""
    counted = _Counted(rows)
    if form == "csv":
        for text in csv_lines(counted, row):
            # A file gets every byte; a terminal would obey some of them.
            sys.stdout.write(_UNSEEN_IN_CSV.sub(_written_out, text) if is_terminal() else text)
    elif form == "json":
        _print_items(counted)
    elif is_terminal():
        _print_table(console(), list(counted), shown)
    else:
        _print_plainly(counted, shown)
    return counted.count


def print_sample(rows: Sequence[Any], shown: Sequence[str]) -> None:
    """Print some rows beside what is piped, for whoever is asked about them."""
    if rows and sys.stderr.isatty():
        screen = Console(stderr=True, highlight=False, markup=False, emoji=False)
        _print_table(screen, rows, shown)
    elif rows:
        for row in rows:
            click.echo("\t".join(visible(getattr(row, name)) for name in shown), err=True)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values: aligned on a terminal, between tabs when piped."""
    if not is_terminal():
        for name, value in facts:
            click.echo(f"{name}\t{visible(value)}")
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Text(name, style="dim"), Text(visible(value)))
    console().print(grid)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(_json(value, indent=2 if is_terminal() else None))


def progress() -> Progress:
    """Return a progress bar on standard error, so that what is printed can be piped."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def fields_of(row: type) -> list[str]:
    """Return the names of a row's fields."""
    return [field.name for field in dataclasses.fields(row)]


class _Counted:
    """Rows, counted as they pass: how many there were is known only at the end."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for one in self._rows:
            self.count += 1
            yield one


def _print_plainly(rows: _Counted, shown: Sequence[str]) -> None:
    # The head with the first row: an answer that fails prints nothing.
    lines = ("\t".join(visible(getattr(one, name)) for name in shown) for one in rows)
    head = "\t".join(shown)
    for line in lines:
        click.echo(f"{head}\n{line}" if rows.count == 1 else line)
    if not rows.count:
        click.echo(head)


def _print_items(rows: Iterable[Any]) -> None:
    # Row by row: a list may be longer than the memory.
    before = '{"items": ['
    for one in rows:
        click.echo(f"{before}\n{_json(one)}", nl=False)
        before = ","
    click.echo("\n]}" if before == "," else f"{before}]}}")


def _json(value: object, indent: int | None = None) -> str:
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False)
    # Such characters stand in strings alone, where the escape means the same.
    return _UNSEEN_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _written_out(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


def _print_table(screen: Console, rows: Sequence[Any], shown: Sequence[str]) -> None:
    values = {name: [getattr(row, name) for row in rows] for name in shown}
    columns = [_column(name, kept, visible) for name, kept in values.items()]
    if not fits(columns, screen.width):
        columns = [_column(name, kept, _short) for name, kept in values.items()]
    for part in fitting_table(columns, screen.width):
        # What had no room is named whole, on more lines where it must be.
        is_table = isinstance(part, Table)
        screen.print(part, no_wrap=is_table, overflow="ellipsis" if is_table else "fold")


def _column(name: str, values: Sequence[Any], text: Callable[[object], str]) -> Column:
    cells = [text(value) for value in values]
    # Part of an id is no id; what a stranger sent for one may be longer than a line.
    is_named_id = name == "id" or (name.endswith("_id") and name != "external_id")
    is_id = is_named_id or any(plain_uuid(value) for value in values)
    is_short_id = is_id and max(map(len, cells), default=0) <= LONGEST_ID
    return Column(name, cells, is_short_id or any(isinstance(v, datetime | int) for v in values))


def _short(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%MZ")
    text = visible(value)
    # As `explain` and the filters take it.
    return text[:SHORTEST_PREFIX] if plain_uuid(text) else text
