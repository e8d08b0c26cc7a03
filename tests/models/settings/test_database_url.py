"""DATABASE_URL in the formats of platforms and other tools."""

from urllib.parse import parse_qsl

import pytest

from models.core.postgresql import split_options
from models.settings.environment import Settings, SettingsError

BASE = "postgres://ada:s3cret-word@db.example:5432/links"
PIECES = ("s3cret", "ada", "db.example", "links", "secretport")


def read(url: str) -> dict[str, object]:
    """Return the libpq parameters of a URL."""
    return dict(Settings.read({"DATABASE_URL": url}).database_url.query)


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "pgsql", "postgresql+psycopg2", "postgresql+asyncpg"],
)
def test_every_postgresql_scheme_means_psycopg_3(scheme: str) -> None:
    """Whichever driver the scheme names."""
    url = BASE.replace("postgres", scheme, 1)
    found = Settings.read({"DATABASE_URL": f" {url}\n"}).database_url
    assert found.drivername == "postgresql+psycopg"
    assert (found.host, found.port, found.database) == ("db.example", 5432, "links")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("pgbouncer=true", {}),
        ("pgbouncer=true&connection_limit=1&pool_timeout=20", {}),
        ("statement_cache_size=0&prepared_statements=false", {}),
        ("ssl=true", {"sslmode": "require"}),
        ("ssl=1&sslmode=verify-full", {"sslmode": "verify-full"}),
        ("ssl=false", {}),
        ("ssl=verify-ca", {"sslmode": "verify-ca"}),
        ("sslmode=no-verify", {"sslmode": "require"}),
        ("schema=mine", {"options": "-csearch_path=mine"}),
        ("sslmode=require&channel_binding=require", None),
        ("options=endpoint%3Dep-cool-1", None),
        ("connect_timeout=10&application_name=x&target_session_attrs=read-write", None),
    ],
)
def test_parameters_of_other_tools_are_converted_or_ignored(
    query: str, expected: dict[str, str] | None
) -> None:
    """Parameters of libpq stay unchanged."""
    assert read(f"{BASE}?{query}") == (dict(parse_qsl(query)) if expected is None else expected)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://ada:s3cret@db.example:secretport/links",
        "postgres://ada:s3cret@db.example:0/links",
        "postgres://ada:s3cret@db.example:99999/links",
        f"{BASE}?s3cret=1",
        f"{BASE}?sslmode=s3cret",
        f"{BASE}?prepare_threshold=s3cret",
        "mysql://ada:s3cret@db.example/links",
        "jdbc:postgresql://db.example/links?user=ada",
        "db.example:5432/links",
        "s3cret",
        "postgres://ada:s3%00cret@db.example/links",
        "sqlite://ada:s3cret@db.example/links",
        "sqlite:///links.db?s3cret=1",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_an_invalid_url_gives_one_line_without_the_value(url: str) -> None:
    """The message names the setting and the accepted form."""
    with pytest.raises(SettingsError) as caught:
        Settings.read({"DATABASE_URL": url})
    message = str(caught.value)
    assert message.startswith(("DATABASE_URL: must ", "DATABASE_URL: has "))
    assert "\n" not in message
    shown = message.replace("recall-links", "").replace("https://www.postgresql.org/docs", "")
    assert not [piece for piece in PIECES if piece in shown]


@pytest.mark.parametrize(
    ("options", "own"),
    [
        ("-csearch_path=mine", {"search_path": "mine"}),
        ("-c search_path=mine,public -c work_mem=4MB", {
            "search_path": "mine,public", "work_mem": "4MB",
        }),
        ("--search-path=mine", {"search_path": "mine"}),
        (r"-csearch_path=a\ b\\c", {"search_path": r"a b\c"}),
        ("endpoint=ep-cool-1", None),
        ("-csearch_path=mine endpoint=x", None),
        ("-c", None),
    ],
)  # fmt: skip
def test_settings_in_a_urls_options_are_extracted(options: str, own: dict[str, str] | None) -> None:
    """Because a pooler rejects `options`. Other options stay in the URL."""
    url = Settings.read({"DATABASE_URL": BASE}).database_url.set(query={"options": options})
    rest, found = split_options(url)
    assert (found, dict(rest.query)) == ((own, {}) if own else ({}, {"options": options}))
