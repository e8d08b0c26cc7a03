"""Which path and method is which endpoint, who may call it, and how often."""

from collections.abc import Callable

from tests.lab.api.bot_api import BotApi
from tests.lab.api.meeting_api import MeetingApi
from tests.lab.api.oauth_api import GOOGLE, MICROSOFT, OAuthApi
from tests.lab.api.user_api import UserApi
from tests.lab.api.visits import Endpoint, Needs, Route, Visit
from tests.lab.http.wire import Response
from tests.lab.world.world import World

API = "api/v1/"
UNKNOWN = Route("unknown", "nothing")


class Routes:
    """Finds the route of a path; a trailing slash makes no difference."""

    def __init__(self, world: World, bots: BotApi) -> None:
        self._fixed: dict[str, Route] = {}
        self._items: dict[tuple[str, str], Route] = {}
        self._add_bots(bots)
        self._add_meetings(MeetingApi(world))
        self._add_users(UserApi(world))
        self._add_oauth(OAuthApi(world, GOOGLE), OAuthApi(world, MICROSOFT))

    def find(self, path: str) -> tuple[Route, str]:
        """Return the route and the id in the path; UNKNOWN where there is none."""
        path = path.strip("/")
        if (fixed := self._fixed.get(path)) is not None:
            return fixed, ""
        start, _, last = path.rpartition("/")
        if (route := self._items.get((start, ""))) is not None:
            return route, last
        start, _, item = start.rpartition("/")
        return self._items.get((start, last), UNKNOWN), item

    def _add_bots(self, api: BotApi) -> None:
        self._fixed[API + "bot"] = Route("bot", "key", _get(api.listing, 60))
        self._items[API + "bot", ""] = Route("bot/{id}", "key", _get(api.retrieve, 300))

    def _add_meetings(self, api: MeetingApi) -> None:
        name = "calendar/meetings"
        self._fixed[API + name] = Route(name, "token", _get(api.listing, 120))
        refresh = {"POST": Endpoint(api.refresh, 120)}
        self._fixed[f"{API}{name}/refresh"] = Route(f"{name}/refresh", "token", refresh)
        update = Endpoint(api.update, 120)
        one = {**_get(api.retrieve, 120), "PUT": update, "PATCH": update}
        self._items[API + name, ""] = Route(f"{name}/{{id}}", "token", one)

    def _add_users(self, api: UserApi) -> None:
        user, accounts = "calendar/user", "api/v2/calendar-accounts"
        update = Endpoint(api.update, 120)
        self._fix("calendar/authenticate", "key", {"POST": Endpoint(api.authenticate, 300)})
        self._fix("calendar/users", "key", _get(api.listing, 60))
        self._fix(f"{user}/disconnect", "token", {"POST": Endpoint(api.disconnect, 120)})
        own = {"PUT": update, "PATCH": update, "DELETE": Endpoint(api.destroy, 120)}
        self._fix(user, "token", {**_get(api.retrieve, 120), **own})
        template = "calendar-accounts/{id}/access_token"
        self._items[accounts, "access_token"] = Route(template, "key", _get(api.access_token, 300))

    def _add_oauth(self, google: OAuthApi, microsoft: OAuthApi) -> None:
        for name, api in (("google", google), ("ms", microsoft)):
            callback = f"calendar/{name}_oauth_callback"
            self._fixed[API + callback] = Route(callback, "nothing", _get(api.callback))
        pages = {"o/oauth2/v2/auth": google, "common/oauth2/v2.0/authorize": microsoft}
        for path, api in pages.items():
            self._fixed[path] = Route(path, "nothing", _get(api.consent))

    def _fix(self, template: str, needs: Needs, endpoints: dict[str, Endpoint]) -> None:
        self._fixed[API + template] = Route(template, needs, endpoints)


def _get(answer: Callable[[Visit], Response], per_minute: int | None = None) -> dict[str, Endpoint]:
    return {"GET": Endpoint(answer, per_minute)}
