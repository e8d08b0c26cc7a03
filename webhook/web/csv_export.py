"""CSV (RFC 4180) that a spreadsheet opens without running formulas."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

# A spreadsheet takes such cells for formulas, and anybody can choose a meeting's title.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
CHUNK = 500


def csv_lines(
    rows: Iterable[Any], row_type: type, columns: Sequence[str] | None = None
) -> Iterator[str]:
    """Yield CSV text in chunks, starting with the header."""
    names = columns or [field.name for field in dataclasses.fields(row_type)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(names)
    for number, row in enumerate(rows, 1):
        writer.writerow([cell(getattr(row, name)) for name in names])
        # In chunks: single lines are slow, and the whole table may not fit in memory.
        if number % CHUNK == 0:
            yield _take(buffer)
    yield _take(buffer)


def cell(value: object) -> object:
    """Return a value as a cell: times in ISO 8601, objects and lists as JSON, formulas quoted."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def _take(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
