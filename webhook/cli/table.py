"""A table that fits the terminal: one line per row, with cells cut where allowed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

# Fewer characters of a text say nothing.
_LEAST = 12


@dataclass(frozen=True, slots=True)
class Column:
    """A column's header and cells; the cells of a `whole` column are never cut."""

    name: str
    cells: Sequence[str]
    is_whole: bool

    @property
    def natural(self) -> int:
        """Its width without cutting."""
        return max(map(cell_len, [self.name, *self.cells]))

    @property
    def least(self) -> int:
        """Its smallest width; the header is never cut, because two could then look alike."""
        return self.natural if self.is_whole else max(len(self.name), min(self.natural, _LEAST))


def fits(columns: Sequence[Column], width: int) -> bool:
    """Whether all columns fit side by side."""
    return _least(columns) <= width


def fitting_table(columns: Sequence[Column], width: int) -> Iterator[Table | Text]:
    """Lay out columns in a width; columns that do not fit are left out and named."""
    fitting = _fitting(list(columns), width)
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    for column, wide in zip(fitting, _widths(fitting, width), strict=True):
        table.add_column(column.name, width=wide, no_wrap=True, overflow="ellipsis")
    for cells in zip(*(column.cells for column in fitting), strict=True):
        # Text, because rich would interpret [bold] in a title.
        table.add_row(*map(Text, cells))
    yield table
    if left_out := [column.name for column in columns if column not in fitting]:
        words = f"not shown, no room: {', '.join(left_out)}"
        yield Text(words, style="dim")


def _least(columns: Sequence[Column]) -> int:
    return sum(column.least + 1 for column in columns) - 1


def _fitting(columns: list[Column], width: int) -> list[Column]:
    """Leave out as few columns as possible, the last ones first."""
    while not fits(columns, width) and len(columns) > 1:
        missing = _least(columns) - width
        enough = [one for one in columns[1:] if one.least + 1 >= missing]
        columns.remove((enough or columns)[-1])
    return columns


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Share the spare width among the cut columns, the smallest need first."""
    spare = max(0, width - _least(columns))
    widths = [column.least for column in columns]
    needs = [column.natural - column.least for column in columns]
    cut = sorted((need, place) for place, need in enumerate(needs) if need)
    for number, (need, place) in enumerate(cut):
        more = min(need, spare // (len(cut) - number))
        widths[place] += more
        spare -= more
    return widths
