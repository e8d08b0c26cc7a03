"""The results for people and machines: a table, JSON, Markdown, and the machine they are of."""

import json
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.bench.chart import chart
from tests.bench.metrics import MEGABYTE
from tests.bench.results import Figure, Results, plain

PACKAGES = ("flask", "waitress", "rq", "httpx", "sqlalchemy", "psycopg", "redis")
COLOURS = {"met": "green", "missed": "bold red", "": ""}


def machine() -> str:
    """Return in one line what this was measured on."""
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / MEGABYTE / 1024
    load = "/".join(f"{one:.1f}" for one in os.getloadavg())
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{cores} cores, {memory:.0f} GB, {platform.system()} {platform.machine()}, "
        f"load {load} at the end, Python {platform.python_version()}, {packages}"
    )


def print_tables(results: Results, console: Console) -> None:
    """Print a table a room, and what was thrown out."""
    for room in dict.fromkeys(figure.room for figure in results.figures):
        table = Table(title=room, title_justify="left", expand=True)
        for name in ("what", "median", "spread", "target", "verdict", "note"):
            table.add_column(name, justify="right" if name in ("median", "spread") else "left")
        for figure in (one for one in results.figures if one.room == room):
            style = COLOURS[figure.verdict]
            verdict = f"[{style}]{figure.verdict}[/]" if style else ""
            middle = f"{plain(figure.middle)} {figure.unit}".strip()
            row = (figure.what, middle, figure.spread, figure.target, verdict, figure.note)
            table.add_row(*row)
        console.print(table)
    for words in results.thrown_out:
        console.print(f"[bold red]THROWN OUT:[/] {words}", highlight=False)
    console.print(machine(), highlight=False, soft_wrap=True)


def as_json(results: Results) -> dict[str, Any]:
    """Return everything, each round included."""
    figures = [figure.as_json() for figure in results.figures]
    return {"machine": machine(), "figures": figures, "thrown_out": results.thrown_out}


def markdown(results: Results, command: str) -> str:
    """Return the table of docs/benchmarks.md: what has a target, and what is compared."""
    lines = ["| | median | spread | target | |", "|---|---|---|---|---|"]
    lines += [_line(figure) for figure in _told(results.figures)]
    lines += ["", f"`{command}` on {machine()}."]
    lines += [f"Thrown out: {words}" for words in results.thrown_out]
    return "\n".join(lines) + "\n"


def write(results: Results, folder: Path, command: str) -> None:
    """Write bench.md, bench.svg and bench.json into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(markdown(results, command))
    (folder / "bench.svg").write_text(chart(results.figures))
    (folder / "bench.json").write_text(json.dumps(as_json(results), indent=1) + "\n")


def _told(figures: Iterable[Figure]) -> Iterable[Figure]:
    return (figure for figure in figures if figure.target or figure.unit == "×")


def _line(figure: Figure) -> str:
    what = f"{figure.what}, {figure.note}" if figure.note else figure.what
    words = (f"{figure.room}: {what}", f"{plain(figure.middle)} {figure.unit}".strip())
    cells = [word.replace("|", "\\|") for word in (*words, figure.spread, figure.target)]
    return f"| {' | '.join(cells)} | {figure.verdict} |"
