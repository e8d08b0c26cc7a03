"""Authentication: bearer tokens for scripts, a signed cookie for the console."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

from flask import Request, Response, g, request

from models.settings.credentials import OpsToken
from models.settings.environment import Settings
from webhook.web.failed_logins import FailedLogins
from webhook.web.problems import problem
from webhook.web.signing import FORM, SESSION, Signer

Scope = Literal["read", "write"]
SESSION_SECONDS = 12 * 3600
SAFE_METHODS = frozenset({"GET", "HEAD"})
BEARER = "Bearer "
TOO_MANY = "too many wrong tokens from this address"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: their scope, their name in the audit log, and how they authenticated."""

    scope: Scope
    name: str
    by_cookie: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: an HTTP status and a message for the caller."""

    status: int
    detail: str
    retry_after: int | None = None


UNKNOWN = Refusal(401, "a bearer token is required: Authorization: Bearer …")
WRONG = Refusal(401, "this token is none of OPS_READ_TOKENS or OPS_WRITE_TOKENS")


class Access:
    """Checks tokens and cookies; while no token is configured, every request is refused."""

    def __init__(self, settings: Settings) -> None:
        self._is_public_over_tls = (settings.public_url or "").startswith("https://")
        self._write = _by_digest(settings.ops_write_tokens)
        self._read = _by_digest(settings.ops_read_tokens)
        self._sessions = Signer(settings, SESSION)
        self._forms = Signer(settings, FORM)
        self._failed_logins = FailedLogins()

    @property
    def is_set(self) -> bool:
        """Whether any token is configured."""
        return bool(self._write or self._read)

    def by_token(self, token: str, address: str | None) -> Caller | Refusal:
        """Return the caller with this token; compares with every token in constant time."""
        digest = _digest(token)
        writer, reader = _find(digest, self._write), _find(digest, self._read)
        is_right = (writer or reader) is not None
        if wait := self._failed_logins.wait(address, digest, is_right=is_right):
            return Refusal(429, TOO_MANY, retry_after=ceil(wait))
        if writer is not None:
            return Caller("write", writer)
        return Caller("read", reader) if reader is not None else WRONG

    def caller(self, asked: Request) -> Caller | None:
        """Return who makes this request; None if unknown."""
        found = self._identify(asked)
        return found if isinstance(found, Caller) else None

    def _identify(self, asked: Request) -> Caller | Refusal:
        header = asked.headers.get("authorization", "")
        if header.startswith(BEARER):
            return self.by_token(header.removeprefix(BEARER).strip(), asked.remote_addr)
        cookie = asked.cookies.get(self.cookie_name(asked))
        kept = self._sessions.read(cookie, SESSION_SECONDS) if cookie else None
        if not isinstance(kept, list) or len(kept) != 3 or kept[0] not in ("read", "write"):
            return UNKNOWN
        return Caller(kept[0], str(kept[1]), by_cookie=True)

    def session(self, caller: Caller) -> str:
        """Return the session cookie's value for a caller."""
        return self._sessions.sign([caller.scope, caller.name, secrets.token_hex(8)])

    def is_secure(self, asked: Request) -> bool:
        """Whether the browser uses TLS, as far as the request or PUBLIC_URL shows."""
        # A proxy may terminate TLS without a header that we trust.
        return asked.is_secure or self._is_public_over_tls

    def cookie_name(self, asked: Request) -> str:
        """Return the cookie's name; browsers accept `__Host-` only over TLS."""
        return "__Host-recall-links" if self.is_secure(asked) else "recall-links"

    def form_token(self, asked: Request) -> str:
        """Return the token of a page's forms, which protects against forged requests (CSRF)."""
        return self._forms.sign(self._session_hash(asked))

    def is_own_form(self, asked: Request) -> bool:
        """Whether a change by cookie came from one of the console's forms."""
        if asked.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        kept = self._forms.read(asked.form.get("form_token", ""), SESSION_SECONDS)
        return kept is not None and kept == self._session_hash(asked)

    def _session_hash(self, asked: Request) -> str:
        # People share page source more readily than cookies, so it must not reveal the session.
        session = asked.cookies.get(self.cookie_name(asked), "")
        return hashlib.sha256(session.encode()).hexdigest()

    def admit(self, asked: Request, *, is_logout: bool = False) -> Caller | Refusal:
        """Return who makes this request, or why it is refused; a logout needs no write token."""
        if not self.is_set:
            return Refusal(503, "no tokens are configured: set OPS_READ_TOKENS or OPS_WRITE_TOKENS")
        caller = self._identify(asked)
        if isinstance(caller, Refusal):
            return caller
        if asked.method in SAFE_METHODS:
            return caller
        if caller.scope != "write" and not is_logout:
            return Refusal(403, "read-only token: it cannot make changes")
        # Only its holder sends a bearer token; another site can make a browser send a cookie.
        if caller.by_cookie and not self.is_own_form(asked):
            return Refusal(403, "invalid or expired form: reload the page")
        return caller

    def admit_script(self, asked: Request) -> Caller | Refusal:
        """Return who makes a request to a script route, where changes require a bearer token."""
        admitted = self.admit(asked)
        is_change = asked.method not in SAFE_METHODS
        # Accepting form tokens here would let the console's pages use the whole API.
        if isinstance(admitted, Caller) and admitted.by_cookie and is_change:
            return Refusal(403, "a change requires a bearer token: the cookie can only read")
        return admitted

    def guard(self) -> Response | None:
        """Let a request through (None) or refuse it; for a blueprint's before_request."""
        admitted = self.admit_script(request)
        if isinstance(admitted, Refusal):
            refused = problem(admitted.status, admitted.detail)
            if admitted.status == 401:
                refused.headers["WWW-Authenticate"] = 'Bearer realm="recall-links"'
            if admitted.retry_after:
                refused.headers["Retry-After"] = str(admitted.retry_after)
            return refused
        g.caller = admitted
        return None


def current_caller() -> Caller:
    """Return who makes the current request; only behind `guard`."""
    caller: Caller = g.caller
    return caller


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _by_digest(tokens: Iterable[OpsToken]) -> dict[bytes, str]:
    # People copy a token with its name; and before names, a colon was part of the token.
    return {
        _digest(text): token.name or f"token {_digest(token.value).hex()[:8]}"
        for token in tokens
        for text in (token.value, token.spelling)
    }


def _find(digest: bytes, known: Mapping[bytes, str]) -> str | None:
    # Compare with all of them, so that timing does not reveal which one matched.
    found = [name for one, name in known.items() if hmac.compare_digest(digest, one)]
    return found[0] if found else None


Guard = Callable[[], Response | None]
