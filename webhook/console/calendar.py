"""One calendar user in the console: stored data, Recall's data, and actions."""

from typing import Any

from flask import Response, request
from sqlalchemy import Connection

from models.queries.audit_log import AuditFilter, audits
from models.queries.calendars.calendar_users import users_of
from models.queries.calendars.findings import findings_of
from models.queries.filters import LinkFilter
from models.queries.lists import links
from models.settings.calendar import PLATFORMS
from models.tables.base import database_time
from webhook.console.rendering import Renderer
from webhook.services.calendar_actions import ACTIONS, ActionResult, CalendarActions
from webhook.services.reader import Reader
from webhook.web.auth import current_caller
from workers.calendars.actions import UnknownUserError
from workers.privacy.tombstones import UserErasedError, is_erased
from workers.recall_api.errors import RecallError
from workers.recall_api.schemas import EXTERNAL_ID_LIMIT, is_usable_external_id

ROWS = 20
# These remove something at Recall, so a page explains it and asks first.
CONFIRMED = {
    "disconnect": "Recall removes this calendar with its meetings and scheduled bots. The user and"
    " a calendar of the other platform are kept, and so are the links of recorded meetings.",
    "delete": "Recall deletes this user with every calendar and scheduled bot. Links are kept and"
    " marked. A late webhook does not create the user again; only reconnecting does. Waits for work"
    " in progress to finish, so this may take half a minute.",
}


class CalendarPages:
    """Shows a calendar user to anyone with a read token; actions need a write token."""

    def __init__(self, reader: Reader, actions: CalendarActions, renderer: Renderer) -> None:
        self._reader = reader
        self._actions = actions
        self._renderer = renderer

    def search(self) -> Response:
        """Show the form that asks for an external_id."""
        return self._renderer.page("calendar.html", "calendar")

    def user(self) -> Response:
        """Show what is stored about a user, without a call to Recall, which might mint a token."""
        external_id = request.args.get("external_id", "")
        if not is_usable_external_id(external_id):
            return self._renderer.error(
                400, f"An external_id has 1 to {EXTERNAL_ID_LIMIT} characters."
            )
        return self._page(external_id)

    def act(self) -> Response:
        """Run the action that a form asks for; one that removes something needs a confirmation."""
        action, platform = request.form.get("action", ""), request.form.get("platform", "")
        external_id = request.form.get("external_id", "")
        if action not in ACTIONS or not is_usable_external_id(external_id):
            return self._renderer.error(400, "Invalid form.")
        if action == "disconnect" and platform not in PLATFORMS:
            return self._renderer.error(400, f"The platform is one of {', '.join(PLATFORMS)}.")
        if not self._actions.is_open:
            return self._renderer.error(503, "RECALL_API_KEY is not set in the web process.")
        if action in CONFIRMED and "confirm" not in request.form:
            return self._confirm(action, external_id, platform)
        return self._do(action, external_id, platform)

    def _confirm(self, action: str, external_id: str, platform: str) -> Response:
        return self._renderer.page(
            "calendar_confirm.html",
            "calendar",
            action=action,
            external_id=external_id,
            platform=platform,
            words=CONFIRMED[action],
        )

    def _do(self, action: str, external_id: str, platform: str) -> Response:
        try:
            outcome = self._actions.do(action, external_id, platform, current_caller().name)
        except UnknownUserError:
            words = "Recall has no calendar user with this external_id; a token would create one."
            return self._page(external_id, 404, wrong=words)
        except UserErasedError:
            words = "This user is erased: no token is requested for them until they reconnect."
            return self._page(external_id, 409, wrong=words)
        except RecallError as error:
            # 503 if waiting helps; what Recall refuses it will refuse again.
            status = 503 if error.waiting_helps else 502
            return self._page(
                external_id, status, wrong=f"The request to Recall failed ({error.reason})."
            )
        return self._page(external_id, outcome=outcome)

    def _page(
        self,
        external_id: str,
        status: int = 200,
        wrong: str | None = None,
        outcome: ActionResult | None = None,
    ) -> Response:
        def read(connection: Connection) -> dict[str, Any]:
            theirs = links(LinkFilter(external_id=external_id), self._dialect)
            changes = audits(AuditFilter(subject=external_id))
            return {
                "users": users_of(connection, external_id),
                "findings": findings_of(connection, external_id),
                "links": theirs.page(connection, ROWS).rows,
                "changes": changes.page(connection, ROWS).rows,
                "is_erased": is_erased(connection, external_id),
                "now": database_time(connection),
            }

        held = self._reader.read(read)
        return self._renderer.page(
            "calendar_user.html",
            "calendar",
            status,
            external_id=external_id,
            wrong=wrong,
            outcome=outcome,
            platforms=PLATFORMS,
            can_ask=self._actions.is_open,
            **held,
        )

    @property
    def _dialect(self) -> str:
        return self._reader.dialect
