"""Why connecting fails, in plain words, and what the user and the operator can do.

The failures are those of https://docs.recall.ai/docs/calendar-v1-faq. Recall does not document
what it adds to error_url, so failures are recognized by words anywhere in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from models.settings.calendar import Platform


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of failure, and the lower-case words that identify it."""

    title: str
    what: str
    you: str
    operator: str
    words: tuple[str, ...]
    platforms: tuple[Platform, ...] = ("google", "microsoft")

    def matches(self, text: str, platform: Platform | None) -> bool:
        """Whether an error text of Recall or the provider is about this failure."""
        return platform in (None, *self.platforms) and any(word in text for word in self.words)


DENIED = Failure(
    title="Permission was not granted",
    what="Somebody chose Cancel on the provider's page, or an administrator forbids the app.",
    you="Connect again and choose Allow. If you cannot, ask your administrator.",
    operator="If an organisation requires approval, its administrator has to approve the app once.",
    words=("access_denied", "consent_required", "aadsts65001", "aadsts65004", "aadsts90094"),
)
SCOPE = Failure(
    title="The calendar checkbox was not ticked",
    what="Permission was granted, but not for the calendar.",
    you="Connect again and leave every checkbox ticked, including the one for the calendar.",
    operator="Check that the consent screen of your OAuth client lists the calendar scope.",
    words=("invalid_scope", "supported calendar scopes", "insufficient scope"),
)
TOKEN = Failure(
    title="Connecting took too long",
    what="Recall's token in the address was invalid, or more than a day old"
    " (Invalid “recall_calendar_auth_token” supplied).",
    you="Start again from the application. Do not use an old tab or a bookmark.",
    operator="If it happens again: RECALL_API_KEY and RECALL_REGION belong to different workspaces,"
    " or something between here and Recall changes the address.",
    words=("recall_calendar_auth_token", "invalid_token", "invalid token"),
)
TENANT = Failure(
    title="The app is not available to your organisation",
    what="The Microsoft app is registered for a single organisation.",
    you="Contact the operator of this application.",
    operator="Register a new Microsoft app with “Accounts in any organizational directory"
    " (Multitenant) and personal Microsoft accounts”: changing an existing one may not help.",
    words=("multitenant", "multi-tenant", "aadsts50194", "aadsts700016", "aadsts50020"),
    platforms=("microsoft",),
)
REFRESH = Failure(
    title="The provider did not grant lasting access",
    what="Its answer had no refresh token (refresh_token missing from oAuth response).",
    you="Connect again. If it fails again, contact the operator of this application.",
    operator="Compare the client id and secret in Recall's dashboard with the provider's. For"
    " Microsoft, the app must be multitenant with personal accounts: register a new one.",
    words=("refresh_token", "refresh token", "invalid_client"),
)
REDIRECT = Failure(
    title="The return address is not registered",
    what="The provider or Recall does not accept the address that you should return to.",
    you="Contact the operator of this application.",
    operator="Register PUBLIC_URL/calendar/callback/… at the provider, exactly: recall-links"
    " doctor prints it.",
    words=("redirect_uri", "redirect_url", "aadsts50011"),
)
GRANT = Failure(
    title="This answer was already used",
    what="A provider's answer works once. It was already used, or was changed on the way.",
    you="Start again from the application; do not reload the page or go back to it.",
    operator="If it happens again: something between the browser and here changes query strings.",
    words=("invalid_grant",),
)
SEVEN_DAYS = Failure(
    title="It worked, then stopped after seven days",
    what="Google ends access after seven days for apps that are still in testing.",
    you="Connect again; it will work for another seven days.",
    operator="Publish the app on Google's consent screen, and have it verified.",
    words=("invalid_rapt", "expired or revoked", "seven days"),
    platforms=("google",),
)
# Specific failures first: an error about scopes may also mention tokens.
FAILURES = (SCOPE, TENANT, REDIRECT, TOKEN, SEVEN_DAYS, REFRESH, GRANT, DENIED)


def known_failure(errors: Iterable[str], platform: Platform | None) -> Failure | None:
    """Return the failure that the error texts describe; None if it is unknown."""
    text = " ".join(errors).lower()
    return next((one for one in FAILURES if one.matches(text, platform)), None)


def possible_failures(platform: Platform | None) -> list[Failure]:
    """Return the failures that can occur on a platform."""
    return [one for one in FAILURES if platform in (None, *one.platforms)]
