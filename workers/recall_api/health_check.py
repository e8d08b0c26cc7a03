"""One cheap call to Recall, for a doctor: whether the key opens it, and what time it is there."""

import httpx

from workers.recall_api.transport import Answer, BodyTooLargeError, HttpClient

SECONDS = 10.0
# A list that its own filter leaves empty (https://docs.recall.ai/reference/bot_list).
PATH = "/api/v1/bot/?join_at_after=2999-01-01T00%3A00%3A00Z"


def probe(wire: HttpClient, base_url: str, api_key: str) -> Answer | str:
    """Make the call; a word for what went wrong where there was no answer."""
    headers = {"authorization": f"Token {api_key}"}
    try:
        return wire.call("GET", base_url + PATH, headers, seconds=SECONDS)
    # A base URL or a key that no request can carry fails before any is made.
    except (httpx.HTTPError, httpx.InvalidURL, BodyTooLargeError) as error:
        return type(error).__name__
