"""What is believed of a router's headers, and what comes of those that no router writes."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from waitress.proxy_headers import PROXY_HEADERS, proxy_headers_middleware

from tests.conftest import new_database
from tests.hostile_input.test_wire import BODY, exchange, head, lines, signed
from tests.lab.recall import FakeRecall
from tests.support.console_client import READ
from tests.support.processes import environ_for, until, web_alone
from webhook.serving.proxy_headers import FOR, PORT, PROTO, remove_malformed
from webhook.web.failed_logins import BURST

LONGEST = 64 * 1024
NO_ADDRESSES = [
    ":.", ":", ".:", "::.", ".", "", ",", ",,,", " , ", "[", "]", "[]", "[]:1", "[:", "[::1",
    "::1]", "]:[", "[[::1]]", '"', '"[::1', '""', "\\", '"\\', "a:b:c", "unknown", "_hidden",
    "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4:", "1.2.3.4:x", "fe80::1%eth0", "1.2.3.4 5.6.7.8",
    "\t", "\xa0", "\xff",
    "\u00b9.2.3.4", "for=1.2.3.4", "," * 5000, ":." * 5000, "[" * 5000,
]  # fmt: skip
NO_HEADERS = [
    *(b"X-Forwarded-Proto:" + value for value in (b"", b"ftp", b"https, http", b'"', b"\\")),
    *(b"X-Forwarded-Port:" + value for value in (b"", b"x", b"80,443", b'"', b"-1", b"9" * 5000)),
    *(b"X-Forwarded-Host:" + value for value in (b"", b":", b"[", b"a, b", b'"')),
    *(b"X-Forwarded-By:" + value for value in (b"", b":.", b'"')),
    *(b"Forwarded:" + value for value in (b"", b"for=:.", b"for", b"=", b";;;,,,", b'for="[')),
    *(b"Forwarded:" + value for value in (b"proto=ftp", b"host=:")),
    b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: :.",
]
NAMES = st.sampled_from(sorted(PROXY_HEADERS))
CONTROLS = [b"\x00", b"\x01", b"\x0b", b"\x1b[2J", b"\x7f", b"\r", b"\n"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("::1", "::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        (":., 1.2.3.4", "1.2.3.4"),
        ('"[, 10.0.0.1 , 1.2.3.4 ', "1.2.3.4"),
        *((sent, None) for sent in NO_ADDRESSES),
    ],
)
def test_an_address_is_the_last_hops_or_none(sent: str, kept: str | None) -> None:
    """A router writes its own behind whatever the sender wrote."""
    headers = {FOR: sent}
    remove_malformed(headers)
    assert headers.get(FOR) == kept


@pytest.mark.parametrize(
    ("name", "sent", "kept"),
    [
        (PROTO, "https", "https"),
        (PROTO, " HTTP ", "http"),
        (PROTO, "https, http", None),
        (PROTO, "", None),
        (PORT, "443", "443"),
        (PORT, "80, 443", None),
        (PORT, "8" * 6, None),
        (PORT, "\u0664", None),
    ],
)
def test_scheme_and_port_are_those_that_a_router_writes(
    name: str, sent: str, kept: str | None
) -> None:
    """Two of them are none: nobody can tell which is the router's."""
    headers = {name: sent}
    remove_malformed(headers)
    assert headers.get(name) == kept


@given(
    st.dictionaries(
        st.sampled_from(sorted(PROXY_HEADERS)), st.text(st.characters(max_codepoint=255))
    )
)
@example({FOR: ":."})
@example({FOR: "", PROTO: "", PORT: ""})
def test_waitress_fails_at_none_that_is_kept(headers: dict[str, str]) -> None:
    """Whatever was sent: its middleware reads what is left, and answers no 400 either."""
    remove_malformed(headers)
    environ = {"REMOTE_ADDR": "10.0.0.1", "wsgi.url_scheme": "http"}
    environ |= {f"HTTP_{name}": value for name, value in headers.items()}
    served: list[object] = []

    def app(*asked: object) -> list[bytes]:
        served.append(asked)
        return []

    names = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"}
    middleware = proxy_headers_middleware(
        app,
        trusted_proxy="*",
        trusted_proxy_headers=names,
    )
    middleware(environ, lambda *_: None)
    assert served


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the web process logs."""
    return tmp_path_factory.mktemp("dyno")


@pytest.fixture(scope="module")
def database_of_a_dyno(postgres_url: str, postgres_template: str) -> Iterator[str]:
    """A migrated database: a dyno takes no SQLite."""
    with new_database(postgres_url, postgres_template) as url:
        yield url


@pytest.fixture(scope="module")
def port(folder: Path, database_of_a_dyno: str) -> Iterator[int]:
    """A web process behind a router, that has been through every test here and logged no bug."""
    with FakeRecall() as recall:
        environ = environ_for(database_of_a_dyno, recall, DYNO="web.1", OPS_READ_TOKENS=READ)
    with web_alone(environ, folder) as (process, _):
        yield int(environ["PORT"])
        assert process.code is None
    said = [json.loads(line) for line in (folder / "web.log").read_text().splitlines()]
    assert [one for one in said if one["level"] == "error" or "exception" in one] == []


def webhook(*odd: bytes) -> bytes:
    """A signed webhook with these header lines beside its own."""
    return head(f"Content-Length: {len(BODY)}", *odd, *lines(signed())) + BODY


@pytest.mark.parametrize("hops", NO_ADDRESSES, ids=range(len(NO_ADDRESSES)))
def test_a_webhook_with_hops_that_are_no_addresses_is_taken(port: int, hops: str) -> None:
    """What a sender made up before the router costs nobody's webhook."""
    odd = f"X-Forwarded-For: {hops}".encode()
    assert exchange(port, webhook(odd))[0] in (200, 202)


@pytest.mark.parametrize("odd", NO_HEADERS, ids=range(len(NO_HEADERS)))
def test_a_webhook_with_a_routers_header_that_is_none_is_taken(port: int, odd: bytes) -> None:
    """It is left out, and so are those that no dyno's router is believed in."""
    assert exchange(port, webhook(odd))[0] in (200, 202)


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("name", sorted(PROXY_HEADERS))
def test_a_control_character_in_one_is_no_fault(port: int, name: str, control: bytes) -> None:
    """It is no HTTP, or it is left out."""
    odd = name.replace("_", "-").encode() + b": 1.2.3.4" + control + b"1"
    assert exchange(port, webhook(odd))[0] in (200, 202, 400)


@pytest.mark.parametrize("name", sorted(PROXY_HEADERS))
def test_one_of_64_kib_is_431(port: int, name: str) -> None:
    """As every head of that size."""
    odd = name.replace("_", "-").encode() + b": " + b":.," * (LONGEST // 3)
    assert exchange(port, webhook(odd))[0] == 431


def test_wrong_tokens_count_for_the_address_that_the_router_saw(port: int) -> None:
    """Not for the router's own, which all share, nor for one that a guesser makes up."""

    def ask(token: str, hops: str) -> int:
        given = (f"Authorization: Bearer {token}", f"X-Forwarded-For: {hops}")
        return exchange(port, head(*given, method="GET", path="/api/status"))[0]

    told = [ask(f"wrong-{n}", f"198.51.100.{n}, 203.0.113.7") for n in range(BURST + 1)]
    assert told == [401] * BURST + [429]
    assert ask("wrong", "203.0.113.7, 203.0.113.8") == 401
    assert ask(READ, "203.0.113.8") == 200


def test_they_cost_nobody_else(port: int) -> None:
    """A hundred odd ones, eight at a time, and good ones between them: each good one is stored."""
    odd = [f"X-Forwarded-For: {hops}".encode() for hops in NO_ADDRESSES] * 2
    good = b"X-Forwarded-For: 203.0.113.7"
    with ThreadPoolExecutor(8) as pool:
        sent = [webhook(one) for pair in zip(odd, [good] * len(odd), strict=True) for one in pair]
        answers = list(pool.map(lambda raw: exchange(port, raw)[0], sent))
    assert set(answers) <= {200, 202}


def test_the_address_that_the_router_tells_is_on_file(port: int, database_of_a_dyno: str) -> None:
    """And what the sender wrote before it is not."""
    unsigned = head(f"Content-Length: {len(BODY)}", "X-Forwarded-For: :., 203.0.113.9") + BODY
    assert exchange(port, unsigned)[0] == 401
    with psycopg.connect(database_of_a_dyno, autocommit=True) as connection:

        def addresses() -> list[str | None]:
            found = connection.execute("SELECT remote_addr FROM rejections")
            return [address for (address,) in found]

        until(lambda: "203.0.113.9" in addresses(), "the refusal on file")
        assert not [one for one in addresses() if one and ":" in one]
