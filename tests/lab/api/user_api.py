"""The calendar user endpoints of the fake, authenticate among them."""

from typing import Any

from tests.lab.api.answers import invalid, json_answer, no_content
from tests.lab.api.pages import a_page
from tests.lab.api.render import user_body
from tests.lab.api.visits import InvalidError, Visit
from tests.lab.http.wire import Response
from tests.lab.world.preferences import FIELDS
from tests.lab.world.shapes import PLATFORMS, CalendarUser
from tests.lab.world.world import World


class UserApi:
    """Authenticate, the caller's own calendar user, the list of all, provider access tokens."""

    def __init__(self, world: World) -> None:
        self._world = world

    def authenticate(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_authenticate_create.

        A number is taken as its text and blanks around it are cut, as the framework does.
        """
        name = _user_id(visit.fields())
        return json_answer({"token": self._world.authenticate(name)})

    def retrieve(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_user_retrieve."""
        return json_answer(user_body(visit.caller))

    def update(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_user_update."""
        fields = visit.fields()
        changes = _preferences(fields.get("preferences") or {})
        if "external_id" in fields:
            self._rename(visit.caller, fields["external_id"])
        if changes:
            self._world.set_preferences(visit.caller.id, changes)
        return json_answer(user_body(visit.caller))

    def destroy(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_user_destroy."""
        self._world.delete_user(visit.caller.id)
        return no_content()

    def disconnect(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_user_disconnect_create."""
        platform = visit.fields().get("platform")
        if platform not in PLATFORMS:
            return invalid({"platform": f"One of {', '.join(PLATFORMS)}."})
        return json_answer(user_body(self._world.disconnect(visit.caller.id, platform)))

    def listing(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_users_list; a plain array by default."""
        email = visit.parameter("email")
        found = [
            user
            for user in self._world.users.values()
            if email is None or email in {c.email for c in user.connections}
        ]
        if (visit.parameter("paginate") or "").lower() == "true":
            bodies = [user_body(user) for user in found]
            return json_answer({"next": None, "previous": None, "results": bodies})
        if self._world.list_page_size is not None:
            return a_page(visit, found, self._world.list_page_size, user_body)
        return json_answer([user_body(user) for user in found])

    def access_token(self, visit: Visit) -> Response:
        """Answer https://docs.recall.ai/reference/calendar_accounts_access_token_retrieve."""
        connections = (c for user in self._world.users.values() for c in user.connections)
        if any(c.id == visit.item for c in connections):
            return json_answer({"access_token": f"ya29.{self._world.rng.randbytes(24).hex()}"})
        body = {"code": "no_oauth_credentials", "message": "Nothing is connected under that id."}
        return json_answer(body, 400)

    def _rename(self, user: CalendarUser, external_id: object) -> None:
        if external_id is not None and not isinstance(external_id, str):
            raise InvalidError("external_id", "Not a valid string.")
        self._world.rename_user(user.id, external_id)


def _user_id(fields: dict[str, Any]) -> str:
    if "user_id" not in fields:
        raise InvalidError("user_id", "This field is required.")
    name = fields["user_id"]
    if isinstance(name, bool) or not isinstance(name, str | int | float) or "\0" in str(name):
        raise InvalidError("user_id", "Not a valid string.")
    if not str(name).strip():
        raise InvalidError("user_id", "This field may not be blank.")
    return str(name).strip()


def _preferences(wanted: object) -> dict[str, bool | str]:
    if not isinstance(wanted, dict):
        raise InvalidError("preferences", "Expected an object.")
    changes = {name: wanted[name] for name in (*FIELDS, "bot_name") if name in wanted}
    for name, value in changes.items():
        if not isinstance(value, str if name == "bot_name" else bool):
            raise InvalidError("preferences", f"{name} has the wrong type.")
    return changes
