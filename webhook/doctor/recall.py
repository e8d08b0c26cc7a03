"""Checks the API key, the region and the clock against Recall."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import get_args

from models.settings.environment import Region, Settings
from webhook.doctor.result import Diagnosis
from webhook.doctor.system import skew
from workers.recall_api.health_check import probe
from workers.recall_api.transport import Answer, HttpClient, make_ssl_context


def region_url(region: str) -> str:
    """Return the base URL of a region (https://docs.recall.ai/docs/regions)."""
    return f"https://{region}.recall.ai"


UrlOf = Callable[[str], str]


def examine_recall(settings: Settings, url_of: UrlOf = region_url) -> Iterator[Diagnosis]:
    """Try the API key; if it is refused, find the region that accepts it."""
    if settings.recall_api_key is None:
        remedy = "set RECALL_API_KEY: workers do not start without it"
        yield Diagnosis("failed", "API key", "RECALL_API_KEY is not set", remedy)
        return
    http = HttpClient(make_ssl_context(os.environ.get("SSL_CERT_FILE")))
    try:
        yield from _try_key(settings, http, url_of)
    finally:
        http.close()


def _try_key(settings: Settings, http: HttpClient, url_of: UrlOf) -> Iterator[Diagnosis]:
    base_url = settings.recall_api_base_url or url_of(settings.recall_region)
    answer = probe(http, base_url, settings.api_key)
    if isinstance(answer, str):
        remedy = "check the network between here and Recall"
        words = f"{base_url} does not answer: {answer}"
        yield Diagnosis("failed", "Recall", words, remedy, is_away=True)
        return
    if answer.status == 200:
        yield Diagnosis("ok", "API key", f"accepted by {base_url}")
    else:
        found = f"{base_url} answers {answer.status}"
        yield _refused(settings, http, answer.status, found, url_of)
    if (moment := _time_of(answer)) is not None:
        yield moment


def _refused(
    settings: Settings, http: HttpClient, status: int, text: str, url_of: UrlOf
) -> Diagnosis:
    remedy = _REMEDIES.get(status, "see Recall's status page")
    # A base URL that was set by hand means that the key is for that address only.
    if status == 401 and settings.recall_api_base_url is None:
        for region in get_args(Region):
            other = probe(http, url_of(region), settings.api_key)
            if isinstance(other, Answer) and other.status == 200:
                remedy = f"the key belongs to {region}: set RECALL_REGION={region}"
                break
    return Diagnosis("failed", "API key", text, remedy, is_away=status >= 500)


_REMEDIES = {
    401: "the key is wrong, or of a region that was not tried: compare it with the dashboard",
    402: "the account has no credit left",
    403: "a firewall in front of Recall blocks this network",
    429: "another program uses up the key's rate limit: see RECALL_RATE_SHARE",
}


def _time_of(answer: Answer) -> Diagnosis | None:
    try:
        moment = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return None
    return skew("Recall's clock", moment if moment.tzinfo else moment.replace(tzinfo=UTC))
