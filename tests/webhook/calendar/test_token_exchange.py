"""The token exchange: what a page gets for a proof, and what nobody gets without one."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert

from models.settings.environment import SettingsError
from models.tables.base import db_now
from models.tables.calendar import CalendarToken, ErasedUser
from tests.conftest import MakeSettings
from tests.lab.faults.faults import Fault as Scripted
from tests.lab.recall import FakeRecall
from tests.lab.world.clock import ManualClock
from tests.support.calendar_app import (
    PAGES,
    PUBLIC,
    SHARED_KEY,
    ask,
    calendar_settings,
    claims_of,
    proof,
    rsa_pair,
)
from tests.support.rows import count, rows
from webhook.app import create_app, resources_of
from webhook.calendar.throttle import CallerLimit
from workers.privacy.tombstones import external_id_hash

PATH = "/calendar/auth-token"
MakeClient = Callable[..., FlaskClient]
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def make_client(make_settings: MakeSettings, recall: FakeRecall) -> Iterator[MakeClient]:
    """Make clients of applications with these settings besides the usual ones."""
    apps: list[Flask] = []

    def make(**others: object) -> FlaskClient:
        apps.append(create_app(make_settings(**calendar_settings(recall, **others))))
        return apps[-1].test_client()

    yield make
    for app in apps:
        resources_of(app).close()


@pytest.fixture
def client(make_client: MakeClient) -> FlaskClient:
    """A client of an application that is told everything."""
    return make_client()


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    """An RSA key pair."""
    return rsa_pair()


def test_a_proved_user_gets_a_token_that_recall_takes(
    client: FlaskClient, recall: FakeRecall
) -> None:
    """By header; the user is made, as connecting is where users come from."""
    answer = ask(client, PATH, {"userId": "ines"}, proof())
    assert answer.status_code == 200
    user = recall.world.user_of_token(answer.get_json()["token"])
    assert user is not None
    assert user.external_id == "ines"
    assert answer.headers["Cache-Control"] == "no-store"


@ON_SQLITE
@pytest.mark.parametrize("body", [{"userId": "ines"}, {}, {"userId": None}])
def test_a_jwt_in_the_json_is_as_good(client: FlaskClient, body: dict[str, object]) -> None:
    """For pages that can set no header; who asks is told by the JWT alone."""
    answer = ask(client, PATH, {**body, "jwt": proof()})
    assert answer.get_json()["token"]


def test_a_token_is_asked_once_in_twenty_hours(
    client: FlaskClient, recall: FakeRecall, engine: Engine
) -> None:
    """And kept sealed in the table that workers share."""
    first = ask(client, PATH, {"userId": "ines"}, proof()).get_json()
    second = ask(client, PATH, {"userId": "ines"}, proof()).get_json()
    assert first == second
    assert [c.template for c in recall.calls.all()].count("calendar/authenticate") == 1
    (row,) = rows(engine, CalendarToken)
    assert row.external_id_hash == external_id_hash("ines")
    assert first["token"].encode() not in row.ciphertext


@ON_SQLITE
def test_a_user_deleted_by_the_page_gets_a_token_that_works(
    client: FlaskClient, recall: FakeRecall
) -> None:
    """The demo disconnects by deleting the user itself: what was cached is worth nothing then."""
    first = ask(client, PATH, {"userId": "ines"}, proof()).get_json()["token"]
    user = recall.world.user_of_token(first)
    assert user is not None
    recall.world.delete_user(user.id)
    second = ask(client, PATH, {"userId": "ines"}, proof()).get_json()["token"]
    assert second != first
    assert recall.world.user_of_token(second) is not None


@ON_SQLITE
def test_another_users_id_is_refused(client: FlaskClient, recall: FakeRecall) -> None:
    """403, and Recall hears nothing: asking would have made that user."""
    answer = ask(client, PATH, {"userId": "crew"}, proof())
    assert answer.status_code == 403
    assert answer.mimetype == "application/problem+json"
    assert "token" not in answer.get_json()
    assert recall.calls.all() == []


def unsigned(claims: dict[str, object], header: dict[str, object], key: bytes = b"") -> str:
    """A JWT made by hand, since the library refuses to make it."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"
    mac = hmac.new(key, signed.encode(), hashlib.sha256).digest() if key else b""
    return f"{signed}.{part(mac)}"


def bad_proofs() -> dict[str, str | None]:
    """JWTs that prove nothing, by what is wrong with them."""
    now = int(time.time())
    day = 24 * 3600
    return {
        "none": None,
        "no algorithm": unsigned(claims_of(), {"alg": "none", "typ": "JWT"}),
        "no algorithm in capitals": unsigned(claims_of(), {"alg": "NONE"}),
        "another key": proof(key="another-secret-of-more-than-32-bytes"),
        "another algorithm": proof(algorithm="HS512", key=SHARED_KEY * 2),
        "expired": proof(iat=now - 700, exp=now - 100),
        "no exp": proof(exp=None),
        "no iat": proof(iat=None),
        "too long": proof(exp=now + day),
        "not yet": proof(iat=now + 900, exp=now + 1200),
        "absurd exp": unsigned({**claims_of(), "exp": float("inf")}, {"alg": "HS256"}, b"x" * 40),
        "no user": proof(user=None),
        "empty user": proof(user=""),
        "number": proof(user=None, uid=17),
        "blank around": proof(user=" ines"),
        "control character": proof(user="in\x00es"),
        "long user": proof(user="i" * 300),
        "another audience": proof(aud="https://other.example"),
        "no jwt": "hunter2",
        "dots": "..",
        "deep header": f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.e30.x",
        "long": "e" * 9000,
    }


@ON_SQLITE
def test_what_proves_nothing_gets_nothing(client: FlaskClient, recall: FakeRecall) -> None:
    """401 with a reason, as a problem document, by header or JSON; Recall hears nothing."""
    for wrong, token in bad_proofs().items():
        by_json = {"userId": "ines"} | ({} if token is None else {"jwt": token})
        for answer in (
            ask(client, PATH, {"userId": "ines"}, token),
            ask(client, PATH, by_json),
        ):
            assert answer.status_code == 401, wrong
            assert answer.mimetype == "application/problem+json", wrong
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert "token" not in answer.get_json()
    assert recall.calls.all() == []


@ON_SQLITE
def test_a_public_key_takes_rs256_alone(
    make_client: MakeClient, pair: tuple[str, str], recall: FakeRecall
) -> None:
    """Least of all HS256 with the public key, which everybody knows, for a secret."""
    private, public = pair
    client = make_client(CALENDAR_JWT_KEY=public.replace("\n", "\\n"))
    assert ask(client, PATH, {}, proof(key=private, algorithm="RS256")).status_code == 200
    stranger, _ = rsa_pair()
    for token in (
        unsigned(claims_of(), {"alg": "HS256", "typ": "JWT"}, public.encode()),
        unsigned(claims_of(), {"alg": "HS256", "typ": "JWT"}, public.strip().encode()),
        unsigned(claims_of(), {"alg": "none"}),
        proof(),
        proof(key=private, algorithm="RS512"),
        proof(key=private, algorithm="PS256"),
        proof(key=stranger, algorithm="RS256"),
    ):
        assert ask(client, PATH, {"userId": "ines"}, token).status_code == 401
    assert len(recall.world.users) == 1


@ON_SQLITE
def test_a_header_cannot_bring_its_own_key(client: FlaskClient) -> None:
    """Whatever `kid`, `jwk` and `jku` say."""
    mine = "a-secret-of-the-callers-own-making!!"
    headers = {"kid": "../../dev/null", "jku": "https://evil.example/keys", "jwk": {"k": mine}}
    token = jwt.encode(claims_of(), mine, algorithm="HS256", headers=headers)
    assert ask(client, PATH, {"userId": "ines"}, token).status_code == 401


@ON_SQLITE
def test_the_claim_and_the_audience_can_be_others(
    make_client: MakeClient, recall: FakeRecall
) -> None:
    """CALENDAR_JWT_USER_CLAIM names the claim; an audience must be ours where there is one."""
    client = make_client(CALENDAR_JWT_USER_CLAIM="https://app.example/user")
    claim = {"https://app.example/user": "ines"}
    assert (
        ask(client, PATH, {"userId": "ines"}, proof("auth0|1", aud=[PUBLIC], **claim)).status_code
        == 200
    )
    assert ask(client, PATH, {"userId": "auth0|1"}, proof("auth0|1", **claim)).status_code == 403
    assert ask(client, PATH, {"userId": "auth0|1"}, proof("auth0|1")).status_code == 401
    assert [user.external_id for user in recall.world.users.values()] == ["ines"]


@ON_SQLITE
def test_a_body_that_cannot_be_used_is_named(client: FlaskClient, recall: FakeRecall) -> None:
    """A simple cross-site form is among them: it cannot send JSON."""
    as_json, headers = "application/json", {"Authorization": f"Bearer {proof()}"}
    for data, kind, status in (
        (b'{"userId": "ines"}', "text/plain", 415),
        (b"userId=ines", "application/x-www-form-urlencoded", 415),
        (b"{", as_json, 400),
        (b"[]", as_json, 400),
        (b"\xff", as_json, 400),
        (b"[" * 9000, as_json, 400),
        (b'"' + b"x" * 20_000 + b'"', as_json, 413),
        (b'{"userId": 17}', as_json, 400),
        (b'{"userId": ["ines"]}', as_json, 400),
    ):
        answer = client.post(PATH, data=data, content_type=kind, headers=headers)
        assert answer.status_code == status, data[:40]
        assert answer.mimetype == "application/problem+json"
    assert recall.calls.all() == []


@ON_SQLITE
def test_an_allowed_pages_preflight_is_answered(client: FlaskClient) -> None:
    """For the header that carries the JWT; named, and never with credentials or a star."""
    asking = {"Origin": PAGES, "Access-Control-Request-Method": "POST"}
    asking["Access-Control-Request-Headers"] = "authorization,content-type"
    answer = client.options(PATH, headers=asking)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == PAGES
    assert answer.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
    assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


@ON_SQLITE
def test_a_foreign_page_reads_nothing(client: FlaskClient, recall: FakeRecall) -> None:
    """Neither preflight nor answer, even with a good JWT; and the refusal is not cached for us."""
    evil = ("https://evil.example", "null", "http://app.example", f"{PAGES}:8443", f"{PAGES}/")
    for origin in (*evil, f"{PAGES}.evil.example", "https://APP.example"):
        for answer in (
            client.options(PATH, headers={"Origin": origin}),
            ask(client, PATH, {"userId": "ines"}, proof(), Origin=origin),
        ):
            assert answer.status_code == 403, origin
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert answer.headers["Vary"] == "Origin"
    assert recall.calls.all() == []


@ON_SQLITE
def test_an_allowed_page_can_read_a_refusal(client: FlaskClient) -> None:
    """Otherwise it could not say why."""
    for token, status in ((proof(), 200), (None, 401)):
        answer = ask(client, PATH, {"userId": "ines"}, token, Origin=PAGES)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == PAGES
        assert answer.headers["Vary"] == "Origin"


def test_an_erased_user_gets_none(client: FlaskClient, recall: FakeRecall, engine: Engine) -> None:
    """Asking would make them again; connecting anew is what ends it."""
    values = {"external_id_hash": external_id_hash("ines"), "reason": "asked"}
    with engine.begin() as connection:
        connection.execute(insert(ErasedUser).values(**values, erased_at=db_now()))
    answer = ask(client, PATH, {"userId": "ines"}, proof())
    assert answer.status_code == 403
    assert "erased" in answer.get_json()["detail"]
    assert recall.calls.all() == []
    assert count(engine, CalendarToken) == 0


@ON_SQLITE
def test_one_caller_in_a_loop_is_slowed_and_no_other(client: FlaskClient) -> None:
    """429 with Retry-After; the next user is served."""
    assert ask(client, PATH, {"userId": "ines"}, proof()).status_code == 200
    answers = (ask(client, PATH, {"userId": "ines"}, proof()) for _ in range(500))
    slowed = next(answer for answer in answers if answer.status_code == 429)
    assert int(slowed.headers["Retry-After"]) >= 1
    assert ask(client, PATH, {"userId": "crew"}, proof("crew")).status_code == 200


@ON_SQLITE
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"status": 500}, 503),
        ({"status": 429, "headers": {"Retry-After": "7"}}, 503),
        ({"act": "reset"}, 503),
        ({"status": 401}, 503),
        ({"status": 400}, 502),
        ({"act": "token", "variant": "crlf"}, 503),
    ],
)
def test_recalls_failures_are_problems_without_a_token(
    client: FlaskClient, recall: FakeRecall, fault: dict[str, object], status: int
) -> None:
    """503 with Retry-After where the same may succeed later, 502 where not."""
    with recall.faults.during(Scripted(path="calendar/authenticate", **fault)):  # type: ignore[arg-type]
        answer = ask(client, PATH, {"userId": "ines"}, proof())
    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert "token" not in answer.get_json()


@ON_SQLITE
def test_a_page_can_read_that_the_database_is_away(make_client: MakeClient) -> None:
    """503 with Retry-After, as everywhere, and its CORS header."""
    client = make_client(DATABASE_URL="sqlite:////nowhere/at/all.db")
    answer = ask(client, PATH, {"userId": "ines"}, proof(), Origin=PAGES)
    assert answer.status_code == 503
    assert answer.headers["Access-Control-Allow-Origin"] == PAGES
    assert int(answer.headers["Retry-After"]) > 0


@ON_SQLITE
def test_other_methods_are_not_for_it(client: FlaskClient) -> None:
    """405; above all no GET, whose address would end up in logs."""
    assert client.get(PATH).status_code == 405


@ON_SQLITE
def test_nothing_is_there_until_it_is_configured(make_client: MakeClient) -> None:
    """404, whatever the method."""
    names = ("GOOGLE_OAUTH_CLIENT_ID", "MICROSOFT_OAUTH_CLIENT_ID", "CALENDAR_JWT_KEY")
    client = make_client(**dict.fromkeys(names, ""))
    last = ("auth-token", "connect/google", "callback/google", "connected", "failed")
    for name in (*last, "static/style.css"):
        for method in ("GET", "POST", "OPTIONS"):
            assert client.open(f"/calendar/{name}", method=method).status_code == 404, name


@ON_SQLITE
def test_each_part_waits_for_its_own_settings(make_client: MakeClient) -> None:
    """No key: no exchange and no links by HTTP; no OAuth client: not that platform."""
    without_key = make_client(CALENDAR_JWT_KEY="")
    assert ask(without_key, PATH, {"userId": "ines"}).status_code == 404
    assert ask(without_key, "/calendar/connect/google", {}).status_code == 404
    assert without_key.get("/calendar/failed").status_code == 200
    one_platform = make_client(MICROSOFT_OAUTH_CLIENT_ID="")
    for path in ("/calendar/connect/microsoft", "/calendar/callback/microsoft"):
        assert one_platform.get(path).status_code == 404
    assert one_platform.get("/calendar/connect/google").status_code == 410
    assert one_platform.get("/calendar/connect/yahoo").status_code == 404


@ON_SQLITE
def test_a_companion_without_an_api_key_does_not_boot(make_client: MakeClient) -> None:
    """Named at the start, and not at the first user's first click."""
    with pytest.raises(SettingsError, match="RECALL_API_KEY"):
        make_client(RECALL_API_KEY="")


@ON_SQLITE
def test_a_lab_may_trust_any_user(make_client: MakeClient, recall: FakeRecall) -> None:
    """As the demo's own worker does: userId alone."""
    client = make_client(CALENDAR_JWT_KEY="", CALENDAR_TRUST_ANY_USER="1")
    answer = ask(client, PATH, {"userId": "anybody"})
    assert recall.world.user_of_token(answer.get_json()["token"]) is not None
    assert ask(client, PATH, {}).status_code == 400


def test_a_caller_has_a_burst_and_then_a_steady_rate() -> None:
    """Twenty at once, one a second after that; others are counted apart, and memory has an end."""
    clock = ManualClock(0.0)
    limit = CallerLimit(clock)
    assert [limit.wait("ines") for _ in range(20)] == [0.0] * 20
    assert limit.wait("ines") == 1.0
    clock.advance(0.75)
    assert limit.wait("ines") == 0.25
    clock.advance(0.25)
    assert limit.wait("ines") == 0.0
    assert limit.wait("crew") == 0.0
    for number in range(10_001):
        limit.wait(f"user-{number}")
    assert limit.wait("ines") == 0.0


def test_a_page_that_asks_twenty_times_at_once_gets_one_answer_twenty_times(
    make_client: MakeClient, recall: FakeRecall
) -> None:
    """As the documentation promises: a new user's and a known one's, at a Recall that is slow."""
    app = make_client().application
    recall.latency_ms = 150
    for known in (False, True):
        recall.calls.clear()
        start = threading.Barrier(20)

        def once(app: Flask = app, start: threading.Barrier = start) -> tuple[int, str]:
            start.wait(10)
            answer = ask(app.test_client(), PATH, {"userId": "ines"}, proof())
            return answer.status_code, str(answer.get_json().get("token"))

        with ThreadPoolExecutor(20) as pool:
            told = [one.result(30) for one in [pool.submit(once) for _ in range(20)]]
        assert {status for status, _ in told} == {200}
        assert len({token for _, token in told}) == 1
        assert recall.world.user_of_token(told[0][1]) is not None
        minted = recall.calls.counts().get("POST calendar/authenticate 200", 0)
        assert minted == (0 if known else 1)
        app = make_client().application
