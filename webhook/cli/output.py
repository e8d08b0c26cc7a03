"""Output: a table on a terminal, tab-separated lines in a pipe, JSON or CSV on request."""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.core.sanitize import SHORTEST_PREFIX, plain_uuid
from models.core.serialize import plain
from webhook.cli.table import Column, fits, fitting_table
from webhook.web.csv_export import csv_lines

PIPED_WIDTH = 200
LONGEST_ID = 36
# Text from outside must not move the cursor, hide text or change its direction.
_DIRECTION_MARKS = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_INVISIBLE = re.compile(f"[\x00-\x1f{_DIRECTION_MARKS}]")
# JSON escapes the others itself, and both formats use line ends.
_INVISIBLE_IN_JSON = re.compile(f"[{_DIRECTION_MARKS}]")
_INVISIBLE_IN_CSV = re.compile(f"[\x00-\x09\x0b\x0c\x0e-\x1f{_DIRECTION_MARKS}]")


class Screen(Console):
    """A console without markup; the program's end at a broken pipe is the caller's."""

    def __init__(self, **given: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **given)

    def on_broken_pipe(self) -> None:
        """Let the program end as at any other output."""
        raise BrokenPipeError


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def console() -> Screen:
    """Return the console for tables and text; in a pipe, lines are not wrapped."""
    wide = None if is_terminal() else PIPED_WIDTH
    return Screen(width=wide, soft_wrap=wide is not None)


def visible(value: object) -> str:
    """Return a value as one line: times in UTC to the second, control characters escaped."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, list):
        return ", ".join(visible(one) for one in value)
    if isinstance(value, dict):
        value = json.dumps(plain(value), ensure_ascii=False)
    return _INVISIBLE.sub(_escaped, str(value))


def say(*parts: tuple[object, str]) -> None:
    """Print (value, style) parts on one line, with control characters escaped."""
    console().print(Text.assemble(*((visible(value), style) for value, style in parts)))


def print_rows(
    rows: Iterable[Any],
    row: type,
    shown: Sequence[str],
    form: str,
    columns: Sequence[str] | None = None,
) -> int:
    """Print a list in the given form, with these columns alone if any; return how many rows."""
    counted = _Counted(rows)
    if form == "csv":
        for text in csv_lines(counted, row, columns):
            # Files get the exact text; a terminal would obey control characters.
            sys.stdout.write(_INVISIBLE_IN_CSV.sub(_escaped, text) if is_terminal() else text)
    elif form == "json":
        _print_items(counted, columns or fields_of(row))
    elif is_terminal():
        _print_table(console(), list(counted), columns or shown)
    else:
        _print_plainly(counted, columns or shown)
    return counted.count


def print_sample(rows: Sequence[Any], shown: Sequence[str], count: int | None = None) -> None:
    """Print some rows of so many on standard error, for a person who is asked to confirm."""
    if rows and sys.stderr.isatty():
        screen = Screen(stderr=True)
        _print_table(screen, rows, shown)
    elif rows:
        for row in rows:
            click.echo("\t".join(visible(getattr(row, name)) for name in shown), err=True)
    if rows and count is not None and count > len(rows):
        click.echo(f"… and {count - len(rows):,} more", err=True)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values: aligned on a terminal, tab-separated in a pipe."""
    if not is_terminal():
        for name, value in facts:
            click.echo(f"{name}\t{visible(value)}")
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Text(name, style="dim"), Text(visible(value)))
    console().print(grid)


def say_error(words: str) -> None:
    """Print what went wrong, as one line on standard error."""
    click.echo(f"recall-links: {visible(words)}", err=True)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(_json(value, indent=2 if is_terminal() else None))


def fields_of(row: type) -> list[str]:
    """Return the names of a row's fields."""
    return [field.name for field in dataclasses.fields(row)]


class _Counted:
    """Counts rows as they are iterated, because a stream's length is known only at the end."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for one in self._rows:
            self.count += 1
            yield one


def _print_plainly(rows: _Counted, shown: Sequence[str]) -> None:
    # Print the header with the first row, so that a failing query prints nothing.
    lines = ("\t".join(visible(getattr(one, name)) for name in shown) for one in rows)
    head = "\t".join(shown)
    for line in lines:
        click.echo(f"{head}\n{line}" if rows.count == 1 else line)
    if not rows.count:
        click.echo(head)


def _print_items(rows: Iterable[Any], columns: Sequence[str]) -> None:
    # Row by row, because a list may not fit in memory.
    before = '{"items": ['
    for one in rows:
        values = {name: getattr(one, name) for name in columns}
        click.echo(f"{before}\n{_json(values)}", nl=False)
        before = ","
    click.echo("\n]}" if before == "," else f"{before}]}}")


def _json(value: object, indent: int | None = None) -> str:
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False)
    # These characters occur only inside strings, where the escape is equivalent.
    return _INVISIBLE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
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
    # A cut id is useless, so ids stay whole, unless one from outside is longer than a line.
    is_named_id = name == "id" or (name.endswith("_id") and name != "external_id")
    is_id = is_named_id or any(plain_uuid(value) for value in values)
    is_short_id = is_id and max(map(len, cells), default=0) <= LONGEST_ID
    return Column(name, cells, is_short_id or any(isinstance(v, datetime | int) for v in values))


def _short(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%MZ")
    text = visible(value)
    # `explain` and the filters accept this form.
    return text[:SHORTEST_PREFIX] if plain_uuid(text) else text
