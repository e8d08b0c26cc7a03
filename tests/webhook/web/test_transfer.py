"""How the API's responses are sent: as gzip to who takes it, and not at all to who has them."""

import gzip
import itertools
import random
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner
from sqlalchemy import Engine, update
from werkzeug.test import TestResponse

from models.tables.bot import Bot
from tests.support.console_client import READ, logged_in
from webhook.app import resources_of
from webhook.web.auth import BEARER
from webhook.web.transfer import SHORTEST_GZIPPED, conditional_and_gzipped


@pytest.fixture
def client(app: Flask, full: Engine) -> FlaskClient:
    """A client of a service whose deliveries are more than one chunk of CSV."""
    return app.test_client()


def get(client: FlaskClient, path: str, **headers: str) -> TestResponse:
    """Ask with a token."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(path, headers={"Authorization": BEARER + READ} | named)


@pytest.mark.parametrize("path", ["/api/links", "/api/links?format=csv", "/api/openapi.json"])
def test_gzip_holds_the_same_bytes(client: FlaskClient, path: str) -> None:
    """JSON as a whole, and CSV while it is read; both say on what the answer depends."""
    plain, packed = get(client, path), get(client, path, Accept_Encoding="gzip, deflate, br")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 2
    assert packed.mimetype == plain.mimetype
    for answer in (plain, packed):
        assert set(answer.headers["Vary"].split(", ")) == {"Accept", "Accept-Encoding"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("accepted", "is_gzipped"),
    [
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("br, gzip;q=0.1", True),
        ("*", True),
        ("gzip;q=0.5, identity;q=0.5", True),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("br, deflate", False),
        ("gzip;q=x", False),
        ("", False),
        (None, False),
    ],
)
def test_gzip_is_for_who_accepts_it(
    client: FlaskClient, accepted: str | None, is_gzipped: bool
) -> None:
    """By the weights that the client gives it and the plain body."""
    given = {} if accepted is None else {"Accept_Encoding": accepted}
    for path in ("/api/links", "/api/links?format=csv"):
        answer = get(client, path, **given)
        assert (answer.headers.get("Content-Encoding") == "gzip") == is_gzipped, path


def test_what_fits_one_packet_stays_plain(client: FlaskClient) -> None:
    """An empty page, and an error."""
    for path in ("/api/links?external_id=nobody", "/api/links?nothing=1"):
        answer = get(client, path, Accept_Encoding="gzip")
        assert len(answer.data) < SHORTEST_GZIPPED
        assert "Content-Encoding" not in answer.headers


def test_nothing_but_the_api_is_compressed(app: Flask, client: FlaskClient) -> None:
    """A page has a form token beside titles: its length would tell of the token (BREACH)."""
    reader = logged_in(app, READ)
    packing = {"Accept-Encoding": "gzip"}
    for path in ("/console/", "/console/links", "/console/audit"):
        answer = reader.get(path, headers=packing)
        assert len(answer.data) > SHORTEST_GZIPPED
        assert "Content-Encoding" not in answer.headers, path
    assert "Content-Encoding" not in get(client, "/metrics", Accept_Encoding="gzip").headers


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("path", ["/api/links?limit=7", "/api/bots", "/api/openapi.json"])
def test_who_has_a_list_already_is_told_so(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str, encoding: str
) -> None:
    """304 without a body, also a second later, when the same cursor is signed again."""
    first = get(client, path, Accept_Encoding=encoding)
    tag = first.headers["ETag"]
    assert (first.status_code, tag[0], tag[-1]) == (200, '"', '"')
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _signer: 2_000_000_000)
    for known in (tag, f'"other", {tag}', "*"):
        again = get(client, path, Accept_Encoding=encoding, If_None_Match=known)
        assert (again.status_code, again.data) == (304, b""), known
        assert again.headers["ETag"] == tag
        assert "Content-Encoding" not in again.headers
    changed = get(client, path, Accept_Encoding=encoding, If_None_Match='"other"')
    assert (changed.status_code, changed.data) == (200, first.data)


def test_a_list_that_changed_has_another_etag(client: FlaskClient, engine: Engine) -> None:
    """And each encoding its own, as strong ones must."""
    path = "/api/bots"
    tag = get(client, path).headers["ETag"]
    assert get(client, path, Accept_Encoding="gzip").headers["ETag"] != tag
    with engine.begin() as connection:
        connection.execute(update(Bot).values(bot_name="another"))
    assert get(client, path, If_None_Match=tag).status_code == 200


def test_csv_has_no_etag_and_errors_have_none(client: FlaskClient) -> None:
    """What is streamed is not known before its end."""
    for path in ("/api/links?format=csv", "/api/links?nothing=1", "/api/bots/nothing"):
        assert "ETag" not in get(client, path).headers


def test_a_stream_is_compressed_as_it_is_read(app: Flask) -> None:
    """The first pieces leave before there is a last one."""
    with app.test_request_context(headers={"Accept-Encoding": "gzip"}):
        seeded = random.Random(1)
        endless = (seeded.randbytes(50_000) for _ in itertools.count())
        response = conditional_and_gzipped(Response(endless, mimetype="text/csv"))
        assert sum(map(len, itertools.islice(response.response, 5))) > 100_000


def test_who_leaves_in_the_middle_leaves_no_connection_open(
    app: Flask, client: FlaskClient
) -> None:
    """The rows' connection to the database is closed with the answer."""
    headers = {"Authorization": BEARER + READ, "Accept-Encoding": "gzip"}
    answer = client.get("/api/deliveries?format=csv", headers=headers, buffered=False)
    assert next(iter(answer.response))[:2] == b"\x1f\x8b"
    pool: Any = resources_of(app).reads.pool
    assert pool.checkedout() == 1
    answer.close()
    assert pool.checkedout() == 0
