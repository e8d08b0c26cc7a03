"""Every parameter of the API and of the command line, given nonsense: it is refused by its name."""

import sys
from collections.abc import Iterator
from typing import Any

import click
import pytest
from flask.testing import FlaskClient

from models.queries.registry import LISTS, ListKind
from tests.conftest import MakeSettings
from webhook.app import create_app, resources_of
from webhook.cli import main
from webhook.services.relink import RelinkRequest
from webhook.web.auth import BEARER
from webhook.web.params import query_model

TOKEN = "write-token-0123456789"
# Too long for every text, and no number, time, id, choice or switch.
NONSENSE = "hunter2" * 1000
PARAMETERS = [(kind, name) for kind in LISTS for name in query_model(kind.wanted).model_fields]
# Not pydantic's words: nobody who types an address knows of inputs and strings.
FOREIGN = ("Input should", "String should", "Value error", "Extra inputs", "Field required")


@pytest.fixture
def client(make_settings: MakeSettings) -> Iterator[FlaskClient]:
    """Somebody who may do everything."""
    app = create_app(make_settings(OPS_WRITE_TOKENS=TOKEN))
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER + TOKEN
    yield client
    resources_of(app).close()


def assert_refused(response: Any, parameter: str) -> None:
    """The answer names the parameter, in plain words, without the value."""
    assert response.status_code == 400, response.get_data(as_text=True)[:200]
    problem = response.get_json()
    assert problem["parameter"] == parameter
    assert problem["detail"].startswith(f"{parameter}: ")
    assert "hunter2" not in problem["detail"]
    assert not any(words in problem["detail"] for words in FOREIGN)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "name"), PARAMETERS, ids=[f"{kind.name}-{name}" for kind, name in PARAMETERS]
)
def test_a_list_names_the_parameter_that_it_refuses(
    client: FlaskClient, kind: ListKind, name: str
) -> None:
    """Each filter of each list, and the paging's."""
    assert_refused(client.get(f"/api/{kind.name}", query_string={name: NONSENSE}), name)


def largest(kind: ListKind) -> dict[str, int]:
    """The largest number that each of a list's parameters takes, by its description."""
    properties = query_model(kind.wanted).model_json_schema()["properties"]
    found = {}
    for name, schema in properties.items():
        for one in schema.get("anyOf", [schema]):
            if one.get("type") == "integer":
                found[name] = one.get("maximum", one.get("exclusiveMaximum", 0) - 1)
    return found


@pytest.mark.parametrize("kind", LISTS, ids=[kind.name for kind in LISTS])
def test_a_list_takes_the_largest_number_that_it_allows(
    client: FlaskClient, kind: ListKind
) -> None:
    """A column that holds less would make a server error of it."""
    assert "limit" in largest(kind)
    for name, value in largest(kind).items():
        assert client.get(f"/api/{kind.name}", query_string={name: value}).status_code == 200
        more = client.get(f"/api/{kind.name}", query_string={name: value + 1})
        assert_refused(more, name)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", LISTS, ids=[kind.name for kind in LISTS])
def test_a_list_names_the_parameter_that_it_does_not_know(
    client: FlaskClient, kind: ListKind
) -> None:
    """A filter that is passed over would show everything."""
    assert_refused(client.get(f"/api/{kind.name}?nonsense=1"), "nonsense")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", RelinkRequest.model_fields)
def test_a_relink_names_the_field_that_it_refuses(client: FlaskClient, name: str) -> None:
    """As text, and as what no field takes."""
    values: list[object] = [NONSENSE, {}, 1.5]
    for value in values:
        assert_refused(client.post("/api/relink", json={name: value}), name)


def commands(
    command: click.Command, *words: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, *words, name)


# A flag takes no value that could be wrong.
OPTIONS = [
    (words, option.opts[0])
    for words, command in commands(main.cli)
    for option in command.params
    if isinstance(option, click.Option) and not option.is_flag and option.name != "form"
]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("words", "option"), OPTIONS)
def test_a_command_names_the_option_that_it_refuses(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    option: str,
) -> None:
    """Exit 2, on standard error alone, and no traceback."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("RECALL_API_KEY", "key")
    monkeypatch.setenv("RECALL_API_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_OAUTH_CLIENT_ID", "google-client")
    monkeypatch.setenv("PUBLIC_URL", "https://links.example")
    monkeypatch.setattr(sys, "argv", ["recall-links", *words, option, NONSENSE, *needed(words)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, ""), said.err
    assert option in said.err
    assert "Traceback" not in said.err
    assert not any(foreign in said.err for foreign in FOREIGN)


def needed(words: tuple[str, ...]) -> list[str]:
    """The arguments that a command cannot do without."""
    command: click.Command = main.cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    needed = [one for one in command.params if isinstance(one, click.Argument) and one.required]
    return ["google" if one.name == "platform" else "user-1" for one in needed]
