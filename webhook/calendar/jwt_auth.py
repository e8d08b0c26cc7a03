"""Authenticates a calendar user by a short-lived JWT that the operator's backend signs."""

from collections.abc import Mapping
from typing import Any

import jwt
from flask import Request

from models.settings.calendar import JwtKey
from models.settings.environment import Settings
from workers.recall_api.schemas import EXTERNAL_ID_LIMIT, is_usable_external_id

# Long enough for a page to fetch its token, and short if a JWT leaks into a log.
LONGEST_LIFE_SECONDS = 3600
LEEWAY_SECONDS = 30
LONGEST_JWT = 8192


class RefusedError(Exception):
    """A refused request: its status, and a reason that the caller may see."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Proof:
    """Reads the user of a request from its verified JWT."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.calendar_jwt_key
        self._claim = settings.calendar_jwt_user_claim
        self._audience = settings.public_url

    def user(self, request: Request, body: Mapping[str, Any]) -> str:
        """Return the caller's external_id; RefusedError if it cannot be verified.

        With a JWT, `userId` in the body may be left out, but it may not differ.
        """
        asked = body.get("userId")
        if asked is not None and not isinstance(asked, str):
            # Not converted: a number as text may be somebody else's id.
            raise RefusedError(400, "userId must be a string")
        if self._key is None:
            return _usable(asked, 400)
        claims = read_claims(_given(request, body), self._key, self._audience)
        verified = _usable(claims.get(self._claim), 401)
        if asked not in (None, verified):
            raise RefusedError(403, f"userId is not the JWT's {self._claim}")
        return verified


def read_claims(token: str, key: JwtKey, audience: str | None) -> Mapping[str, Any]:
    """Return a JWT's claims; RefusedError unless it is signed, short-lived and for this service."""
    try:
        claims = jwt.decode(
            token,
            key.key,
            # Only the key's algorithm: a header that could choose might choose `none`, or HS256
            # with a public key.
            algorithms=[key.algorithm],
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat"], "verify_aud": False},
        )
        life = int(claims["exp"]) - int(claims["iat"])
    except jwt.PyJWTError as error:
        raise RefusedError(401, f"the JWT is refused: {_REASONS.get(type(error), error)}") from None
    # Hostile input, such as deeply nested JSON or an exp of 1e999.
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise RefusedError(401, "the JWT cannot be read") from None
    if life > LONGEST_LIFE_SECONDS:
        raise RefusedError(401, f"the JWT is valid for over {LONGEST_LIFE_SECONDS} s after iat")
    if not _is_for(audience, claims.get("aud")):
        raise RefusedError(401, "the JWT's audience is not PUBLIC_URL")
    return claims


_REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidSignatureError: "its signature does not match CALENDAR_JWT_KEY",
    jwt.InvalidAlgorithmError: "its algorithm is not that of CALENDAR_JWT_KEY",
    jwt.DecodeError: "it is malformed",
}


def _given(request: Request, body: Mapping[str, Any]) -> str:
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    # A page that has to avoid a preflight cannot set a header.
    token = rest.strip() if scheme.lower() == "bearer" else body.get("jwt")
    if not isinstance(token, str) or not token:
        raise RefusedError(401, "a JWT is required: Authorization: Bearer …, or jwt in the JSON")
    if len(token) > LONGEST_JWT:
        raise RefusedError(401, f"the JWT is longer than {LONGEST_JWT} characters")
    return token


def _is_for(audience: str | None, named: object) -> bool:
    # Without `aud` it is for anyone with the key; with one, only for those it names.
    if named is None:
        return True
    return audience is not None and audience in (named if isinstance(named, list) else [named])


def _usable(external_id: object, status: int) -> str:
    # Recall strips blanks around an id, so an id with blanks would get another user's token.
    if (
        not isinstance(external_id, str)
        or external_id != external_id.strip()
        or not is_usable_external_id(external_id)
    ):
        words = f"the user's id must be a string of 1 to {EXTERNAL_ID_LIMIT} plain characters"
        raise RefusedError(status, words)
    return external_id
