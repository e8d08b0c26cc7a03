"""Tables of the command line at the width of a terminal: what is cut, and what never is."""

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from models.core.engine import make_engine
from models.queries.registry import FAILURES, LISTS, ListKind
from models.settings.environment import Settings
from tests.support.cli_terminal import Typist, a_zygote
from tests.support.demo_data import furnish
from webhook.cli.commands.lists import SHOWN
from webhook.cli.output import fields_of
from webhook.cli.table import Column, fitting_table

WIDTHS = (60, 80, 100, 132, 200)
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def ada(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    """Somebody who types, with a day's work in the database."""
    folder = tmp_path_factory.mktemp("tables")
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'day.db')}"
    engine = make_engine(Settings.read({"DATABASE_URL": url}), "write")
    furnish(engine, bots=40)
    engine.dispose()
    with a_zygote() as zygote:
        yield Typist(zygote, folder, DATABASE_URL=url)


def lines_of(ada: Typist, width: int, *words: str) -> list[str]:
    """What a terminal of so many columns shows."""
    said = ada.on_terminal(*words, COLUMNS=str(width))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said.out).replace("\r", "")
    return plain.splitlines()


@pytest.mark.parametrize("kind", LISTS, ids=lambda kind: kind.name)
def test_every_list_is_readable_on_every_terminal(ada: Typist, kind: ListKind) -> None:
    """A line a row, no head that is cut, and an id whole or by its first eight characters."""
    rows = json.loads(ada.piped(*kind.words, "--json", "--limit", "12").out)["items"]
    names = SHOWN.get(kind.name) or fields_of(kind.row)
    # Failures have sentences below their table, but where columns are chosen.
    chosen = ["--columns", ",".join(names)] if kind is FAILURES else []
    for width in WIDTHS:
        head, rule, *lines = lines_of(ada, width, *kind.words, *chosen, "--limit", "12")
        left_out = set()
        if words := " ".join(map(str.strip, lines[len(rows) :])):
            assert words.startswith("not shown, no room: ")
            left_out = set(words.removeprefix("not shown, no room: ").split(", "))
            del lines[len(rows) :]
        assert head.split() == [name for name in names if name not in left_out], width
        assert set(rule.strip()) == {"─"}
        assert len(lines) == len(rows), width
        assert max(map(cell_len, [head, rule, *lines])) <= width
        for line, row in zip(lines, rows, strict=True):
            bot = row.get("bot_id")
            shown = "bot_id" not in left_out
            assert not (bot and shown) or re.search(rf"(^|\s){bot[:8]}({bot[8:]})?(\s|$)", line), (
                line
            )
    assert not left_out, "the widest shows them all"


def test_a_wide_terminal_shows_ids_whole_and_a_narrow_one_says_what_it_lacks(ada: Typist) -> None:
    """So that they can be copied; and nobody takes a part for the whole."""
    assert len(ID.findall("\n".join(lines_of(ada, 132, "links", "--limit", "5")))) == 5
    assert ID.findall("\n".join(lines_of(ada, 80, "links", "--limit", "5"))) == []
    assert any(
        line.startswith("not shown, no room: ")
        for line in lines_of(ada, 40, "links", "--limit", "5")
    )


def test_what_to_do_about_failures_is_said_below_their_table(ada: Typist) -> None:
    """A sentence for each reason on a terminal; a column in JSON."""
    lines = lines_of(ada, 200, "failures")
    for row in json.loads(ada.piped("failures", "--json").out)["items"]:
        assert f"{row['reason']}: {row['remedy']}" in lines


@pytest.mark.parametrize("kind", LISTS, ids=lambda kind: kind.name)
def test_columns_are_chosen_in_every_form(ada: Typist, kind: ListKind) -> None:
    """Any of a list, in the order asked for, each once; piped, on a terminal, as CSV and JSON."""
    last, first = fields_of(kind.row)[-1], fields_of(kind.row)[0]
    words = (*kind.words, "--columns", f"{last}, {first},{last}", "--limit", "3")
    assert ada.piped(*words).out.splitlines()[0] == f"{last}\t{first}"
    assert lines_of(ada, 80, *words)[0].split() == [last, first]
    assert ada.piped(*words, "--csv").out.splitlines()[0] == f"{last},{first}"
    every = json.loads(ada.piped(*kind.words, "--json", "--limit", "3").out)["items"]
    found = json.loads(ada.piped(*words, "--json").out)["items"]
    assert [list(row) for row in found] == [[last, first]] * len(every)
    assert found == [{last: row[last], first: row[first]} for row in every]


@pytest.mark.parametrize("asked", ["", "bot_id,", "bot_id,titel", "bot-id", "\x1b[2J"])
def test_a_column_that_is_none_is_named_with_those_there_are(ada: Typist, asked: str) -> None:
    """Wrong usage, and no row is printed."""
    said = ada.piped("links", "--columns", asked)
    assert (said.code, said.out) == (2, "")
    assert "--columns" in said.err
    assert "meeting_title, meeting_start" in " ".join(said.err.split())
    assert "\x1b" not in said.err


def test_bots_are_shown_on_one_line_each_before_they_are_put_back(ada: Typist) -> None:
    """At 80 columns too, where the sample stands between the question and its answer."""
    shown = lines_of(ada, 80, "relink", "--status", "fatal", "--preview")
    assert max(map(cell_len, shown)) <= 80
    assert shown[0].split()[:2] == ["bot_id", "bot_status"]
    assert any(re.match(r"[0-9a-f]{8}(-[0-9a-f-]{27})? fatal ", line) for line in shown)


def test_what_is_wide_to_the_eye_counts_as_wide() -> None:
    """A title in Chinese takes two columns a character."""
    columns = [Column("title", ["会议" * 40], is_whole=False), Column("id", ["7"], is_whole=True)]
    screen = Console(width=30, file=io.StringIO())
    screen.print(next(fitting_table(columns, 30)))
    assert isinstance(screen.file, io.StringIO)
    *_, line = screen.file.getvalue().splitlines()
    assert cell_len(line) <= 30
    assert re.fullmatch("(会议)+会?… +7 *", line)
