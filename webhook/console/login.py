"""Console login: exchanges a token for a session cookie."""

import re
from urllib.parse import urlencode

from flask import Response, g, request

from models.core.humanize import duration
from webhook.console.rendering import Renderer
from webhook.web.auth import SESSION_SECONDS, Access, Refusal, current_caller

HOME = "/console/"
LOGIN = "/console/login"
# No dot, percent, backslash or double slash in the path: they could lead to another site.
_OWN_PATH = re.compile(r"/console/(?:[\w-]+/)*[\w-]*(?:\?[!-\[\]-~]*)?\Z", re.ASCII)
# Open without a session: the login page and its static files.
OPEN_ENDPOINTS = frozenset({"console.login", "console.log_in", "console.static"})


class Sessions:
    """Login, logout, and the check of every other request."""

    def __init__(self, access: Access, renderer: Renderer) -> None:
        self._access = access
        self._renderer = renderer

    def guard(self) -> Response | None:
        """Let a request through (None), or redirect to the login page."""
        if request.endpoint in OPEN_ENDPOINTS:
            return None
        is_logout = request.endpoint == "console.log_out"
        admitted = self._access.admit(request, is_logout=is_logout)
        if not isinstance(admitted, Refusal):
            g.caller = admitted
            return None
        if admitted.status in (429, 503):
            return self._closed() if admitted.status == 503 else self._too_many(HOME, admitted)
        if admitted.status != 401:
            g.caller = self._access.caller(request)
            return self._renderer.error(admitted.status, admitted.detail)
        if request.method in ("GET", "HEAD"):
            return self._to_login()
        return self._form(HOME, 401, "Session expired: log in again.")

    def login(self) -> Response:
        """Show the form; a caller who is logged in is redirected."""
        if not self._access.is_set:
            return self._closed()
        wanted = _within(request.args.get("next", HOME))
        if self._access.caller(request) is not None:
            return _go(wanted)
        return self._form(wanted, 200)

    def log_in(self) -> Response:
        """Exchange a token for a cookie; shows the form again with 401 if it is wrong."""
        if not self._access.is_set:
            return self._closed()
        wanted = _within(request.form.get("next", HOME))
        # Another site must not be able to log people in with a token of its choice.
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return self._form(wanted, 403, "Invalid form: log in here.")
        token = request.form.get("token", "").strip()
        caller = self._access.by_token(token, request.remote_addr)
        if isinstance(caller, Refusal):
            if caller.status == 429:
                return self._too_many(wanted, caller)
            return self._form(wanted, 401, "That token is not valid.")
        response = _go(wanted)
        response.set_cookie(
            self._access.cookie_name(request),
            self._access.session(caller),
            max_age=SESSION_SECONDS,
            # Browsers reject a `__Host-` cookie without Secure, and a Secure one over plain HTTP.
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
            # Browsers send no strict cookie for a link on another site. This page makes the next
            # request from here, so a link in a chat needs no second login.
            return self._renderer.page("bounce.html", "", 200, path=path)
        # The login page returns to the requested page afterwards.
        return _go(LOGIN if path == HOME else f"{LOGIN}?{urlencode({'next': path})}", 302)

    def _form(self, wanted: str, status: int, wrong: str = "") -> Response:
        return self._renderer.page("login.html", "", status, next=wanted, wrong=wrong)

    def _too_many(self, wanted: str, refusal: Refusal) -> Response:
        seconds = refusal.retry_after or 0
        wrong = f"Too many wrong tokens from your address. Try again in {duration(seconds)}."
        response = self._form(wanted, refusal.status, wrong)
        response.headers["Retry-After"] = str(seconds)
        return response

    def _closed(self) -> Response:
        return self._renderer.page("closed.html", "", 503)


def _within(path: str) -> str:
    # Only to the console's own pages: an open redirect would help phishing.
    return path if _OWN_PATH.match(path) else HOME


def _go(path: str, status: int = 303) -> Response:
    return Response("", status, {"Location": path})
