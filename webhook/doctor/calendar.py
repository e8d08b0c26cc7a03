"""Checks the calendar settings: who may request tokens, and where browsers are sent."""

from collections.abc import Iterator

from models.settings.environment import Settings
from webhook.calendar.oauth import PROVIDERS, redirect_uri
from webhook.doctor.result import Diagnosis


def examine_calendar(settings: Settings) -> Iterator[Diagnosis]:
    """Check the settings; with none of them, the calendar part is off, which is fine."""
    if not settings.knows_callers and not settings.oauth_platforms:
        yield Diagnosis("ok", "calendar companion", "off: its routes answer 404")
        return
    yield _callers(settings)
    if settings.recall_api_key is None:
        remedy = "set RECALL_API_KEY: the web process does not start without it"
        yield Diagnosis("failed", "calendar tokens", "RECALL_API_KEY is not set", remedy)
    for platform in settings.oauth_platforms:
        # The exact text to enter there, ready to copy.
        provider, uri = PROVIDERS[platform].name, redirect_uri(settings, platform)
        text = f"on; the redirect URI to register at {provider} is {uri}"
        yield Diagnosis("ok", f"{platform} calendars", text)
    if settings.oauth_platforms and not settings.calendar_return_urls:
        yield Diagnosis(
            "warning",
            "return targets",
            "CALENDAR_RETURN_URLS is not set: people stay on our result page",
            "set it to the address of the application's calendar page",
        )
    if settings.knows_callers and not settings.calendar_allowed_origins:
        yield Diagnosis(
            "warning",
            "calendar pages",
            "CALENDAR_ALLOWED_ORIGINS is not set: servers can request tokens, pages cannot",
            "set it to the application's origin if its pages request tokens themselves",
        )


def _callers(settings: Settings) -> Diagnosis:
    name = "calendar callers"
    if settings.calendar_trust_any_user:
        return Diagnosis(
            "failed",
            name,
            "CALENDAR_TRUST_ANY_USER is set: anyone who reaches this can read anyone's calendar",
            "set CALENDAR_JWT_KEY instead; this setting is for tests only",
        )
    if settings.calendar_jwt_key is None:
        return Diagnosis(
            "warning",
            name,
            "CALENDAR_JWT_KEY is not set: only `recall-links calendar connect-url` can make links",
            "set it to the key that verifies your backend's JWTs",
        )
    text = (
        f"verified with {settings.calendar_jwt_key.algorithm}, {settings.calendar_jwt_user_claim}"
    )
    return Diagnosis("ok", name, text)
