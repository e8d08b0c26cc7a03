"""Every setting, read once from the environment into one frozen object."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    model_validator,
)
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from models.calendar_settings import CalendarSettings, comma_separated

SHORTEST_TOKEN = 16
SQLITE_DEFAULT = "sqlite:///recall-links.db"
Region = Literal["us-east-1", "us-west-2", "eu-central-1", "ap-northeast-1"]


class SettingsError(Exception):
    """A setting is missing or malformed; the message names it and never shows its value."""


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """One signing secret: the key's bytes, and a fingerprint that may be shown."""

    key: bytes
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `whsec_<base64>`; ValueError for anything else, since a guess makes a wrong key."""
        if not text.startswith("whsec_"):
            raise ValueError("must start with whsec_")
        body = text.removeprefix("whsec_")
        # Svix shows secrets without padding, too.
        try:
            key = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        except binascii.Error:
            raise ValueError("must be base64 after whsec_") from None
        if not key:
            raise ValueError("must not be empty after whsec_")
        return cls(key, hashlib.sha256(key).hexdigest()[:12])

    def __repr__(self) -> str:
        return f"WebhookSecret({self.fingerprint})"


def _database_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        url = make_url(value)
    except ArgumentError:
        raise ValueError("must be a database URL") from None
    # Heroku still says postgres://, which SQLAlchemy refuses; the driver is ours to choose.
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("postgresql+psycopg", "sqlite"):
        raise ValueError("must be a postgres:// or sqlite:/// URL")
    return url


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must start with https:// (or http:// in a lab)")
    return value.rstrip("/")


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be a redis://, rediss:// or unix:// URL")
    return value


def _long_enough(value: str) -> str:
    if len(value) < SHORTEST_TOKEN:
        raise ValueError(f"each must have at least {SHORTEST_TOKEN} characters")
    return value


Tokens = Annotated[
    tuple[Annotated[str, AfterValidator(_long_enough)], ...], BeforeValidator(comma_separated)
]
Secrets = Annotated[
    tuple[Annotated[WebhookSecret, BeforeValidator(WebhookSecret.parse)], ...],
    BeforeValidator(comma_separated),
]


class Settings(CalendarSettings):
    """All settings; a process asks only for those it uses."""

    model_config = ConfigDict(
        frozen=True,
        # The environment is full of variables of other programs.
        extra="ignore",
        arbitrary_types_allowed=True,
        # An error's text may end up in a log, and the input may be a secret.
        hide_input_in_errors=True,
        validate_default=True,
        alias_generator=str.upper,
    )

    recall_api_key: SecretStr | None = None
    recall_region: Region = "us-east-1"
    recall_api_base_url: Annotated[str, AfterValidator(_http_url)] | None = None
    recall_webhook_secrets: Secrets = ()
    recall_rate_share: Annotated[float, Field(gt=0, le=100_000)] = 100
    # Parsed at once: a URL object hides its password wherever it is printed.
    database_url: Annotated[URL, BeforeValidator(_database_url)] = make_url(SQLITE_DEFAULT)
    redis_url: Annotated[str, AfterValidator(_redis_url)] | None = Field(default=None, repr=False)
    redis_tls_verify: Literal["full", "none"] = "full"
    ops_read_tokens: Tokens = Field(default=(), repr=False)
    ops_write_tokens: Tokens = Field(default=(), repr=False)
    webhook_tolerance_seconds: PositiveInt = 300
    webhook_max_bytes: Annotated[int, Field(ge=1024, le=1024 * 1024)] = 262_144
    worker_threads: Annotated[int, Field(ge=1, le=128)] = 16
    sweep_seconds: Annotated[float, Field(gt=0, le=60)] = 5
    lease_seconds: Annotated[float, Field(ge=1, le=600)] = 20
    host: str = "0.0.0.0"  # noqa: S104 - a dyno's router comes from outside
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    web_threads: Annotated[int, Field(ge=1, le=128)] = 16
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"
    sentry_dsn: SecretStr | None = None
    retain_payload_days: PositiveInt = 30
    retain_attempt_days: PositiveInt = 30
    # Heroku sets it on every dyno; it is ours to read, not to set.
    dyno: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read every setting; SettingsError names each malformed one. Empty counts as unset."""
        # A config var that was cleared comes as an empty text.
        try:
            return cls.model_validate({k: v for k, v in environ.items() if v != ""})
        except ValidationError as error:
            raise SettingsError(_describe(error)) from None

    @model_validator(mode="after")
    def _a_dyno_keeps_no_disk(self) -> Self:
        if self.dyno and self.on_sqlite:
            raise ValueError("DATABASE_URL must name PostgreSQL: a dyno's disk is lost daily")
        return self

    @model_validator(mode="after")
    def _trust_is_for_the_lab(self) -> Self:
        # Whoever reaches such a service reads anybody's calendar.
        if self.calendar_trust_any_user and (self.dyno or not self.on_sqlite):
            raise ValueError("CALENDAR_TRUST_ANY_USER is for a lab: not on a dyno or PostgreSQL")
        return self

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is one SQLite file."""
        return self.database_url.drivername == "sqlite"

    @property
    def api_url(self) -> str:
        """Recall's base URL without a trailing slash (https://docs.recall.ai/docs/regions)."""
        return self.recall_api_base_url or f"https://{self.recall_region}.recall.ai"

    @property
    def api_key(self) -> str:
        """Recall's API key; SettingsError when it is not set."""
        if self.recall_api_key is None:
            raise SettingsError("RECALL_API_KEY is not set: Recall is asked with it")
        return self.recall_api_key.get_secret_value()


def _describe(error: ValidationError) -> str:
    def line(location: tuple[int | str, ...], message: str) -> str:
        name = str(location[0]) if location else ""
        return f"{name}: {message}" if name else message.removeprefix("Value error, ")

    return "; ".join(line(e["loc"], e["msg"].removeprefix("Value error, ")) for e in error.errors())
