"""Settings of the calendar companion: how callers authenticate, and allowed redirects."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    model_validator,
)

from models.settings.redirect_urls import WebAddress
from models.settings.service_urls import with_scheme
from models.settings.spellings import comma_separated

Platform = Literal["google", "microsoft"]
PLATFORMS: tuple[Platform, ...] = ("google", "microsoft")
# The size of the hash (RFC 7518, 3.2); a shorter key can be guessed offline.
SHORTEST_HS256_KEY = 32
SMALLEST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class JwtKey:
    """The key that verifies callers' JWTs; its type determines the algorithm, not the JWT."""

    algorithm: Literal["HS256", "RS256"]
    key: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a PEM public key (RS256) or a shared secret (HS256); ValueError for a weak one."""
        # Shells and .env files often keep a PEM's newlines as backslash and n.
        text = text.strip().replace("\\n", "\n")
        # A PEM is never a shared secret, because a public key is known to everybody.
        if "-----BEGIN" in text:
            return cls("RS256", _checked_pem(text))
        if len(text.encode()) < SHORTEST_HS256_KEY:
            raise ValueError(f"must have at least {SHORTEST_HS256_KEY} bytes, or be a PEM key")
        return cls("HS256", text)


def _checked_pem(text: str) -> str:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("must be a PEM public key (-----BEGIN PUBLIC KEY-----)") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < SMALLEST_RSA_BITS:
        raise ValueError(f"must be an RSA key of at least {SMALLEST_RSA_BITS} bits")
    return text


def _origin(value: str) -> str:
    address = WebAddress.parse(value)
    if address.path != "/" or address.query or address.fragment:
        raise ValueError("must be an origin such as https://app.example, without a path")
    return address.origin


def _folder(value: object) -> object:
    if not isinstance(value, str):
        return value
    address = WebAddress.parse(value)
    if address.query or address.fragment:
        raise ValueError("must not have a query; the query of the target is kept")
    return address


def _client_id(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,256}", value):
        raise ValueError("must be at most 256 printable ASCII characters without spaces")
    return value


Origin = Annotated[str, AfterValidator(_origin), BeforeValidator(with_scheme)]
ClientId = Annotated[str, AfterValidator(_client_id)]


class CalendarSettings(BaseModel):
    """Optional: the routes of each part answer 404 until its settings are set."""

    public_url: Origin | None = None
    google_oauth_client_id: ClientId | None = None
    microsoft_oauth_client_id: ClientId | None = None
    calendar_jwt_key: Annotated[JwtKey, BeforeValidator(JwtKey.parse)] | None = None
    calendar_jwt_user_claim: Annotated[str, StringConstraints(min_length=1)] = "sub"
    calendar_allowed_origins: Annotated[tuple[Origin, ...], BeforeValidator(comma_separated)] = ()
    calendar_return_urls: Annotated[
        tuple[Annotated[WebAddress, BeforeValidator(_folder)], ...],
        BeforeValidator(comma_separated),
    ] = ()
    calendar_trust_any_user: bool = Field(default=False)

    @model_validator(mode="after")
    def _oauth_needs_a_public_url(self) -> Self:
        if self.oauth_platforms and not self.public_url:
            raise ValueError(
                "PUBLIC_URL must be set, because OAuth providers redirect browsers to it"
            )
        return self

    @model_validator(mode="after")
    def _trust_any_user_excludes_a_key(self) -> Self:
        if self.calendar_trust_any_user and self.calendar_jwt_key:
            raise ValueError(
                "CALENDAR_TRUST_ANY_USER must not be set together with CALENDAR_JWT_KEY"
            )
        return self

    @property
    def knows_callers(self) -> bool:
        """Whether callers can be identified, by a JWT or by trust."""
        return self.calendar_jwt_key is not None or self.calendar_trust_any_user

    @property
    def oauth_platforms(self) -> tuple[Platform, ...]:
        """The platforms that have an OAuth client."""
        return tuple(platform for platform in PLATFORMS if self.oauth_client_id(platform))

    def oauth_client_id(self, platform: Platform) -> str | None:
        """Return the OAuth client id of a platform; None if it is not set."""
        if platform == "google":
            return self.google_oauth_client_id
        return self.microsoft_oauth_client_id
