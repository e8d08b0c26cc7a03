"""What a doctor looks at of the calendar companion: who may ask, and where browsers go."""

from collections.abc import Iterator

from models.settings.environment import Settings
from webhook.calendar.oauth import PROVIDERS, redirect_uri
from webhook.doctor.result import Diagnosis


def examine_calendar(settings: Settings) -> Iterator[Diagnosis]:
    """Look at what is set; while nothing is, the companion is off and nothing is wrong."""
    if not settings.knows_callers and not settings.oauth_platforms:
        yield Diagnosis("ok", "calendar companion", "off: its routes answer 404")
        return
    yield _callers(settings)
    if settings.recall_api_key is None:
        remedy = "set RECALL_API_KEY: the web process does not start without it"
        yield Diagnosis("failed", "calendar tokens", "RECALL_API_KEY is not set", remedy)
    for platform in settings.oauth_platforms:
        # Word for word what has to be entered there, so that it can be copied.
        text = f"connects; {PROVIDERS[platform].name} must know {redirect_uri(settings, platform)}"
        yield Diagnosis("ok", f"{platform} calendars", text)
    if settings.oauth_platforms and not settings.calendar_return_urls:
        yield Diagnosis(
            "warning",
            "return targets",
            "CALENDAR_RETURN_URLS is not set: people end on our result page",
            "set it to the address of the application's calendar page",
        )
    if settings.knows_callers and not settings.calendar_allowed_origins:
        yield Diagnosis(
            "warning",
            "calendar pages",
            "CALENDAR_ALLOWED_ORIGINS is not set: servers may ask for tokens, pages cannot",
            "set it to the application's origin if its pages ask themselves",
        )


def _callers(settings: Settings) -> Diagnosis:
    name = "calendar callers"
    if settings.calendar_trust_any_user:
        return Diagnosis(
            "failed",
            name,
            "CALENDAR_TRUST_ANY_USER is set: whoever reaches this reads anybody's calendar",
            "set CALENDAR_JWT_KEY in its place; trust is for a lab",
        )
    if settings.calendar_jwt_key is None:
        return Diagnosis(
            "warning",
            name,
            "CALENDAR_JWT_KEY is not set: only `recall-links calendar connect-url` makes links",
            "set it to the key that your backend's JWTs are proved with",
        )
    text = f"proved by {settings.calendar_jwt_key.algorithm}, {settings.calendar_jwt_user_claim}"
    return Diagnosis("ok", name, text)
