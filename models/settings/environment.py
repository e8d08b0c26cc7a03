"""All settings, read once from the environment into one frozen object."""

from collections.abc import Mapping
from datetime import time
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from sqlalchemy import URL, make_url

from models.settings.alerts import AlertSettings
from models.settings.calendar import CalendarSettings
from models.settings.credentials import Secrets, Tokens, check_names, read_api_key
from models.settings.database_url import read_database_url
from models.settings.events import EventSettings
from models.settings.other_names import Misnamed, misnamed
from models.settings.service_urls import (
    read_api_base_url,
    read_host,
    read_redis_url,
    read_region,
    read_sentry_dsn,
    with_scheme,
)
from models.settings.spellings import (
    BYTES,
    DAYS,
    PERCENT,
    SECONDS,
    number_in,
    one_of,
    time_of_day,
    unwrapped,
)
from models.settings.validation_messages import validation_message

SQLITE_DEFAULT = "sqlite:///recall-links.db"
# A date this many days ago is still within the range of datetime.
MOST_DAYS = 36_500
Region = Literal["us-east-1", "us-west-2", "eu-central-1", "ap-northeast-1"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["console", "json"]
TlsVerify = Literal["full", "none"]

_LEVELS = {"warn": "WARNING", "critical": "ERROR", "fatal": "ERROR"}
_LEVELS |= {"10": "DEBUG", "20": "INFO", "30": "WARNING", "40": "ERROR"}
_TLS = dict.fromkeys(("required", "cert_required", "true", "yes", "on", "1"), "full")
_TLS |= dict.fromkeys(("cert_none", "false", "no", "off", "0"), "none")

Days = Annotated[PositiveInt, Field(le=MOST_DAYS), BeforeValidator(number_in(DAYS))]
Threads = Annotated[int, Field(ge=1, le=128)]
Seconds = BeforeValidator(number_in(SECONDS))


class SettingsError(Exception):
    """A setting is missing or invalid; the message names it and never shows its value."""


def _database_url(value: object) -> object:
    return read_database_url(value) if isinstance(value, str) else value


class Settings(AlertSettings, EventSettings, CalendarSettings):
    """All settings, with defaults; each process checks only for those that it needs."""

    model_config = ConfigDict(
        frozen=True,
        # The environment contains variables of other programs.
        extra="ignore",
        arbitrary_types_allowed=True,
        # The input may be a secret, and errors are logged.
        hide_input_in_errors=True,
        validate_default=True,
        alias_generator=str.upper,
    )

    recall_api_key: Annotated[SecretStr, BeforeValidator(read_api_key)] | None = None
    recall_region: Annotated[Region, BeforeValidator(read_region)] = "us-east-1"
    recall_api_base_url: (
        Annotated[str, AfterValidator(read_api_base_url), BeforeValidator(with_scheme)] | None
    ) = None
    recall_webhook_secrets: Secrets = ()
    recall_rate_share: Annotated[
        float, Field(gt=0, le=100_000), BeforeValidator(number_in(PERCENT))
    ] = 100
    # A URL object hides the password when it is printed.
    database_url: Annotated[URL, BeforeValidator(_database_url)] = make_url(SQLITE_DEFAULT)
    redis_url: Annotated[str, AfterValidator(read_redis_url)] | None = Field(
        default=None, repr=False
    )
    redis_tls_verify: Annotated[
        TlsVerify, BeforeValidator(one_of(*get_args(TlsVerify), **_TLS))
    ] = "full"
    ops_read_tokens: Tokens = Field(default=(), repr=False)
    ops_write_tokens: Tokens = Field(default=(), repr=False)
    webhook_tolerance_seconds: Annotated[PositiveInt, Seconds] = 300
    webhook_max_bytes: Annotated[
        int, Field(ge=1024, le=1024 * 1024), BeforeValidator(number_in(BYTES))
    ] = 262_144
    worker_threads: Threads = 16
    sweep_seconds: Annotated[float, Field(gt=0, le=60), Seconds] = 5
    lease_seconds: Annotated[float, Field(ge=1, le=600), Seconds] = 20
    # Heroku's router connects from outside the dyno.
    host: Annotated[str, AfterValidator(read_host)] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    web_threads: Threads = 16
    log_level: Annotated[LogLevel, BeforeValidator(one_of(*get_args(LogLevel), **_LEVELS))] = "INFO"
    log_format: Annotated[
        LogFormat, BeforeValidator(one_of(*get_args(LogFormat), text="console"))
    ] = "console"
    sentry_dsn: Annotated[SecretStr, BeforeValidator(read_sentry_dsn)] | None = None
    reconcile_at: Annotated[time | None, BeforeValidator(time_of_day)] = time(3, 30)
    retain_payload_days: Days = 30
    retain_attempt_days: Days = 30
    # Heroku sets it on every dyno; it is no setting of ours.
    dyno: str | None = None
    _misnamed: tuple[Misnamed, ...] = PrivateAttr(())

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read all settings; SettingsError names each invalid one. An empty value is unset."""
        ours = {name: environ.get(name.upper(), "") for name in cls.model_fields}
        given = {name.upper(): unwrapped(text) for name, text in ours.items()}
        try:
            # A cleared config var is an empty string.
            return cls.model_validate(
                {name: text for name, text in given.items() if text},
                context=tuple(misnamed(environ, given)),
            )
        except ValidationError as error:
            raise SettingsError(_describe(error)) from None

    def model_post_init(self, context: tuple[Misnamed, ...] | None, /) -> None:
        """Keep what `read` found beside the settings."""
        self._misnamed = context or ()

    @field_validator("*", mode="before")
    @classmethod
    def _is_utf8(cls, value: object) -> object:
        # Python decodes invalid UTF-8 to surrogates, which no library accepts.
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("must be UTF-8")
        return value

    @model_validator(mode="after")
    def _no_sqlite_on_a_dyno(self) -> Self:
        if self.dyno and self.on_sqlite:
            raise ValueError(
                "DATABASE_URL must name PostgreSQL, because a dyno's disk is lost daily"
            )
        return self

    @model_validator(mode="after")
    def _trust_any_user_is_for_a_lab(self) -> Self:
        # It lets every caller read every user's calendar.
        if self.calendar_trust_any_user and (self.dyno or not self.on_sqlite):
            raise ValueError(
                "CALENDAR_TRUST_ANY_USER is for a lab; it is refused on a dyno or PostgreSQL"
            )
        return self

    @model_validator(mode="after")
    def _names_tell_tokens_apart(self) -> Self:
        try:
            check_names([*self.ops_read_tokens, *self.ops_write_tokens])
        except ValueError as error:
            raise ValueError(f"OPS_READ_TOKENS, OPS_WRITE_TOKENS: {error}") from None
        return self

    @property
    def misnamed(self) -> tuple[Misnamed, ...]:
        """The settings that are set only under another tool's name."""
        return self._misnamed

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is SQLite."""
        return self.database_url.drivername == "sqlite"

    @property
    def api_url(self) -> str:
        """Recall's base URL without a trailing slash (https://docs.recall.ai/docs/regions)."""
        return self.recall_api_base_url or f"https://{self.recall_region}.recall.ai"

    @property
    def api_key(self) -> str:
        """Recall's API key; raises SettingsError if it is not set."""
        if self.recall_api_key is None:
            message = "RECALL_API_KEY is not set, and calls to Recall need it"
            hints = [str(one) for one in self.misnamed if one.setting == "RECALL_API_KEY"]
            raise SettingsError("; ".join([message, *hints]))
        return self.recall_api_key.get_secret_value()


def _describe(error: ValidationError) -> str:
    def line(each: Any) -> str:
        text = validation_message(each)
        return f"{each['loc'][0]}: {text}" if each["loc"] else text

    return "; ".join(line(each) for each in error.errors(include_input=False))
