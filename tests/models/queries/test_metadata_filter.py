"""Filtering by a bot's metadata: every key that can be stored, and each bad one by its name."""

from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from models.queries.filters import BotFilter, LinkFilter
from models.queries.lists import bots
from tests.support.console_client import READ, WRITE, logged_in, post
from tests.support.fakes import BOT
from tests.support.rows import add_bot
from webhook.web.auth import BEARER

ODD = {
    "a.b": "dotted",
    'quo"ted': 'a "word"',
    "back\\slash": "\\",
    "it's": "'; DROP TABLE bots; --",
    "é\u2028": "ü",
    "=": "a=b",
    "%s": "%(x)s",
    "x" * 990: "y" * 990,
    "$.a": "path",
    "{}": "{}",
    "😀": "😀",
    " key ": " value ",
}


def ask(app: Flask, path: str, **query: str) -> TestResponse:
    """Ask the API."""
    headers = {"Authorization": BEARER + READ}
    return app.test_client().get(path, query_string=query, headers=headers)


def relink(app: Flask, body: object) -> TestResponse:
    """Ask for a relink."""
    headers = {"Authorization": BEARER + WRITE}
    return app.test_client().post("/api/relink", json=body, headers=headers)


def found_by(engine: Engine, metadata: dict[str, str]) -> list[str]:
    """The bots that a filter holds."""
    with engine.connect() as connection:
        return [row.bot_id for row in bots(BotFilter(metadata=metadata)).page(connection, 9).rows]


@pytest.mark.parametrize("key", ODD)
def test_every_key_that_is_stored_is_found(engine: Engine, app: Flask, key: str) -> None:
    """By exactly this text under exactly this key, as an object and as a query's parameter."""
    add_bot(engine, BOT, metadata=ODD)
    assert found_by(engine, {key: ODD[key]}) == [BOT]
    assert found_by(engine, {key: ODD[key] + " "}) == []
    assert found_by(engine, {key + " ": ODD[key]}) == []
    answer = ask(app, "/api/bots", **{f"metadata.{key}": ODD[key]})
    assert [row["bot_id"] for row in answer.get_json()["items"]] == [BOT]


@pytest.mark.parametrize("query", [{"metadata.team": ""}, {"metadata": "team="}])
def test_an_empty_text_is_asked_for_like_any_other(
    engine: Engine, app: Flask, query: dict[str, str]
) -> None:
    """Passed over, it would list and relink every bot; the console keeps it from page to page."""
    others = [f"{BOT[:-1]}{n}" for n in range(2, 5)]
    for bot, metadata in zip([BOT, *others], ({"team": ""}, {"team": "x"}, {}, None), strict=True):
        add_bot(engine, bot, metadata=metadata)
    assert [row["bot_id"] for row in ask(app, "/api/bots", **query).get_json()["items"]] == [BOT]
    writer = logged_in(app, WRITE)
    listed = writer.get("/console/bots", query_string={**query, "limit": "9"}).text
    preview = writer.get("/console/relink", query_string=query).text
    again = post(writer, "/console/relink", **query).text
    for page in (listed, preview, again):
        assert (BOT in page, others[0] in page) == (True, False)
    assert urlencode(query) in listed
    ((name, value),) = query.items()
    assert f'name="{name}" value="{value}"' in preview


def test_all_of_several_keys_must_hold(engine: Engine) -> None:
    """A bot without metadata, or with a number of the same digits, has none of them."""
    others = [f"{BOT[:-1]}{n}" for n in range(2, 6)]
    add_bot(engine, BOT, metadata={"team": "north", "deal": "7", "more": None})
    for bot, metadata in zip(others, ({"team": "north"}, {"deal": 7}, {}, None), strict=True):
        add_bot(engine, bot, metadata=metadata)
    assert found_by(engine, {"team": "north", "deal": "7"}) == [BOT]
    assert found_by(engine, {"deal": "7"}) == [BOT]
    assert sorted(found_by(engine, {"team": "north"})) == sorted([BOT, others[0]])
    assert found_by(engine, {"more": "null"}) == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"metadata.": "x"}, "metadata."),
        ({"metadata.a\0b": "x"}, "metadata.a\ufffdb"),
        ({"metadata.a": "x\0"}, "metadata.a"),
        ({"metadata.a.b": "x" * 1001}, "metadata.a.b"),
        ({f"metadata.{'k' * 1001}": "x"}, f"metadata.{'k' * 100}"),
        ({"metadata": "team"}, "metadata"),
        ({"metadata": "=x"}, "metadata."),
        ({"metadata": "team=x", "metadata.team": "y"}, "metadata"),
        ({"metadatax": "y"}, "metadatax"),
        ({"Metadata.a": "y"}, "Metadata.a"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ["/api/links", "/api/bots"])
def test_a_bad_key_or_value_is_400_and_named(
    app: Flask, path: str, query: dict[str, str], parameter: str
) -> None:
    """None is passed over, or the list would show everything."""
    answer = ask(app, path, **query)
    assert answer.status_code == 400
    assert answer.get_json()["parameter"] == parameter
    assert answer.get_json()["detail"].startswith(f"{parameter}: ")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_key_given_twice_is_refused(app: Flask) -> None:
    """Which of the two would be a guess."""
    headers = {"Authorization": BEARER + READ}
    path = "/api/bots?metadata.team=a&metadata.team=b"
    answer = app.test_client().get(path, headers=headers)
    assert (answer.status_code, answer.get_json()["parameter"]) == (400, "metadata.team")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_list_without_metadata_does_not_know_it(app: Flask) -> None:
    """Deliveries have none of their own."""
    answer = ask(app, "/api/deliveries", **{"metadata.team": "a"})
    assert (answer.status_code, answer.get_json()["parameter"]) == (400, "metadata.team")


@pytest.mark.parametrize(
    ("metadata", "parameter"),
    [({}, "metadata"), ([], "metadata"), (7, "metadata"), ({"a": 7}, "metadata.a"),
     ({"a": None}, "metadata.a"), ([["a", "b"]], "metadata"),
     ({"\ud800": "x"}, "metadata.\ufffd\ufffd\ufffd")],
)  # fmt: skip
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_relink_by_no_usable_metadata_changes_nothing(
    app: Flask, engine: Engine, metadata: Any, parameter: str
) -> None:
    """An empty object would hold every bot."""
    add_bot(engine, BOT)
    answer = relink(app, {"metadata": metadata})
    assert (answer.status_code, answer.get_json()["parameter"]) == (400, parameter)


def test_a_relink_takes_the_bots_that_have_it(app: Flask, engine: Engine) -> None:
    """As an object, or by the same names as a query; the audit tells by what they were chosen."""
    add_bot(engine, BOT, metadata={"team": "north", "empty": ""})
    add_bot(engine, f"{BOT[:-1]}2", metadata={"team": "south"})
    assert relink(app, {"metadata": {"team": "north"}, "preview": True}).get_json()["count"] == 1
    assert relink(app, {"metadata.empty": "", "preview": True}).get_json()["count"] == 1
    assert relink(app, {"metadata.team": "north"}).get_json()["relinked"] == 1
    audit = ask(app, "/api/audit").get_json()["items"]
    assert audit[0]["details"]["asked"] == {"metadata": {"team": "north"}}


def test_a_filter_says_the_same_in_each_of_its_forms() -> None:
    """An object, texts of an option, and a query's own names."""
    forms: list[dict[str, Any]] = [
        {"metadata": {"a.b": "x=y", "c": ""}},
        {"metadata": ("a.b=x=y", "c=")},
        {"metadata.a.b": "x=y", "metadata.c": ""},
        {"metadata": "a.b=x=y", "metadata.c": ""},
    ]
    found = [LinkFilter.model_validate(form).metadata for form in forms]
    assert found == [{"a.b": "x=y", "c": ""}] * 4
    assert LinkFilter().metadata is None


def test_it_is_described_as_parameters_of_any_key(app: Flask) -> None:
    """In OpenAPI: an object that is sent as a parameter for each of its keys."""
    paths = ask(app, "/api/openapi.json").get_json()["paths"]
    for name in ("links", "bots"):
        (found,) = [
            one for one in paths[f"/api/{name}"]["get"]["parameters"] if one["name"] == "metadata"
        ]
        assert (found["in"], found["style"], found["explode"]) == ("query", "form", True)
        (pattern,) = found["schema"]["patternProperties"]
        assert pattern.startswith(r"^metadata\.")


def test_a_page_keeps_what_it_was_filtered_by(reader: FlaskClient, engine: Engine) -> None:
    """A field for each key, so that the next search keeps it, and one for a further key."""
    add_bot(engine, BOT, metadata={"te am": 'n"<b>'})
    page = reader.get("/console/bots", query_string={"metadata.te am": 'n"<b>'})
    assert BOT in page.text
    assert 'id="field-key-0" name="metadata.te am" value="n&#34;&lt;b&gt;"' in page.text
    assert 'id="field-metadata" name="metadata" value=""' in page.text
    assert "metadata.te+am=n%22%3Cb%3E" in page.text
    assert BOT in reader.get("/console/bots?metadata=te+am%3Dn%22%3Cb%3E").text
    wrong = reader.get("/console/bots", query_string={"metadata.a": "\0"})
    assert wrong.status_code == 400
    assert 'id="wrong-key-0"' in wrong.text
