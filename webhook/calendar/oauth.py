"""The OAuth URLs: a provider's consent page, our redirect URI, Recall's callback.

https://docs.recall.ai/docs/calendar-v1-google-calendar and …-microsoft-outlook
"""

import json
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from models.settings.calendar import Platform
from models.settings.environment import Settings


@dataclass(frozen=True, slots=True)
class Provider:
    """A platform's OAuth parameters, and Recall's names for it."""

    name: str
    page: str
    scopes: tuple[str, ...]
    redirect_key: str
    callback: str
    extra: dict[str, str] = field(default_factory=dict)


PROVIDERS: dict[Platform, Provider] = {
    "google": Provider(
        name="Google",
        page="https://accounts.google.com/o/oauth2/v2/auth",
        scopes=(
            "https://www.googleapis.com/auth/calendar.events.readonly",
            "https://www.googleapis.com/auth/userinfo.email",
        ),
        redirect_key="google_oauth_redirect_url",
        callback="google_oauth_callback",
        # Without offline access and a new consent, Google sends no refresh token.
        extra={
            "access_type": "offline",
            "prompt": "consent",
            "include_granted_scopes": "true",
        },
    ),
    "microsoft": Provider(
        name="Microsoft",
        page="https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        scopes=(
            *("offline_access", "openid", "email"),
            "https://graph.microsoft.com/Calendars.Read",
        ),
        redirect_key="ms_oauth_redirect_url",
        callback="ms_oauth_callback",
        # No prompt=consent: it sends users of managed tenants to their administrator.
        extra={"response_mode": "query"},
    ),
}


def state_text(settings: Settings, platform: Platform, token: str, trip: str) -> str:
    """Return the OAuth state for Recall; its token opens the user's calendar for 24 h."""
    # It has no caller input; the trip's secret identifies the request.
    state = {
        "recall_calendar_auth_token": token,
        PROVIDERS[platform].redirect_key: redirect_uri(settings, platform),
        "success_url": f"{settings.public_url}/calendar/connected?trip={trip}",
        "error_url": f"{settings.public_url}/calendar/failed?trip={trip}",
    }
    return json.dumps(state)


def consent_url(settings: Settings, platform: Platform, state: str) -> str:
    """Return the URL of the consent page, which sends the browser back with this state."""
    provider = PROVIDERS[platform]
    query = {
        "client_id": settings.oauth_client_id(platform) or "",
        "redirect_uri": redirect_uri(settings, platform),
        "response_type": "code",
        "scope": " ".join(provider.scopes),
        **provider.extra,
        "state": state,
    }
    return f"{provider.page}?{urlencode(query, quote_via=quote)}"


def redirect_uri(settings: Settings, platform: Platform) -> str:
    """Return the redirect URI; it has to be registered at the provider exactly like this."""
    return f"{settings.public_url}/calendar/callback/{platform}"


def recall_callback(settings: Settings, platform: Platform, query: str) -> str:
    """Return Recall's callback URL in the region, with the query string unchanged."""
    path = f"/api/v1/calendar/{PROVIDERS[platform].callback}/"
    return f"{settings.api_url}{path}?{query}" if query else f"{settings.api_url}{path}"
