"""Settings of outgoing events: where they are posted, how they are signed, which types."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from models.settings.credentials import WebhookSecret
from models.settings.hook_urls import read_hook_url
from models.settings.redirect_urls import WebAddress
from models.settings.spellings import comma_separated, every_comma_separated, unwrapped

EventType = Literal[
    "link.created",
    "link.updated",
    "link.ended",
    "link.reopened",
    "bot.ended",
    "recording.ready",
    "transcript.ready",
    "recording.expiring",
    "meeting.missed",
    "calendar_user.connected",
    "calendar_user.disconnected",
    "calendar_user.gone",
    "alarm.started",
    "alarm.ended",
]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
# 192 bits, as Standard Webhooks has it; a shorter key can be guessed.
SHORTEST_KEY = 24
SecretPair = tuple[WebhookSecret, ...]


@dataclass(frozen=True, slots=True)
class EventEndpoint:
    """One receiver of events. Its name is shown; its URL may hold a secret, and is not."""

    name: str
    url: str = field(repr=False)
    secrets: SecretPair

    @property
    def host(self) -> str:
        """The URL's host, and its port where that is not the scheme's own."""
        return urlsplit(self.url).netloc


def _secrets(value: object) -> object:
    if not isinstance(value, str):
        return value
    # Also between lines; a blank is between the new and the old secret of one endpoint.
    groups = [unwrapped(group) for group in re.split(r"[,\r\n]", value)]
    return tuple(tuple(map(_secret, group.split())) for group in groups if group)


def _secret(text: str) -> WebhookSecret:
    found = WebhookSecret.parse(unwrapped(text))
    if len(found.key) < SHORTEST_KEY:
        raise ValueError(f"each must have at least {SHORTEST_KEY} bytes")
    return found


def _types(value: tuple[str, ...]) -> tuple[str, ...]:
    chosen = [_matching(word) for word in value]
    return tuple(kind for kind in EVENT_TYPES if any(kind in some for some in chosen))


def _matching(word: str) -> set[str]:
    found = {kind for kind in EVENT_TYPES if kind == word or _is_group(word, kind)}
    if not found:
        raise ValueError(
            f"each must be a type ({', '.join(EVENT_TYPES)}) or a group such as link.*"
        )
    return found


def _is_group(word: str, kind: str) -> bool:
    return word.endswith(".*") and kind.startswith(word.removesuffix("*"))


class EventSettings(BaseModel):
    """Where events go; without EVENTS_URL they are only kept for the feed."""

    events_url: Annotated[
        tuple[Annotated[WebAddress, BeforeValidator(read_hook_url)], ...],
        BeforeValidator(every_comma_separated),
    ] = Field(default=(), repr=False)
    events_secret: Annotated[tuple[SecretPair, ...], BeforeValidator(_secrets)] = Field(
        default=(), repr=False
    )
    events_types: Annotated[
        tuple[str, ...], AfterValidator(_types), BeforeValidator(comma_separated)
    ] = EVENT_TYPES

    @model_validator(mode="after")
    def _no_endpoint_is_there_twice(self) -> Self:
        # By name: an event has one delivery for each name.
        names = [_name(url) for url in self.events_url]
        for place, name in enumerate(names, 1):
            first = names.index(name) + 1
            if first < place:
                raise ValueError(
                    "EVENTS_URL must not have one address twice, in any spelling"
                    f" (the addresses {first} and {place} of {len(names)} are the same)"
                )
        return self

    @model_validator(mode="after")
    def _each_endpoint_has_its_secret(self) -> Self:
        # A secret may be set before its address.
        if self.events_url and len(self.events_url) != len(self.events_secret):
            raise ValueError(
                "EVENTS_SECRET must have one secret for each address in EVENTS_URL"
                f" ({len(self.events_secret)} for {len(self.events_url)})"
            )
        return self

    @property
    def event_endpoints(self) -> tuple[EventEndpoint, ...]:
        """The receivers of events, each with its secrets."""
        pairs = zip(self.events_url, self.events_secret, strict=bool(self.events_url))
        return tuple(EventEndpoint(_name(url), str(url), secrets) for url, secrets in pairs)


def _name(url: WebAddress) -> str:
    # The hash tells two of one host apart, and stays when their order changes.
    host = urlsplit(url.origin).netloc.replace(":", "-")
    return f"{host[:80]}-{hashlib.sha256(str(url).encode()).hexdigest()[:6]}"
