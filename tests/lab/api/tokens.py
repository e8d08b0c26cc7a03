"""Calendar auth tokens: opaque to whoever holds them, good for 24 hours of the lab's clock."""

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.lab.world.clock import Clock

TOKEN_LIVES = 24 * 3600.0


@dataclass(slots=True)
class IssuedToken:
    """A token that was handed out; `expires_at` in Unix seconds."""

    user_id: str
    expires_at: float
    revoked: bool = False


class TokenBook:
    """Every token the workspace has issued; old ones stay good beside new ones."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._issued: dict[str, IssuedToken] = {}

    def issue(self, user_id: str) -> str:
        """Return a new JWT-like token of that user, good for 24 h."""
        expires_at = self._clock() + TOKEN_LIVES
        claims = {"sub": user_id, "exp": int(expires_at), "jti": self._rng.getrandbits(64)}
        header = _segment(json.dumps({"alg": "LAB", "typ": "JWT"}).encode())
        body = _segment(json.dumps(claims).encode())
        token = f"{header}.{body}.{_segment(self._rng.randbytes(32))}"
        self._issued[token] = IssuedToken(user_id, expires_at)
        return token

    def holder(self, token: str) -> str | None:
        """Return the user id the token speaks for; None if unknown, revoked or expired."""
        issued = self._issued.get(token)
        if issued is None or issued.revoked or issued.expires_at <= self._clock():
            return None
        return issued.user_id

    def revoke(self, user_id: str) -> int:
        """Make every token of that user worthless; return how many there were."""
        return sum(self._spoil(token) for token in self._of(user_id))

    def expire(self, user_id: str | None = None) -> int:
        """End the 24 h of that user's tokens (of all tokens without one); return how many."""
        ended = self._of(user_id)
        for token in ended:
            token.expires_at = self._clock()
        return len(ended)

    def __len__(self) -> int:
        return len(self._issued)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._issued))

    def _of(self, user_id: str | None) -> list[IssuedToken]:
        return [t for t in self._issued.values() if user_id is None or t.user_id == user_id]

    @staticmethod
    def _spoil(token: IssuedToken) -> int:
        token.revoked = True
        return 1


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
