"""What a doctor asks Recall itself: whether the key opens it, in which region, at what time."""

import os
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import get_args

from models.settings import Region, Settings
from webhook.doctor import Finding, skew
from workers.probe import probe
from workers.wire import Answer, Wire, make_ssl_context


def examine_recall(settings: Settings) -> Iterator[Finding]:
    """Try the API key, and where it is refused, in which other region it is known."""
    if settings.recall_api_key is None:
        remedy = "set RECALL_API_KEY: workers do not start without it"
        yield Finding("failed", "API key", "RECALL_API_KEY is not set", remedy)
        return
    wire = Wire(make_ssl_context(os.environ.get("SSL_CERT_FILE")))
    try:
        yield from _try_key(settings, wire)
    finally:
        wire.close()


def _try_key(settings: Settings, wire: Wire) -> Iterator[Finding]:
    answer = probe(wire, settings.api_url, settings.api_key)
    if isinstance(answer, str):
        remedy = "look at the network between here and Recall"
        yield Finding("failed", "Recall", f"{settings.api_url} does not answer: {answer}", remedy)
        return
    if answer.status == 200:
        yield Finding("ok", "API key", f"opens {settings.api_url}")
    else:
        yield _refused(settings, wire, answer.status)
    if (moment := _time_of(answer)) is not None:
        yield moment


def _refused(settings: Settings, wire: Wire, status: int) -> Finding:
    text = f"{settings.api_url} answers {status}"
    if status == 401 and settings.recall_api_base_url is None:
        for region in get_args(Region):
            other = probe(wire, f"https://{region}.recall.ai", settings.api_key)
            if isinstance(other, Answer) and other.status == 200:
                return Finding(
                    "failed", "API key", text, f"the key is {region}'s: set RECALL_REGION"
                )
    remedies = {
        401: "the key is wrong, or of a region that was not tried: compare it with the dashboard",
        402: "the account has no credit left",
        403: "a firewall before Recall refuses this network",
        429: "another program uses up the key's rate limit: see RECALL_RATE_SHARE",
    }
    return Finding("failed", "API key", text, remedies.get(status, "see Recall's status page"))


def _time_of(answer: Answer) -> Finding | None:
    try:
        moment = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return None
    return skew("Recall's clock", moment if moment.tzinfo else moment.replace(tzinfo=UTC))
