"""A receiver of our own events, which verifies each by the lab's code."""

import hmac

from tests.lab.http.wire import Request, Response
from tests.lab.sender.receiver import Receiver
from tests.lab.sender.signing import signature


class EventReceiver(Receiver):
    """Takes what is signed with its secret; keeps the ids, since an event may come twice."""

    def __init__(self, secret: str) -> None:
        super().__init__(self._verify)
        self._secret = secret
        self.verified: set[str] = set()
        self.refused = 0

    def _verify(self, request: Request) -> Response:
        event_id = request.headers.get("webhook-id", "")
        at = request.headers.get("webhook-timestamp", "")
        expected = signature(self._secret, event_id, at, request.body)
        given = request.headers.get("webhook-signature", "").split()
        if not any(hmac.compare_digest(one, expected) for one in given):
            self.refused += 1
            return Response(401, b"")
        self.verified.add(event_id)
        return Response(204, b"")
