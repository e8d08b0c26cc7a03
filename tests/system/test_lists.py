"""Every list by every filter on every surface and both databases: one answer, whoever asks."""

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import Field

from models.queries.filters import BotFilter, Filter
from models.queries.registry import BOTS, LISTS, ListKind
from tests.conftest import new_database
from tests.support.cli_terminal import a_zygote
from tests.support.list_surfaces import Walker, a_walker
from tests.support.list_walk import FIELDS, NAMES, identities, identity, questions
from webhook.services.relink import RelinkRequest


@pytest.fixture(scope="module")
def zygote() -> Iterator["subprocess.Popen[str]"]:
    """The loaded command line."""
    with a_zygote() as process:
        yield process


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def walker(
    request: pytest.FixtureRequest,
    zygote: "subprocess.Popen[str]",
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Walker]:
    """A day's work in a database, and every way to ask for it."""
    folder = tmp_path_factory.mktemp("walk")
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), folder / "walk.db")
        with a_walker(f"sqlite:///{folder / 'walk.db'}", zygote, folder) as walker:
            yield walker
        return
    template = request.getfixturevalue("postgres_template")
    with (
        new_database(request.getfixturevalue("postgres_url"), template) as url,
        a_walker(url, zygote, folder) as walker,
    ):
        yield walker


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=NAMES)
def test_a_filter_holds_the_same_rows_on_every_surface(
    walker: Walker, kind: ListKind, field: str
) -> None:
    """Those whose column says so and no others: by page, CSV, count, command line and console."""
    rows = walker.all[kind.name]
    asked = questions(kind, field, rows)
    assert any(0 < len(one.expected(rows)) < len(rows) for one in asked), "nothing is told apart"
    for one in asked:
        expected = one.expected(rows)
        for surface in (walker.api_json, walker.api_csv, walker.command_line):
            found = surface(kind, one.given, one.options)
            assert identities(kind, found) == identities(kind, expected), (one, surface.__name__)
        count, listed = walker.listed(kind, one.given)
        assert count == len(listed) == len(expected), one
        shown, bots = walker.page(kind, one.given)
        assert shown == len(expected), one
        assert bots >= {row["bot_id"] for row in expected if row.get("bot_id")}, one


@pytest.mark.parametrize("kind", LISTS, ids=lambda kind: kind.name)
def test_any_two_filters_hold_what_both_hold(walker: Walker, kind: ListKind) -> None:
    """Whatever one of them joins or orders by, the other still means the same."""
    rows = walker.all[kind.name]
    asked = [one for field in kind.wanted.model_fields for one in questions(kind, field, rows)[:2]]
    for one, other in itertools.combinations(asked, 2):
        if one.field != other.field:
            both = other.expected(one.expected(rows))
            count, listed = walker.listed(kind, one.given | other.given)
            found = {identity(kind, row) for row in listed}
            assert found == {identity(kind, row) for row in both}, (one, other)
            assert count == len(listed) == len(both), (one, other)


@pytest.mark.parametrize("field", BotFilter.model_fields)
def test_a_relink_previews_what_the_list_shows(walker: Walker, field: str) -> None:
    """As many bots, and some of those, whoever asks."""
    rows = walker.all[BOTS.name]
    assert issubclass(RelinkRequest, BOTS.wanted)
    for one in questions(BOTS, field, rows):
        expected = [row["bot_id"] for row in one.expected(rows)]
        for count, sample in walker.previews(one):
            assert count == len(expected), one
            assert set(sample) <= set(expected), one
            assert bool(sample) == bool(expected), one


class _New(Filter):
    attempts: float | None = Field(None, description="a type of which the walk has no sample")
    bot_name: str | None = Field(None, description="a column that no row has a value in")
    nowhere: str | None = Field(None, description="no column at all")


@pytest.mark.parametrize("field", _New.model_fields)
def test_a_filter_that_cannot_be_asked_is_no_filter_that_passes(field: str) -> None:
    """Whoever adds one is told what is missing."""
    kind = replace(BOTS, wanted=_New)
    with pytest.raises(pytest.fail.Exception):
        questions(kind, field, [{"bot_id": "x", "attempts": 3, "bot_name": None}])
