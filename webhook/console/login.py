"""Who may see the console: a token is traded for a cookie, which then has its say."""

import re
from urllib.parse import urlencode

from flask import Response, g, request

from webhook.console.rendering import Renderer
from webhook.web.auth import SESSION_SECONDS, Access, Refusal, current_caller

HOME = "/console/"
LOGIN = "/console/login"
# No dot, percent, backslash or second slash in the path: a browser or a proxy could walk out by it.
_OWN_PATH = re.compile(r"/console/(?:[\w-]+/)*[\w-]*(?:\?[!-\[\]-~]*)?\Z", re.ASCII)
# What a stranger may load: the way in, and how it looks.
OPEN_ENDPOINTS = frozenset({"console.login", "console.log_in", "console.static"})


class Sessions:
    """The way in and the way out."""

    def __init__(self, access: Access, renderer: Renderer) -> None:
        self._access = access
        self._renderer = renderer

    def guard(self) -> Response | None:
        """Let a request through (None), or send whoever makes it to the login page."""
        if request.endpoint in OPEN_ENDPOINTS:
            return None
        is_logout = request.endpoint == "console.log_out"
        admitted = self._access.admit(request, is_logout=is_logout)
        if not isinstance(admitted, Refusal):
            g.caller = admitted
            return None
        if admitted.status == 503:
            return self._closed()
        if admitted.status != 401:
            g.caller = self._access.caller(request)
            return self._renderer.error(admitted.status, admitted.detail)
        if request.method in ("GET", "HEAD"):
            return self._to_login()
        return self._form(HOME, 401, "Session expired: log in again.")

    def login(self) -> Response:
        """Show the form; whoever is in already goes on."""
        if not self._access.is_set:
            return self._closed()
        wanted = _within(request.args.get("next", HOME))
        if self._access.caller(request) is not None:
            return _go(wanted)
        return self._form(wanted, 200)

    def log_in(self) -> Response:
        """Trade a token for a cookie; 401 and the form again for a wrong one."""
        if not self._access.is_set:
            return self._closed()
        wanted = _within(request.form.get("next", HOME))
        # Another site must not log people in under a token of its own choice.
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return self._form(wanted, 403, "Invalid form: log in here.")
        caller = self._access.by_token(request.form.get("token", "").strip())
        if caller is None:
            return self._form(wanted, 401, "That token is not valid.")
        response = _go(wanted)
        response.set_cookie(
            self._access.cookie_name(request),
            self._access.session(caller),
            max_age=SESSION_SECONDS,
            # Browsers refuse a `__Host-` cookie without it, and with it over plain HTTP.
            secure=self._access.is_secure(request),
            httponly=True,
            samesite="Strict",
            path="/",
        )
        return response

    def log_out(self) -> Response:
        """End the session in this browser."""
        if not current_caller().by_cookie:
            return self._renderer.error(
                403, "there is no session to log out of: the request used a bearer token"
            )
        response = _go(LOGIN)
        name, secure = self._access.cookie_name(request), self._access.is_secure(request)
        response.delete_cookie(name, secure=secure, httponly=True, samesite="Strict")
        return response

    def _to_login(self) -> Response:
        path = _within(request.full_path.rstrip("?"))
        if request.headers.get("sec-fetch-site") == "cross-site":
            # A strict cookie stays at home when a link elsewhere was followed. Coming from a page
            # of ours the next request has it, so nobody logs in twice for a link in a chat.
            return self._renderer.page("bounce.html", "", 200, path=path)
        # A person's browser follows it; the login page brings them back to what they asked for.
        return _go(LOGIN if path == HOME else f"{LOGIN}?{urlencode({'next': path})}", 302)

    def _form(self, wanted: str, status: int, wrong: str = "") -> Response:
        return self._renderer.page("login.html", "", status, next=wanted, wrong=wrong)

    def _closed(self) -> Response:
        return self._renderer.page("closed.html", "", 503)


def _within(path: str) -> str:
    # Only to a page of ours: a login form that leads elsewhere serves those who fish for tokens.
    return path if _OWN_PATH.match(path) else HOME


def _go(path: str, status: int = 303) -> Response:
    return Response("", status, {"Location": path})
