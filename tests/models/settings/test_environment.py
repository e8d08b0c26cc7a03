"""Settings: defaults, validation, error messages without values, documentation."""

import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from models.settings.environment import Settings, SettingsError
from tests.support.calendar_app import rsa_pair

ROOT = Path(__file__).parents[3]
# Set by Heroku, not by an operator.
NOT_OURS = {"DYNO"}
NAMES = {name.upper() for name in Settings.model_fields} - NOT_OURS


def test_the_defaults_suit_a_laptop() -> None:
    """Every setting has a default, or is required only by the process that needs it."""
    settings = Settings.read({})
    assert settings.on_sqlite
    assert settings.api_url == "https://us-east-1.recall.ai"
    assert (settings.port, settings.worker_threads, settings.lease_seconds) == (8000, 16, 20)
    with pytest.raises(SettingsError, match="RECALL_API_KEY"):
        _ = settings.api_key


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECALL_REGION", "mars-1"),
        ("RECALL_API_BASE_URL", "ftp://recall.test"),
        ("RECALL_WEBHOOK_SECRETS", "whsec_dGVzdA==,hunter2"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("DATABASE_URL", "hunter2"),
        ("REDIS_URL", "hunter2"),
        ("PORT", "hunter2"),
        ("WEBHOOK_MAX_BYTES", "12"),
        ("WEBHOOK_TOLERANCE_SECONDS", "-1"),
        ("WORKER_THREADS", "0"),
        ("SWEEP_SECONDS", "nan"),
        ("LEASE_SECONDS", "0"),
        ("LOG_LEVEL", "hunter2"),
        ("LOG_FORMAT", "xml"),
        ("RETAIN_PAYLOAD_DAYS", "0"),
        ("REDIS_TLS_VERIFY", "maybe"),
        ("RECALL_RATE_SHARE", "0"),
        ("PUBLIC_URL", "http://hunter2.example"),
        ("PUBLIC_URL", "https://links.example/hunter2"),
        ("GOOGLE_OAUTH_CLIENT_ID", "hunter2 hunter2"),
        ("CALENDAR_JWT_KEY", "hunter2"),
        ("CALENDAR_JWT_KEY", "-----BEGIN PUBLIC KEY-----\\nhunter2"),
        ("CALENDAR_ALLOWED_ORIGINS", "*"),
        ("CALENDAR_ALLOWED_ORIGINS", "https://app.example,https://hunter2@x.example"),
        ("CALENDAR_RETURN_URLS", "https://app.example/?next=hunter2"),
        ("CALENDAR_RETURN_URLS", "//hunter2.example"),
        ("CALENDAR_TRUST_ANY_USER", "hunter2"),
    ],
)
def test_a_malformed_setting_is_named_without_its_value(name: str, value: str) -> None:
    """Because the message is logged."""
    with pytest.raises(SettingsError) as caught:
        Settings.read({name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert "hunter2" not in str(caught.value)


def test_all_malformed_settings_are_named_at_once() -> None:
    """So that one deploy is enough to fix them."""
    with pytest.raises(SettingsError) as caught:
        Settings.read({"PORT": "x", "LOG_FORMAT": "y"})
    assert "PORT" in str(caught.value)
    assert "LOG_FORMAT" in str(caught.value)


def test_an_empty_setting_counts_as_unset() -> None:
    """A cleared config var is an empty string."""
    assert Settings.read({"PORT": "", "RECALL_API_KEY": ""}).recall_api_key is None


@pytest.mark.parametrize("url", ["postgres://u:p@h:5432/d", "postgresql://u:p@h:5432/d"])
def test_herokus_database_url_means_psycopg_3(url: str) -> None:
    """SQLAlchemy itself rejects postgres://."""
    found = Settings.read({"DATABASE_URL": url}).database_url
    assert found.drivername == "postgresql+psycopg"
    assert (found.host, found.password) == ("h", "p")


def test_sqlite_is_refused_on_a_dyno() -> None:
    """A dyno's disk is lost daily, and the links with it."""
    for environ in ({"DYNO": "web.1"}, {"DYNO": "web.1", "DATABASE_URL": "sqlite:///x.db"}):
        with pytest.raises(SettingsError, match="DATABASE_URL"):
            Settings.read(environ)
    assert Settings.read({"DYNO": "web.1", "DATABASE_URL": "postgres://h/d"}).dyno


def test_trust_in_any_user_is_allowed_only_in_a_lab() -> None:
    """Refused on a dyno, on PostgreSQL, and together with a key, which it would bypass."""
    trust = {"CALENDAR_TRUST_ANY_USER": "1"}
    assert Settings.read(trust).knows_callers
    for others in (
        {"DATABASE_URL": "postgres://h/d"},
        {"DATABASE_URL": "postgres://h/d", "DYNO": "web.1"},
        {"CALENDAR_JWT_KEY": "k" * 32},
    ):
        with pytest.raises(SettingsError, match="CALENDAR_TRUST_ANY_USER"):
            Settings.read(trust | others)


def test_the_type_of_a_jwt_key_determines_the_algorithm() -> None:
    """A public key is never a shared secret. Private, small and non-RSA keys are refused."""
    private, public = rsa_pair()
    for text in (public, public.replace("\n", "\\n"), f"  {public}"):
        key = Settings.read({"CALENDAR_JWT_KEY": text}).calendar_jwt_key
        assert key is not None
        assert key.algorithm == "RS256"
    shared = Settings.read({"CALENDAR_JWT_KEY": "k" * 32}).calendar_jwt_key
    assert shared is not None
    assert shared.algorithm == "HS256"
    assert "kkkk" not in repr(shared)
    _, small = rsa_pair(1024)
    elliptic = ec.generate_private_key(ec.SECP256R1()).public_key()
    foreign = elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for wrong in (private, small, foreign, public[:-40], "k" * 31):
        with pytest.raises(SettingsError, match="CALENDAR_JWT_KEY"):
            Settings.read({"CALENDAR_JWT_KEY": wrong})


def test_an_oauth_client_needs_a_public_url() -> None:
    """OAuth providers redirect browsers to it."""
    with pytest.raises(SettingsError, match="PUBLIC_URL"):
        Settings.read({"GOOGLE_OAUTH_CLIENT_ID": "g"})
    given = {"GOOGLE_OAUTH_CLIENT_ID": "g", "PUBLIC_URL": "https://Links.example:443/"}
    assert Settings.read(given).public_url == "https://links.example"


def test_a_name_stands_before_one_token_alone() -> None:
    """Else the audit would name somebody who did not do it; the name is told, and no token."""
    one, other = "0123456789abcdef", "fedcba9876543210"
    alike = {"OPS_READ_TOKENS": f"ann:{one}", "OPS_WRITE_TOKENS": f"Ann:{other}"}
    with pytest.raises(SettingsError, match="the name Ann must not have two tokens") as caught:
        Settings.read(alike)
    assert other not in str(caught.value)
    shared = {"OPS_READ_TOKENS": f"ann:{one}", "OPS_WRITE_TOKENS": f"bob:{one}"}
    with pytest.raises(SettingsError, match="ann and bob must not have the same token"):
        Settings.read(shared)
    # The same person's in both lists, and the same token without a name, mislead nobody.
    for last in (f"ann:{one}", one):
        read = Settings.read({"OPS_READ_TOKENS": f"ann:{one}", "OPS_WRITE_TOKENS": last})
        assert [token.spelling for token in read.ops_write_tokens] == [last]


def test_printed_settings_show_no_secret() -> None:
    """Neither with repr nor with str."""
    environ = {
        "RECALL_API_KEY": "hunter2",
        "RECALL_WEBHOOK_SECRETS": "whsec_aHVudGVyMg==",
        "DATABASE_URL": "postgres://u:hunter2@h/d",
        "REDIS_URL": "rediss://:hunter2@h:6379",
        "ALERT_WEBHOOK_URL": "https://hooks.example/hunter2",
        "HEARTBEAT_URL": "https://pings.example/hunter2",
    }
    settings = Settings.read(environ)
    for words in (repr(settings), str(settings), str(settings.recall_webhook_secrets)):
        assert "hunter2" not in words
        assert "aHVudGVyMg" not in words


def test_settings_are_frozen() -> None:
    """They are read once, when a process starts."""
    settings = Settings.read({})
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


def test_every_setting_is_documented_with_its_default() -> None:
    """In docs/configuration.md and .env.example."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", page, re.MULTILINE))
    assert set(documented) == NAMES
    for name, default in documented.items():
        value = Settings.model_fields[name.lower()].default
        if isinstance(value, int | float):
            assert default == f"`{float(value):.15g}`", name
        elif isinstance(value, str):
            assert default == f"`{value}`", name
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#? ?([A-Z_]+)=", example, re.MULTILINE)) == NAMES


def test_app_json_asks_for_settings_that_exist() -> None:
    """And for the add-ons that provide DATABASE_URL and REDIS_URL."""
    app = json.loads((ROOT / "app.json").read_text())
    assert set(app["env"]) <= NAMES
    assert {addon["plan"].partition(":")[0] for addon in app["addons"]} == {
        "heroku-postgresql",
        "heroku-redis",
    }
    assert set(app["formation"]) == {"web", "worker"}


def test_each_address_of_events_needs_its_secret() -> None:
    """As many as there are addresses; the message names the setting and no value."""
    urls, secret = "https://a.example/,https://b.example/", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    with pytest.raises(SettingsError, match=r"^EVENTS_SECRET must have one .* \(1 for 2\)$"):
        Settings.read({"EVENTS_URL": urls, "EVENTS_SECRET": secret})
    settings = Settings.read({"EVENTS_URL": urls, "EVENTS_SECRET": f"{secret},{secret}"})
    names = [endpoint.name for endpoint in settings.event_endpoints]
    assert [name.rpartition("-")[0] for name in names] == ["a.example", "b.example"]
    assert secret not in repr(settings)


@pytest.mark.parametrize(
    "urls",
    [
        "http://127.0.0.1/b,HTTP://127.0.0.1:80/b",
        "https://a.example,https://a.example/",
        "https://a.example/in,https://a.example/in",
        "https://b.example,a.example/in,https://A.EXAMPLE:443/in",
    ],
)
def test_no_address_of_events_is_there_twice(urls: str) -> None:
    """In whatever spelling: both would have one name, and an event one delivery for each name."""
    secrets = ",".join(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] * (urls.count(",") + 1))
    with pytest.raises(SettingsError, match=r"^EVENTS_URL must not have one address twice") as told:
        Settings.read({"EVENTS_URL": urls, "EVENTS_SECRET": secrets})
    assert "/in" not in str(told.value)
    assert "/b" not in str(told.value)
