"""One call to a host that is not Recall's: whether it arrived, or what went wrong, in words.

The address is a secret, and libraries put parts of it into their errors: no word here is theirs.
"""

import httpx

from workers.recall_api.transport import HttpClient

SECONDS = 15.0
_WORDS = {
    "ConnectError": "could not be reached",
    "ConnectTimeout": "could not be reached in time",
    "ReadTimeout": "did not answer in time",
    "WriteTimeout": "did not answer in time",
    "ReadError": "closed the connection without an answer",
    "WriteError": "closed the connection without an answer",
    "RemoteProtocolError": "did not answer in HTTP",
}


def deliver(
    http: HttpClient, method: str, url: str, json: object = None, *, seconds: float = SECONDS
) -> str | None:
    """Make the call; None if it arrived (2xx), else what the host did: `answered 404`.

    Nothing of the answer's body is read: what arrived, arrived.
    """
    try:
        status = http.status(method, url, json, seconds=seconds)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return "has a certificate that is not trusted"
        return _WORDS.get(type(error).__name__, "could not be called")
    return None if 200 <= status < 300 else f"answered {status}"
