"""Why connecting fails, in plain words: what people see, what to do, what an operator mends.

The failures are those of https://docs.recall.ai/docs/calendar-v1-faq. What Recall adds to
error_url is not documented, so they are known by words anywhere in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from models.settings.calendar import Platform


@dataclass(frozen=True, slots=True)
class Failure:
    """One way to fail, and the words that give it away, in lower case."""

    title: str
    what: str
    you: str
    operator: str
    words: tuple[str, ...]
    platforms: tuple[Platform, ...] = ("google", "microsoft")

    def is_told_by(self, text: str, platform: Platform | None) -> bool:
        """Whether this is what a text of Recall's or the provider's speaks of."""
        return platform in (None, *self.platforms) and any(word in text for word in self.words)


DENIED = Failure(
    title="The permission was not given",
    what="At the provider's page somebody chose Cancel, or an administrator does not allow it.",
    you="Connect again and choose Allow. If you cannot, ask your administrator.",
    operator="Where an organisation wants approval, its administrator approves the app once.",
    words=("access_denied", "consent_required", "aadsts65001", "aadsts65004", "aadsts90094"),
)
SCOPE = Failure(
    title="The calendar's box was not ticked",
    what="Permission was given, but not to read the calendar.",
    you="Connect again and leave every box ticked, above all the one for the calendar.",
    operator="Check that the consent screen of your OAuth client lists the calendar scope.",
    words=("invalid_scope", "supported calendar scopes", "insufficient scope"),
)
TOKEN = Failure(
    title="Connecting took too long",
    what="Recall's token in the address was invalid, or older than a day"
    " (Invalid “recall_calendar_auth_token” supplied).",
    you="Start again from the application; do not use an old tab or a saved address.",
    operator="If it comes back: RECALL_API_KEY and RECALL_REGION are of different workspaces,"
    " or something between here and Recall changes the address.",
    words=("recall_calendar_auth_token", "invalid_token", "invalid token"),
)
TENANT = Failure(
    title="The app is not open to your organisation",
    what="The Microsoft app is registered for one organisation alone.",
    you="Nothing: tell whoever runs this application.",
    operator="Register a new Microsoft app with “Accounts in any organizational directory"
    " (Multitenant) and personal Microsoft accounts”: changing an existing one may not help.",
    words=("multitenant", "multi-tenant", "aadsts50194", "aadsts700016", "aadsts50020"),
    platforms=("microsoft",),
)
REFRESH = Failure(
    title="The provider gave no lasting access",
    what="There was no refresh token in its answer (refresh_token missing from oAuth response).",
    you="Connect again. If it fails again, tell whoever runs this application.",
    operator="Compare the client id and secret in Recall's dashboard with the provider's. For"
    " Microsoft, the app must be multitenant with personal accounts: register a new one.",
    words=("refresh_token", "refresh token", "invalid_client"),
)
REDIRECT = Failure(
    title="The way back is not registered",
    what="The provider or Recall does not accept the address that it should send you back to.",
    you="Nothing: tell whoever runs this application.",
    operator="Enter PUBLIC_URL/calendar/callback/… at the provider, exactly: recall-links"
    " doctor prints it.",
    words=("redirect_uri", "redirect_url", "aadsts50011"),
)
GRANT = Failure(
    title="This answer was used before",
    what="A provider's answer works once; it was used, or was changed on its way.",
    you="Start again from the application; do not reload the page or go back to it.",
    operator="If it comes back: something between the browser and here changes query strings.",
    words=("invalid_grant",),
)
SEVEN_DAYS = Failure(
    title="It worked, and stopped after seven days",
    what="Google ends the access of apps that are still in testing after seven days.",
    you="Connect again; it lasts another seven days.",
    operator="Publish the app on Google's consent screen, and have it verified.",
    words=("invalid_rapt", "expired or revoked", "seven days"),
    platforms=("google",),
)
# The particular before the general: a scope's complaint may speak of tokens as well.
FAILURES = (SCOPE, TENANT, REDIRECT, TOKEN, SEVEN_DAYS, REFRESH, GRANT, DENIED)


def known_failure(told: Iterable[str], platform: Platform | None) -> Failure | None:
    """Return the failure that what was told speaks of; None when it is none we know."""
    text = " ".join(told).lower()
    return next((one for one in FAILURES if one.is_told_by(text, platform)), None)


def possible_failures(platform: Platform | None) -> list[Failure]:
    """Return every failure that may befall a platform's calendars."""
    return [one for one in FAILURES if platform in (None, *one.platforms)]
