"""The picture of docs/benchmarks.md: ratios as bars from 1, spreads as lines, targets as ticks."""

import math
from collections.abc import Sequence
from html import escape

from tests.bench.results import Figure, plain

ROW, LEFT, WIDTH, TOP = 26, 400, 420, 34
# From a tenth to a hundred and fifty: a ratio of 0.5 and one of 2 are equally long.
LOWEST, HIGHEST = 0.1, 150.0
COLOURS = {"met": "#2f855a", "missed": "#c53030", "": "#4a5568"}
STYLE = "font:13px system-ui,sans-serif"


def chart(figures: Sequence[Figure]) -> str:
    """Return an SVG of every figure that is a ratio."""
    rows = [figure for figure in figures if figure.unit == "×"]
    height = TOP + ROW * len(rows) + 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 90} {height}" '
        f'role="img" style="{STYLE};background:#fff"><title>recall-links beside its peers</title>'
    )
    axis = [_gridline(value, height) for value in (0.1, 0.5, 1, 2, 10, 40, 100)]
    bars = [_row(figure, TOP + ROW * place) for place, figure in enumerate(rows)]
    return "\n".join([head, *axis, *bars, "</svg>"]) + "\n"


def _x(value: float) -> float:
    inside = min(max(value, LOWEST), HIGHEST)
    share = math.log(inside / LOWEST) / math.log(HIGHEST / LOWEST)
    return round(LEFT + WIDTH * share, 1)


def _gridline(value: float, height: int) -> str:
    x, colour = _x(value), "#718096" if value == 1 else "#e2e8f0"
    line = f'<line x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height - 26}" stroke="{colour}"/>'
    return (
        f'{line}<text x="{x}" y="{TOP - 14}" text-anchor="middle" fill="#718096">{value:g}×</text>'
    )


def _row(figure: Figure, y: int) -> str:
    one, middle = _x(1), _x(figure.middle)
    low, high = _x(min(figure.values)), _x(max(figure.values))
    words = figure.what + (f", {figure.note}" if figure.room == "worker" else "")
    label = escape(words if len(words) <= 58 else words[:57] + "…")
    target = figure.at_least if figure.at_least is not None else figure.at_most
    tick = ""
    if target is not None:
        x = _x(target)
        tick = f'<line x1="{x}" x2="{x}" y1="{y}" y2="{y + 18}" stroke="#1a202c" stroke-width="2"/>'
    return (
        f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end">{label}</text>'
        f'<rect x="{min(one, middle)}" y="{y + 3}" width="{max(1.0, abs(middle - one)):.1f}" '
        f'height="12" fill="{COLOURS[figure.verdict]}"/>'
        f'<line x1="{low}" x2="{high}" y1="{y + 9}" y2="{y + 9}" stroke="#1a202c"/>{tick}'
        f'<text x="{LEFT + WIDTH + 10}" y="{y + 14}">{plain(figure.middle)}×</text>'
    )
