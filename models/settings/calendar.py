"""The calendar companion's settings: who may ask for a token, and where browsers may be sent."""

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
# As long as the hash it makes (RFC 7518, 3.2): a shorter one can be guessed offline.
SHORTEST_HS256_KEY = 32
SMALLEST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class JwtKey:
    """What proves a caller's JWT; the key's kind alone says which algorithm, never the JWT."""

    algorithm: Literal["HS256", "RS256"]
    key: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a PEM public key (RS256) or a shared secret (HS256); ValueError for a weak one."""
        # Shells and .env files carry a PEM's line ends as two characters.
        text = text.strip().replace("\\n", "\n")
        # Whatever looks like PEM is never a shared secret: a public key would be one that all know.
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
        raise ValueError("must be an origin, as https://app.example, without a path")
    return address.origin


def _folder(value: object) -> object:
    if not isinstance(value, str):
        return value
    address = WebAddress.parse(value)
    if address.query or address.fragment:
        raise ValueError("must not have a query: a target's own is let through")
    return address


def _client_id(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,256}", value):
        raise ValueError("must be one word of at most 256 ASCII characters")
    return value


Origin = Annotated[str, AfterValidator(_origin), BeforeValidator(with_scheme)]
ClientId = Annotated[str, AfterValidator(_client_id)]


class CalendarSettings(BaseModel):
    """Off while nothing is set: each part's routes answer 404 until what it needs is there."""

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
    def _connecting_needs_an_address(self) -> Self:
        if self.oauth_platforms and not self.public_url:
            raise ValueError("PUBLIC_URL must be set: providers send browsers back to it")
        return self

    @model_validator(mode="after")
    def _trust_or_proof(self) -> Self:
        if self.calendar_trust_any_user and self.calendar_jwt_key:
            raise ValueError("CALENDAR_TRUST_ANY_USER must not be set beside CALENDAR_JWT_KEY")
        return self

    @property
    def knows_callers(self) -> bool:
        """Whether anybody can ask for a token or a link: there is a way to tell who asks."""
        return self.calendar_jwt_key is not None or self.calendar_trust_any_user

    @property
    def oauth_platforms(self) -> tuple[Platform, ...]:
        """The platforms that have an OAuth client."""
        return tuple(platform for platform in PLATFORMS if self.oauth_client_id(platform))

    def oauth_client_id(self, platform: Platform) -> str | None:
        """Return the OAuth client a platform's calendars are connected with."""
        if platform == "google":
            return self.google_oauth_client_id
        return self.microsoft_oauth_client_id
