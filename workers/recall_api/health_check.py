"""One cheap call to Recall for the doctor: whether the key works, and Recall's time."""

import httpx

from workers.recall_api.transport import Answer, BodyTooLargeError, HttpClient

SECONDS = 10.0
# A filter that matches no bot (https://docs.recall.ai/reference/bot_list).
PATH = "/api/v1/bot/?join_at_after=2999-01-01T00%3A00%3A00Z"


def probe(wire: HttpClient, base_url: str, api_key: str) -> Answer | str:
    """Make the call; returns the name of the error if there was no answer."""
    headers = {"authorization": f"Token {api_key}"}
    try:
        return wire.call("GET", base_url + PATH, headers, seconds=SECONDS)
    # Including a base URL or key that cannot be sent at all.
    except (httpx.HTTPError, httpx.InvalidURL, BodyTooLargeError) as error:
        return type(error).__name__
